"""Passkeys as values."""

from datetime import datetime

import msgspec


class Passkey(msgspec.Struct, frozen=True):
    """A passkey without its key. ``backed_up``: its provider copies it to other devices; ``used_at`` None: never."""

    id: int
    credential_id: str
    name: str
    transports: tuple[str, ...]
    backed_up: bool
    created_at: datetime
    used_at: datetime | None = None
