"""The page: what shop staff see in a browser. Made on the server, over the handlers of the API."""
