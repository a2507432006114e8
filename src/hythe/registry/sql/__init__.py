"""The registry's SQL, a file a noun. Statements are built once; each function runs in the caller's session."""
