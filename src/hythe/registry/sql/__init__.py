"""The registry's SQL, one file for each noun. Statements are built once; each function uses the caller's session."""
