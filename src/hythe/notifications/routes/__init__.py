"""The JSON API of outgoing webhooks, and the callback URL of their receivers."""
