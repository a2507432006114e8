"""Merkle logs: trees, tiles, signed checkpoints, and the verification of a tag's history. No I/O."""
