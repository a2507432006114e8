"""What the hub shows of a tag."""

from datetime import datetime

import msgspec


class TagImage(msgspec.Struct, frozen=True):
    """One image behind a tag: for which platform (``linux/amd64``; empty: not said), and its size in bytes."""

    digest: str
    platform: str
    size: int


class Tag(msgspec.Struct, frozen=True):
    """A tag: ``size`` is what a pull of its first image brings at most, compressed, in bytes."""

    name: str
    digest: str
    media_type: str
    size: int
    pushed_at: datetime
    pushed_by: str
    images: tuple[TagImage, ...]
