"""Committing containers of docker or podman on this machine into the local store.

The engine itself commits the container (docker through its socket, podman through its command). The image is then
imported as a ``save`` archive and removed from the engine.
"""

import http.client
import json
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Protocol, cast
from urllib.parse import quote, urlencode

from hythe.client.docker_archive import read_archive
from hythe.client.store import LocalStore
from hythe.containers.commit import CommitOptions
from hythe.containers.errors import ContainerError, NoSuchContainer
from hythe.oci.digest import Digest
from hythe.oci.reference import Reference

_TIMEOUT = 600  # seconds without data: committing a large container takes long


class Engine(Protocol):
    """The operations of another engine. All methods raise ContainerError with the engine's message."""

    def has(self, container: str) -> bool:
        """Whether the engine has a container with this name or ID."""

    def commit(self, container: str, options: CommitOptions) -> str:
        """Create an unnamed image; returns its ID."""

    def save(self, image: str) -> AbstractContextManager[BinaryIO]:
        """Open the image as an archive."""

    def remove_image(self, image: str) -> None:
        """Remove the committed image."""


def commit_external(
    engine: Engine, container: str, images: LocalStore, options: CommitOptions, name: Reference | None
) -> Digest:
    """Commit a container of another engine into the local store and return the image's ID."""
    image = engine.commit(container, options)
    try:
        with images.writing(), engine.save(image) as archive:
            [archived] = read_archive(archive, images)
            entry = images.put(archived.descriptor, name)
            return images.load(entry).id
    finally:
        engine.remove_image(image)


def find_engine(container: str, environment: Mapping[str, str] = os.environ) -> tuple[Engine, str]:
    """Return the engine that has a container, and the container's name there.

    ``docker:NAME`` and ``podman:NAME`` select the engine; a plain name is looked up in both. Raises NoSuchContainer.
    """
    chosen, colon, name = container.partition(":")
    known = {"docker": lambda: DockerSocket.find(environment), "podman": PodmanCommand.find}
    if colon and chosen in known:
        engine = known[chosen]()
        if engine is None:
            raise NoSuchContainer(f"{chosen} is not available", "install it, or set DOCKER_HOST to docker's socket")
        if not engine.has(name):
            raise NoSuchContainer(f"{chosen} has no container {name!r}", f"'{chosen} ps -a' lists its containers")
        return engine, name
    for find in known.values():
        with suppress(ContainerError):  # skip an engine that is not running or not accessible
            engine = find()
            if engine is not None and engine.has(container):
                return engine, container
    raise NoSuchContainer(f"no such container: {container}", "'hythe ps -a' lists containers")


class DockerSocket:
    """A docker daemon, through its socket (Docker Engine API)."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @classmethod
    def find(cls, environment: Mapping[str, str]) -> "DockerSocket | None":
        """Return the daemon that docker would use; None if its socket does not exist."""
        host = environment.get("DOCKER_HOST", "")
        if host and not host.startswith("unix://"):
            return None
        own = Path(environment.get("XDG_RUNTIME_DIR", "/run/none"), "docker.sock")
        candidates = [Path(host.removeprefix("unix://"))] if host else [Path("/var/run/docker.sock"), own]
        return next((cls(path) for path in candidates if path.is_socket()), None)

    def has(self, container: str) -> bool:
        """See Engine."""
        with self._request("GET", f"/containers/{quote(container, safe='')}/json") as response:
            return response.status == 200

    def commit(self, container: str, options: CommitOptions) -> str:
        """See Engine."""
        query = [
            ("container", container),
            ("author", options.author),
            ("comment", options.message),
            ("pause", str(int(options.pause))),
            *(("changes", change) for change in options.changes),
        ]
        with self._request("POST", f"/commit?{urlencode(query)}") as response:
            reply = json.loads(_checked(response).read())
        return str(reply["Id"])

    @contextmanager
    def save(self, image: str) -> Iterator[BinaryIO]:
        """See Engine."""
        with self._request("GET", f"/images/{quote(image, safe='')}/get") as response:
            yield cast(BinaryIO, _checked(response))

    def remove_image(self, image: str) -> None:
        """See Engine."""
        with self._request("DELETE", f"/images/{quote(image, safe='')}?noprune=1") as response:
            _checked(response)

    @contextmanager
    def _request(self, method: str, path: str) -> Iterator[http.client.HTTPResponse]:
        connection = _UnixConnection(self._path)
        try:
            connection.request(method, path, headers={"Host": "docker"})
            yield connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            raise ContainerError(
                f"cannot connect to docker at {self._path}: {error}", "check that it is running, and your permissions"
            ) from error
        finally:
            connection.close()


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("docker", timeout=_TIMEOUT)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def _checked(response: http.client.HTTPResponse) -> http.client.HTTPResponse:
    if response.status >= 400:
        body = response.read()
        try:
            message = json.loads(body)["message"]
        except (ValueError, KeyError, TypeError):
            message = body.decode(errors="replace")
        raise ContainerError(f"docker: {message}")
    return response


class PodmanCommand:
    """podman, through its command."""

    def __init__(self, program: str) -> None:
        self._program = program

    @classmethod
    def find(cls) -> "PodmanCommand | None":
        """Return the installed podman, or None."""
        program = shutil.which("podman")
        return cls(program) if program else None

    def has(self, container: str) -> bool:
        """See Engine."""
        return self._run("container", "exists", "--", container, check=False).returncode == 0

    def commit(self, container: str, options: CommitOptions) -> str:
        """See Engine. Uses docker's format, because the OCI format loses the message."""
        changes = [word for change in options.changes for word in ("--change", change)]
        notes = ["--author", options.author, "--message", options.message, f"--pause={str(options.pause).lower()}"]
        result = self._run("commit", "--quiet", "--format", "docker", *notes, *changes, "--", container)
        return result.stdout.strip().splitlines()[-1]

    @contextmanager
    def save(self, image: str) -> Iterator[BinaryIO]:
        """See Engine."""
        with tempfile.TemporaryDirectory(prefix="hythe-") as folder:
            path = Path(folder) / "image.tar"
            self._run("save", "--format", "docker-archive", "--output", str(path), image)
            with path.open("rb") as file:
                yield file

    def remove_image(self, image: str) -> None:
        """See Engine."""
        self._run("rmi", image)

    def _run(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        result = subprocess.run([self._program, *words], capture_output=True, text=True, check=False)
        if check and result.returncode:
            raise ContainerError(f"podman: {result.stderr.strip()}")
        return result
