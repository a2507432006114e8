"""Where the bytes of blobs are kept: the port, and its back ends."""
