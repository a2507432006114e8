"""Running containers with an installed OCI runtime, without a daemon, and committing them to images."""
