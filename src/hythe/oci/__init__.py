"""Values of the OCI and Docker specifications: no I/O, only the standard library and msgspec."""
