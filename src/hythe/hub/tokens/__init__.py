"""Tokens: personal and robot tokens, trust rules of keyless CI, and the token server with its keys."""
