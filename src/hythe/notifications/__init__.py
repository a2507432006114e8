"""Notifications: outgoing webhooks and e-mail about what happens to repositories."""
