"""The JSON API of replication."""
