"""Builders: build an image from a Dockerfile and its context."""
