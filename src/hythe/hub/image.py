"""What the hub shows of an image: for which platforms it is, and by which steps it was made."""

import msgspec


class Step(msgspec.Struct, frozen=True):
    """One step of an image's making. ``size`` is that of its layer, compressed, in bytes; None: it added none."""

    text: str
    digest: str
    size: int | None


class PlatformImage(msgspec.Struct, frozen=True):
    """The image for one platform (``linux/amd64``; empty: not said); ``size`` is what a pull brings at most."""

    digest: str
    platform: str
    size: int
    steps: tuple[Step, ...]


class Image(msgspec.Struct, frozen=True):
    """What a tag or digest names: an image, or one for each of several platforms. ``artifact_type`` empty: an image."""

    digest: str
    media_type: str
    artifact_type: str
    annotations: dict[str, str]
    platforms: tuple[PlatformImage, ...]
