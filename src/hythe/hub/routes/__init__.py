"""The hub over HTTP: requests become values and an actor, values become responses."""
