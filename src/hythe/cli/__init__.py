"""The ``hythe`` command: one file a family of verbs, and the output."""
