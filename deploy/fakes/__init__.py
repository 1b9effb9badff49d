"""Local providers at the socket: the SMS provider's API and a mail server. The demo, docker compose and the
tests run them; nothing that sends knows of them."""
