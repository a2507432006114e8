"""The distribution protocol over ASGI: requests become values, values become answers. One file a noun."""
