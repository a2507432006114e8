"""BuildKit: a stand-in for its `buildctl`, as no package here has the real one; see the script for what it is."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.parts.docker_registry import Certificate
from tests.parts.process import own_folder

SCRIPT = Path(__file__).with_name("buildctl")


@dataclass(frozen=True, slots=True)
class BuildKit:
    """A folder with `buildctl` for the PATH, and the address of a daemon that it talks to."""

    folder: Path
    address: str

    @property
    def path(self) -> str:
        """A PATH where `buildctl` comes first."""
        return f"{self.folder}{os.pathsep}{os.environ['PATH']}"

    def asked(self) -> list[dict[str, Any]]:
        """The builds that were asked for: `argv`, and the folder of credentials as `config`."""
        log = self.folder / "state/asked"
        return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


@contextlib.contextmanager
def running_buildkit(certificate: Certificate | None = None) -> Iterator[BuildKit]:
    """Run one on a unix socket; with a certificate on TCP by TLS, for clients that have a certificate of its CA."""
    with own_folder("buildkit") as folder, contextlib.ExitStack() as stack:
        shutil.copy(SCRIPT, folder / "buildctl")
        if certificate is None:
            listener = stack.enter_context(socket.socket(socket.AF_UNIX))
            listener.bind(str(folder / "buildkitd.sock"))
            address = f"unix://{folder}/buildkitd.sock"
        else:
            listener = stack.enter_context(socket.socket())
            listener.bind(("127.0.0.1", 0))
            address = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        listener.listen()
        thread = threading.Thread(target=_accept, args=(listener, certificate), daemon=True)
        thread.start()
        try:
            yield BuildKit(folder, address)
        finally:
            # Closing alone leaves the thread in accept(2), which the kernel can restart on a reused descriptor: the
            # thread then takes connections of another test's server.
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def _accept(listener: socket.socket, certificate: Certificate | None) -> None:
    context = None
    if certificate is not None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(certificate.ca))
        context.load_cert_chain(certificate.cert, certificate.key)
        context.verify_mode = ssl.CERT_REQUIRED
    while True:
        try:
            connection = listener.accept()[0]
        except OSError:
            return
        with contextlib.suppress(OSError):
            (context.wrap_socket(connection, server_side=True) if context else connection).close()


@pytest.fixture(scope="module")
def buildkit() -> Iterator[BuildKit]:
    """BuildKit's stand-in on a unix socket."""
    with running_buildkit() as started:
        yield started
