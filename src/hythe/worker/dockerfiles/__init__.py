"""Reads Dockerfiles: checks them before the build, and rewrites what an older builder does not support."""
