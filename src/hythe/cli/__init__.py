"""The ``hythe`` command: one file per verb or small family, and their shared parts."""
