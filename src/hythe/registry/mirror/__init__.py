"""The pull-through mirror: fetches content of another registry on demand and keeps it."""
