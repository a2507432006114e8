"""Containers of a docker or podman on this machine, committed by that engine itself and brought to the local store.

The engine knows best what its container changed, so it makes the image (docker through its socket, podman by its
command); we take it over in the form that ``save`` writes, and let the engine forget its copy.
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

_TIMEOUT = 600  # seconds without a byte: a commit of a large container is silent for long


class Engine(Protocol):
    """What is asked of another engine. Every method raises ContainerError with what the engine said."""

    def has(self, container: str) -> bool:
        """Whether the engine has a container with this name or ID."""

    def commit(self, container: str, order: CommitOptions) -> str:
        """Make an image without a name; returns its ID."""

    def save(self, image: str) -> AbstractContextManager[BinaryIO]:
        """Open the image as an archive."""

    def forget(self, image: str) -> None:
        """Remove the image that was made."""


def commit_external(
    engine: Engine, container: str, images: LocalStore, order: CommitOptions, name: Reference | None
) -> Digest:
    """Commit a container of another engine into the local store and return the image's ID."""
    image = engine.commit(container, order)
    try:
        with images.writing(), engine.save(image) as archive:
            [archived] = read_archive(archive, images)
            entry = images.put(archived.descriptor, name)
            return images.load(entry).id
    finally:
        engine.forget(image)


def find_engine(container: str, environment: Mapping[str, str] = os.environ) -> tuple[Engine, str]:
    """Return the engine that has a container, and the container's name there.

    ``docker:NAME`` and ``podman:NAME`` say which; a mere name is looked for in both. Raises NoSuchContainer.
    """
    chosen, colon, name = container.partition(":")
    known = {"docker": lambda: DockerSocket.find(environment), "podman": PodmanCommand.find}
    if colon and chosen in known:
        engine = known[chosen]()
        if engine is None:
            raise NoSuchContainer(f"no {chosen} was found here", "install it, or set DOCKER_HOST to docker's socket")
        if not engine.has(name):
            raise NoSuchContainer(f"{chosen} has no container {name!r}", f"'{chosen} ps -a' lists what it has")
        return engine, name
    for find in known.values():
        with suppress(ContainerError):  # one that we may not use, or that does not run, was not asked for by name
            engine = find()
            if engine is not None and engine.has(container):
                return engine, container
    raise NoSuchContainer(f"no such container: {container}", "'hythe ps -a' lists them")


class DockerSocket:
    """A docker daemon behind its socket (Docker Engine API)."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @classmethod
    def find(cls, environment: Mapping[str, str]) -> "DockerSocket | None":
        """Return the daemon that docker would talk to; None when there is no socket."""
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

    def commit(self, container: str, order: CommitOptions) -> str:
        """See Engine."""
        query = [
            ("container", container),
            ("author", order.author),
            ("comment", order.message),
            ("pause", str(int(order.pause))),
            *(("changes", change) for change in order.changes),
        ]
        with self._request("POST", f"/commit?{urlencode(query)}") as response:
            answer = json.loads(_checked(response).read())
        return str(answer["Id"])

    @contextmanager
    def save(self, image: str) -> Iterator[BinaryIO]:
        """See Engine."""
        with self._request("GET", f"/images/{quote(image, safe='')}/get") as response:
            yield cast(BinaryIO, _checked(response))

    def forget(self, image: str) -> None:
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
                f"docker at {self._path} does not answer: {error}", "check that it runs, and that you may use it"
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
        raise ContainerError(f"docker says: {message}")
    return response


class PodmanCommand:
    """podman, which has no daemon to talk to."""

    def __init__(self, program: str) -> None:
        self._program = program

    @classmethod
    def find(cls) -> "PodmanCommand | None":
        """Return the podman that is installed, if one is."""
        program = shutil.which("podman")
        return cls(program) if program else None

    def has(self, container: str) -> bool:
        """See Engine."""
        return self._run("container", "exists", "--", container, check=False).returncode == 0

    def commit(self, container: str, order: CommitOptions) -> str:
        """See Engine. In docker's format, because podman keeps no message in the other."""
        changes = [word for change in order.changes for word in ("--change", change)]
        notes = ["--author", order.author, "--message", order.message, f"--pause={str(order.pause).lower()}"]
        outcome = self._run("commit", "--quiet", "--format", "docker", *notes, *changes, "--", container)
        return outcome.stdout.strip().splitlines()[-1]

    @contextmanager
    def save(self, image: str) -> Iterator[BinaryIO]:
        """See Engine."""
        with tempfile.TemporaryDirectory(prefix="hythe-") as folder:
            path = Path(folder) / "image.tar"
            self._run("save", "--format", "docker-archive", "--output", str(path), image)
            with path.open("rb") as file:
                yield file

    def forget(self, image: str) -> None:
        """See Engine."""
        self._run("rmi", image)

    def _run(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        outcome = subprocess.run([self._program, *words], capture_output=True, text=True, check=False)
        if check and outcome.returncode:
            raise ContainerError(f"podman says: {outcome.stderr.strip()}")
        return outcome
