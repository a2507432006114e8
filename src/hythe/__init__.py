"""Hythe: your own Docker Hub, in one process."""
