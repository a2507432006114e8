"""Benchmarks: each file measures one thing and a peer in the same run, and prints the ratio."""
