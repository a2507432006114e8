"""The only place where the parts are wired together, and the HTTP server under them."""
