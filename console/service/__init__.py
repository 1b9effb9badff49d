"""What can be asked and done about a company, whoever asks: the HTTP API, the page, the command line."""
