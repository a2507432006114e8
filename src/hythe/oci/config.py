"""Image configurations (image specification, "Image Configuration"; Docker's container configuration)."""

from collections.abc import Iterable
from typing import Any

import msgspec

from hythe.oci.document import MAX_TEXTS, Nullable, OrNull, has_too_many_texts
from hythe.oci.errors import InvalidManifest


class HealthCheck(Nullable, frozen=True, omit_defaults=True, rename="pascal"):
    """The health check of a container; durations in nanoseconds (Docker's extension)."""

    test: OrNull[tuple[str, ...]] = ()
    interval: OrNull[int] = 0
    timeout: OrNull[int] = 0
    start_period: OrNull[int] = 0
    retries: OrNull[int] = 0
    start_interval: OrNull[int] = 0


class ContainerConfig(Nullable, frozen=True, omit_defaults=True):
    """What the image's containers run, and how; names as in the JSON form."""

    user: OrNull[str] = msgspec.field(name="User", default="")
    exposed_ports: dict[str, Any] | None = msgspec.field(name="ExposedPorts", default=None)
    env: tuple[str, ...] | None = msgspec.field(name="Env", default=None)
    entrypoint: tuple[str, ...] | None = msgspec.field(name="Entrypoint", default=None)
    cmd: tuple[str, ...] | None = msgspec.field(name="Cmd", default=None)
    healthcheck: HealthCheck | None = msgspec.field(name="Healthcheck", default=None)
    volumes: dict[str, Any] | None = msgspec.field(name="Volumes", default=None)
    working_dir: OrNull[str] = msgspec.field(name="WorkingDir", default="")
    on_build: tuple[str, ...] | None = msgspec.field(name="OnBuild", default=None)
    labels: dict[str, str] | None = msgspec.field(name="Labels", default=None)
    stop_signal: OrNull[str] = msgspec.field(name="StopSignal", default="")
    shell: tuple[str, ...] | None = msgspec.field(name="Shell", default=None)


class RootFS(Nullable, frozen=True):
    """The layers by the digests of their uncompressed tar files, lowest first."""

    type: OrNull[str] = "layers"
    diff_ids: OrNull[tuple[str, ...]] = ()


class History(Nullable, frozen=True, omit_defaults=True):
    """A step of the image's history; ``created`` is an RFC 3339 time."""

    created: OrNull[str] = ""
    created_by: OrNull[str] = ""
    author: OrNull[str] = ""
    comment: OrNull[str] = ""
    empty_layer: OrNull[bool] = False


class ImageConfig(Nullable, frozen=True, omit_defaults=True):
    """The configuration of an image; its digest is the image ID."""

    architecture: OrNull[str] = ""
    os: OrNull[str] = ""
    created: OrNull[str] = ""
    author: OrNull[str] = ""
    variant: OrNull[str] = ""
    os_version: OrNull[str] = msgspec.field(name="os.version", default="")
    config: ContainerConfig | None = None
    rootfs: OrNull[RootFS] = RootFS()
    history: OrNull[tuple[History, ...]] = ()

    @classmethod
    def parse(cls, content: bytes) -> "ImageConfig":
        """Parse a configuration. Raises InvalidManifest."""
        if has_too_many_texts(content):
            raise InvalidManifest(f"the image configuration has more than {MAX_TEXTS} names and texts")
        try:
            return msgspec.json.decode(content, type=cls)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise InvalidManifest(f"not an image configuration: {error}") from error

    def encode(self) -> bytes:
        """Return the JSON bytes."""
        return msgspec.json.encode(self)


def merge_environment(env: Iterable[str] | None, additions: Iterable[str]) -> tuple[str, ...]:
    """Merge ``additions`` into ``NAME=VALUE`` variables: existing names keep their place and get the new value."""
    merged = {variable.partition("=")[0]: variable for variable in env or ()}
    for variable in additions:
        merged[variable.partition("=")[0]] = variable
    return tuple(merged.values())
