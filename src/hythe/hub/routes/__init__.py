"""The hub's HTTP APIs: parse requests into values and an actor, and values into responses."""
