"""Containers as values: what was asked for (``Container``), and how it stands (``Status``)."""

from enum import Enum

import msgspec

from hythe.oci.config import ContainerConfig


class Mount(msgspec.Struct, frozen=True, omit_defaults=True):
    """Something of the host in the container: a file or folder, a named volume, or (no source) a folder in memory.

    ``options`` are the kernel's mount options; ``empty``: the volume is not filled from the image.
    """

    target: str
    source: str = ""
    volume: str = ""
    options: tuple[str, ...] = ()
    empty: bool = False


class Device(msgspec.Struct, frozen=True, omit_defaults=True):
    """A device of the host in the container; ``access`` is of the letters r, w and m (make)."""

    source: str
    target: str
    access: str = "rwm"


class ProcessLimit(msgspec.Struct, frozen=True):
    """What a process may use at most, by its name in lower case (``getrlimit(2)``); -1 is no limit."""

    name: str
    soft: int
    hard: int


class ResourceLimits(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the container may use at most; 0 is no limit. ``memory`` in bytes, ``cpus`` in processors.

    ``swap`` is memory and swap space together; ``shares`` is its weight beside others where processors are scarce.
    """

    memory: int = 0
    cpus: float = 0
    processes: int = 0
    swap: int = 0
    shares: int = 0
    processors: str = ""


class HostConfig(msgspec.Struct, frozen=True, omit_defaults=True):
    """How the container is run, which is no part of an image made from it.

    ``unconfined``: no filter of system calls. ``hosts`` are lines of ``/etc/hosts``, ``shared_memory`` bytes.
    """

    network: str = "host"
    hostname: str = ""
    mounts: tuple[Mount, ...] = ()
    read_only: bool = False
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    limits: ResourceLimits = ResourceLimits()
    terminal: bool = False
    interactive: bool = False
    auto_remove: bool = False
    runtime: str = ""
    stop_timeout: int = 10
    privileged: bool = False
    init: bool = False
    no_new_privileges: bool = False
    unconfined: bool = False
    groups: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    dns: tuple[str, ...] = ()
    devices: tuple[Device, ...] = ()
    process_limits: tuple[ProcessLimit, ...] = ()
    shared_memory: int = 64 << 20
    kernel_settings: dict[str, str] = {}


class Container(msgspec.Struct, frozen=True):
    """A container as it was created; this never changes.

    ``image`` is the name as it was typed, ``image_digest`` what the name pointed at, ``image_id`` the digest of the
    image's configuration, ``layers`` its diff ids, lowest first. ``config`` is the image's with the options over it.
    """

    id: str
    name: str
    created: str
    image: str
    image_digest: str
    image_id: str
    layers: tuple[str, ...]
    config: ContainerConfig
    host: HostConfig = HostConfig()

    @property
    def command(self) -> tuple[str, ...]:
        """The words that are run."""
        return (*(self.config.entrypoint or ()), *(self.config.cmd or ()))


class ContainerState(Enum):
    """Docker's words for how a container stands."""

    CREATED = "created"
    RUNNING = "running"
    EXITED = "exited"


class ContainerStatus(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a container stands. Times are RFC 3339.

    ``started_ticks`` tells its process from a later one with the same number (see ``process``).
    """

    state: ContainerState = ContainerState.CREATED
    process: int = 0
    started_ticks: int = 0
    started: str = ""
    finished: str = ""
    exit_code: int = 0
    error: str = ""
