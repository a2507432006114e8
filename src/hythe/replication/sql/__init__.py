"""All SQL of replication."""
