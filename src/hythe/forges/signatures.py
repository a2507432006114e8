"""Signatures of webhooks over the raw body, compared in constant time."""

import hashlib
import hmac


def is_hmac(shown: str, secret: str, body: bytes) -> bool:
    """Whether ``shown`` (hex) is the HMAC-SHA-256 of the body under the secret."""
    made = hmac.digest(secret.encode(), body, hashlib.sha256).hex()
    return bool(secret) and hmac.compare_digest(made.encode(), shown.encode())


def is_prefixed_hmac(shown: str, secret: str, body: bytes) -> bool:
    """Whether ``shown`` is ``sha256=`` and that, as GitHub and Bitbucket write it."""
    method, _, value = shown.partition("=")
    return method == "sha256" and is_hmac(value, secret, body)


def is_secret(shown: str, secret: str) -> bool:
    """Whether ``shown`` is the secret itself."""
    return bool(secret) and hmac.compare_digest(shown.encode(), secret.encode())
