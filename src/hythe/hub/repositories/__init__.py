"""Repositories: their images and tags, descriptions, collaborators, and pull counts."""
