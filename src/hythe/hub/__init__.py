"""The index: accounts, namespaces, repositories, search, tokens, and ``access``, which decides who may do what."""
