"""Personal access tokens as values, and how opaque tokens are generated and stored."""

import hashlib
import secrets
from datetime import datetime

import msgspec

from hythe.hub.actor import Right

PREFIX = "hythe_"
"""Prefix of personal access tokens, which lets scanners find leaked ones."""


class PersonalToken(msgspec.Struct, frozen=True):
    """A personal access token without its secret. ``expires_at`` None: it does not expire."""

    id: int
    name: str
    rights: tuple[Right, ...]
    created_at: datetime
    expires_at: datetime | None
    used_at: datetime | None


def new_secret(prefix: str = "") -> str:
    """Return a random token of 256 bits."""
    return prefix + secrets.token_urlsafe(32)


def digest_of(secret: str) -> str:
    """Return the stored form of a random token: its SHA-256 in hex."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
