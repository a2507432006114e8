"""What an image was built from, in signed statements: SLSA provenance and a bill of materials."""
