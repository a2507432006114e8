"""New names and owners of accounts and repositories; the old names redirect."""
