"""Containers without a daemon: run by an installed OCI runtime, and committed as images."""
