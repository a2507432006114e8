"""Search: how results are ranked, and the index that finds them."""
