"""Builders: what turns a Dockerfile and its context into an image."""
