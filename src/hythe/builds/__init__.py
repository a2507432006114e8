"""Trusted Builds: every push to a source repository builds the image, in the open, and says what it was built from."""
