"""The SQL of Trusted Builds, a file a noun: functions that take a database session and give values."""
