"""Backups of an installation, and moves of its database and blobs to other places."""
