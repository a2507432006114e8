"""The hub's SQL, a file a noun: functions that take a database session and give values."""
