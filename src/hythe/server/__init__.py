"""The place where all parts are wired together, and the HTTP server."""
