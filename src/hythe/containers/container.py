"""The data of containers: their configuration (``Container``) and current status (``ContainerStatus``)."""

from enum import Enum

import msgspec

from hythe.oci.config import ContainerConfig


class Mount(msgspec.Struct, frozen=True, omit_defaults=True):
    """A mount in a container: a file or folder of the host, a named volume, or a tmpfs (without source).

    ``options`` are the kernel's mount options; with ``empty``, the volume is not filled from the image.
    """

    target: str
    source: str = ""
    volume: str = ""
    options: tuple[str, ...] = ()
    empty: bool = False


class Device(msgspec.Struct, frozen=True, omit_defaults=True):
    """A device of the host in the container; ``access`` consists of the letters r, w and m (mknod)."""

    source: str
    target: str
    access: str = "rwm"


class ProcessLimit(msgspec.Struct, frozen=True):
    """A resource limit of a process, with its name in lower case (``getrlimit(2)``); -1 means unlimited."""

    name: str
    soft: int
    hard: int


class PublishedPort(msgspec.Struct, frozen=True, omit_defaults=True):
    """A port of a container that the host listens on: any free port from ``host_port`` to ``last_host_port``.

    ``host_port`` 0 means any free port; of a running container, both are the port that was taken.
    """

    container_port: int
    host_port: int = 0
    last_host_port: int = 0
    address: str = "0.0.0.0"  # noqa: S104 - docker's default, too
    protocol: str = "tcp"


class ResourceLimits(msgspec.Struct, frozen=True, omit_defaults=True):
    """The resource limits of a container; 0 means unlimited. ``memory`` is in bytes, ``cpus`` a number of processors.

    ``swap`` is memory and swap space together; ``shares`` is the relative weight for CPU time.
    """

    memory: int = 0
    cpus: float = 0
    processes: int = 0
    swap: int = 0
    shares: int = 0
    processors: str = ""


class HostConfig(msgspec.Struct, frozen=True, omit_defaults=True):
    """How the container runs; not part of an image created from it.

    ``network`` is host, none or bridge; the default only applies to containers of older versions, which had the host's.
    ``ports`` are published on the bridge. ``unconfined``: no system call filter.
    ``hosts`` are lines of ``/etc/hosts``, ``shared_memory`` bytes.
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
    ports: tuple[PublishedPort, ...] = ()
    publish_all: bool = False


class Container(msgspec.Struct, frozen=True):
    """A container as it was created; immutable.

    ``image`` is the name as typed, ``image_digest`` the digest of its manifest or index, ``image_id`` the digest of the
    image's configuration, ``layers`` its diff IDs, lowest first. ``config`` is the image's with the options applied.
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
        """The command line to run."""
        return (*(self.config.entrypoint or ()), *(self.config.cmd or ()))


class ContainerState(Enum):
    """The state of a container, with docker's names."""

    CREATED = "created"
    RUNNING = "running"
    EXITED = "exited"


class ContainerStatus(msgspec.Struct, frozen=True, omit_defaults=True):
    """The status of a container. Times are RFC 3339.

    ``started_ticks`` distinguishes its process from a later one with the same PID (see ``process``). ``ports`` are
    published while it runs.
    """

    state: ContainerState = ContainerState.CREATED
    process: int = 0
    started_ticks: int = 0
    started: str = ""
    finished: str = ""
    exit_code: int = 0
    error: str = ""
    ports: tuple[PublishedPort, ...] = ()
