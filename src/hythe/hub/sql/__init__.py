"""The hub's SQL, one file for each noun: functions that take a database session and return values."""
