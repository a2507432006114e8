"""The index: accounts, namespaces, repositories, search, tokens, and the one module that decides who may do what."""
