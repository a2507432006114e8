"""Trusted Builds: every push to a source repository builds an image, with a public log and signed provenance."""
