"""The SQL of notifications: functions that take a database session and return values."""
