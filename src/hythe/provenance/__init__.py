"""Signed statements about the sources of an image: SLSA provenance and a software bill of materials."""
