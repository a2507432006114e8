"""What the hub shows about a tag."""

from datetime import datetime

import msgspec


class TagImage(msgspec.Struct, frozen=True):
    """One image of a tag: its platform (``linux/amd64``, or empty if unknown) and its size in bytes."""

    digest: str
    platform: str
    size: int


class Tag(msgspec.Struct, frozen=True):
    """A tag; ``size`` is the most that a pull of its first image downloads, in compressed bytes."""

    name: str
    digest: str
    media_type: str
    size: int
    pushed_at: datetime
    pushed_by: str
    images: tuple[TagImage, ...]
