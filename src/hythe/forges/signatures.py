"""Signatures of webhook requests over the raw body, compared in constant time."""

import hashlib
import hmac


def is_hmac(signature: str, secret: str, body: bytes) -> bool:
    """Whether ``signature`` (hex) is the HMAC-SHA-256 of the body with the secret."""
    expected = hmac.digest(secret.encode(), body, hashlib.sha256).hex()
    return bool(secret) and hmac.compare_digest(expected.encode(), signature.encode())


def is_prefixed_hmac(signature: str, secret: str, body: bytes) -> bool:
    """Whether ``signature`` is ``sha256=`` and the hex HMAC, as GitHub and Bitbucket write it."""
    method, _, value = signature.partition("=")
    return method == "sha256" and is_hmac(value, secret, body)


def is_secret(token: str, secret: str) -> bool:
    """Whether ``token`` is the secret itself."""
    return bool(secret) and hmac.compare_digest(token.encode(), secret.encode())
