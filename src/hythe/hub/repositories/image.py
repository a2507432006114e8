"""What the hub shows about an image: its platforms and the steps that built it."""

from datetime import datetime

import msgspec

from hythe.oci.config import ContainerConfig


class HistoryStep(msgspec.Struct, frozen=True):
    """One step of an image's history. ``size``: compressed bytes of its layer; None if it has none."""

    text: str
    digest: str
    size: int | None


class PlatformImage(msgspec.Struct, frozen=True):
    """The image for one platform (``linux/amd64``, or empty if unknown); ``size`` is the most that a pull downloads.

    ``more_steps``: how many steps of the history are left out.

    ``made_at`` is None if unknown. ``container`` is the configuration of its containers; None if this is not an image.
    """

    digest: str
    platform: str
    size: int
    steps: tuple[HistoryStep, ...]
    more_steps: int
    made_at: datetime | None
    container: ContainerConfig | None


class ImageDetails(msgspec.Struct, frozen=True):
    """What a tag or digest refers to: one image, or one for each platform. ``artifact_type`` is empty for images."""

    digest: str
    media_type: str
    artifact_type: str
    annotations: dict[str, str]
    platforms: tuple[PlatformImage, ...]
