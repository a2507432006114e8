"""The tables, one file for each package; all belong to one ``METADATA``."""
