"""Isolates builds from the host: namespaces, a minimal file system view, control groups, a separate disk."""
