"""Selects a worker's isolation by trial, logs it at start, and refuses isolation that is too weak."""

import shutil
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import msgspec

from hythe.worker.errors import IsolationUnavailable
from hythe.worker.isolation.cgroup import ControlGroup, existing_group, make_group
from hythe.worker.isolation.disk import Disk, ImageDisk, WatchedDisk
from hythe.worker.isolation.id_mapping import IdMapping, map_ids
from hythe.worker.isolation.port_forward import ForwardedPort
from hythe.worker.isolation.sandbox import NetworkAccess, Sandbox
from hythe.worker.protocol import BuildLimits, Network

TRIAL = BuildLimits(processors=1, memory=256 << 20, processes=100, disk=32 << 20, files=1000, seconds=30)


class ExternalBuilder(msgspec.Struct, frozen=True):
    """A builder outside the sandbox with its own isolation, which the operator chose instead of buildah."""

    kind: Literal["docker", "buildkit"]
    address: str
    certificates: str = ""
    """Folder with ``ca.pem``, ``cert.pem`` and ``key.pem``; empty: no TLS."""
    server_name: str = ""

    @classmethod
    def of(cls, builder: str, certificates: str, server_name: str) -> "ExternalBuilder | None":
        """Return the builder of the settings ``builds_builder`` and ``builds_buildkit_*``; None for buildah."""
        match builder.partition("="):
            case ("docker", _, address):
                return cls("docker", address)
            case ("buildkit", _, address):
                return cls("buildkit", address, certificates, server_name)
        return None

    def __str__(self) -> str:
        return f"the {'docker engine' if self.kind == 'docker' else 'BuildKit daemon'} at {self.address}"


class Isolation(msgspec.Struct, frozen=True):
    """The isolation that a machine supports. Without ``groups`` memory and processes are unlimited."""

    folder: Path
    first: int
    groups: bool
    images: bool
    networks: frozenset[Network]
    hardened_network: bool = True
    """Whether slirp4netns isolates itself."""
    missing: tuple[str, ...] = ()
    external: ExternalBuilder | None = None
    """The builder that the operator chose instead of the sandbox, if any."""

    def __str__(self) -> str:
        if self.external:
            return f"that of {self.external}; the source is fetched in a user namespace"
        parts = [
            "user namespace (root inside has no rights on the host)",
            "control group" if self.groups else "NO limits on memory and processes",
            "separate file system" if self.images else "watched folder",
            "networks: " + ", ".join(sorted(network.value for network in self.networks)),
            *([] if self.hardened_network else ["slirp4netns NOT isolated"]),
        ]
        return "; ".join(parts)

    def group(self, name: str, limits: BuildLimits) -> ControlGroup | None:
        """Return a new control group, None if this machine has none. Raises IsolationUnavailable."""
        return make_group(self.folder, name, limits) if self.groups else None

    def sandbox(
        self,
        name: str,
        slot: int,
        limits: BuildLimits,
        image: Path,
        *,
        deadline: float | None = None,
        groups: Mapping[str, str] | None = None,
    ) -> Sandbox:
        """Return a new sandbox with these limits and its disk in ``image``. Raises IsolationUnavailable.

        ``deadline`` is a time of ``time.monotonic``. ``groups`` are the folders of an existing control group, to which
        this process belongs; otherwise the sandbox gets one of its own.
        """
        ids = map_ids(slot, self.first)
        disk = self._disk(name, limits, image, ids)
        group = self.group(name, limits) if groups is None else existing_group(dict(groups), limits) if groups else None
        return Sandbox(
            ids,
            disk,
            group,
            owns_group=groups is None,
            deadline=deadline or time.monotonic() + limits.seconds,
            limit=limits.seconds,
            egress=limits.egress,
            hardened_network=self.hardened_network,
        )

    def _disk(self, name: str, limits: BuildLimits, image: Path, ids: IdMapping) -> Disk:
        folder = self.folder / "work" / name
        if self.images:
            return ImageDisk(image, folder, limits.disk, limits.files, ids)
        return WatchedDisk(folder, limits.disk, limits.files)


def choose_isolation(folder: Path, first: int, *, weaker: bool) -> Isolation:
    """Return the isolation that this machine supports.

    Raises IsolationUnavailable if a build would be root on the host or, unless the operator allowed ``weaker``, could
    exhaust the machine.
    """
    folder.mkdir(parents=True, exist_ok=True)
    full = Isolation(folder, first, groups=True, images=True, networks=frozenset({Network.OFF}))
    without_image = msgspec.structs.replace(full, images=False)
    bare = msgspec.structs.replace(without_image, groups=False)
    missing: list[str] = []
    for candidate in (full, without_image, bare):
        try:
            _try(candidate, Network.OFF)
        except (IsolationUnavailable, OSError) as error:
            missing.append(str(error))
            continue
        if not candidate.groups and not weaker:
            break
        return _with_networks(candidate, missing, weaker=weaker)
    raise IsolationUnavailable(
        "this machine cannot isolate builds: "
        + "; ".join(missing)
        + ". Set builds_isolation=weaker to build without limits"
    )


def _with_networks(isolation: Isolation, missing: list[str], *, weaker: bool) -> Isolation:
    """Return the isolation with the networks that this machine supports, and what is ``missing``."""
    found = {Network.OFF}
    for network, hardened in ((Network.REGISTRY, True), (Network.OPEN, True), (Network.OPEN, False)):
        if network in found or not (hardened or weaker):
            continue
        candidate = msgspec.structs.replace(isolation, hardened_network=hardened)
        try:
            _try(candidate, network)
        except (IsolationUnavailable, OSError) as error:
            missing.append(f"no network {network.value!r}: {error}")
            continue
        found.add(network)
        isolation = candidate
    return msgspec.structs.replace(isolation, networks=frozenset(found), missing=tuple(missing))


def _try(isolation: Isolation, network: Network) -> None:
    """Run ``true`` in such a sandbox. Raises IsolationUnavailable."""
    name = Path(tempfile.mkdtemp(prefix="trial-", dir=isolation.folder)).name
    image = isolation.folder / name / "disk.img"
    output: list[str] = []
    forwards = (ForwardedPort("127.0.0.1", 9),) if network is Network.REGISTRY else ()
    try:
        sandbox = isolation.sandbox(name, 0, TRIAL, image)
        try:
            completed = sandbox.run(["true"], output.append, access=NetworkAccess(network, forwards))
        finally:
            sandbox.close(keep=False)
        if completed.code:
            raise IsolationUnavailable("; ".join(output) or f"the trial exited with {completed.code}")
    finally:
        shutil.rmtree(isolation.folder / name, ignore_errors=True)
