"""The distribution protocol over ASGI: parse requests into values, values into responses. One file for each noun."""
