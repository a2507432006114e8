"""Storage of blob content: the port and its back ends."""
