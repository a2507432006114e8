"""The SQL of backups and moves, for each engine."""
