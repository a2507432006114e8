"""Keeps repositories in step with other registries: rules, what is behind, copying."""
