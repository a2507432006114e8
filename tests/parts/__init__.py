"""Real parts for tests: each file starts one real program on a free loopback port and stops it again."""
