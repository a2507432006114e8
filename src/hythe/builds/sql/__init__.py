"""The SQL of Trusted Builds, one file per noun: functions that take a database session and return values."""
