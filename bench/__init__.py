"""Benchmarks: each file measures one thing beside a peer in the same run and prints the ratio."""
