"""What happened: the audit log of changes, and the tamper-evident log of tags."""
