"""The value of a personal access token, and how opaque tokens are made and kept."""

import hashlib
import secrets
from datetime import datetime

import msgspec

from hythe.hub.actor import Right

PREFIX = "hythe_"
"""What personal tokens begin with, so that scanners for leaked secrets find them."""


class PersonalToken(msgspec.Struct, frozen=True):
    """A personal access token without its secret. ``expires_at`` None: good until it is taken away."""

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
    """Return what is kept of a random token: its SHA-256 in hex."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
