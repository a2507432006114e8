"""What the hub shows of an image: for which platforms it is, and by which steps it was made."""

from datetime import datetime

import msgspec

from hythe.oci.config import ContainerConfig


class HistoryStep(msgspec.Struct, frozen=True):
    """One step of an image's making. ``size`` is that of its layer, compressed, in bytes; None: it added none."""

    text: str
    digest: str
    size: int | None


class PlatformImage(msgspec.Struct, frozen=True):
    """The image for one platform (``linux/amd64``; empty: not said); ``size`` is what a pull brings at most.

    ``made_at`` None: not said. ``container`` is what its containers run and how; None for what is no image.
    """

    digest: str
    platform: str
    size: int
    steps: tuple[HistoryStep, ...]
    made_at: datetime | None
    container: ContainerConfig | None


class ImageDetails(msgspec.Struct, frozen=True):
    """What a tag or digest names: an image, or one for each of several platforms. ``artifact_type`` empty: an image."""

    digest: str
    media_type: str
    artifact_type: str
    annotations: dict[str, str]
    platforms: tuple[PlatformImage, ...]
