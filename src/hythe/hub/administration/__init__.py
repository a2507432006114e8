"""What administrators and curators do for the whole hub."""
