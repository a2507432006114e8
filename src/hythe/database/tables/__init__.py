"""The tables, a file a package; all of them belong to one ``METADATA``."""
