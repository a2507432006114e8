"""The servers that are compared, each a process of its own whose CPU time and memory can be read."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.parts.process import Program, free_port, http_answers, program

TICKS = os.sysconf("SC_CLK_TCK")
HYTHE = Path(sys.executable).parent / "hythe"


@dataclass(slots=True)
class Server:
    """One running server."""

    name: str
    url: str
    process: int
    started_in: float
    """Seconds from its start to its first answer."""

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.url.rpartition(":")[2])

    def cpu(self) -> float:
        """CPU seconds of the process so far."""
        fields = Path(f"/proc/{self.process}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def memory(self, field: str = "VmRSS") -> float:
        """MiB: ``VmRSS`` now, ``VmHWM`` at its peak."""
        lines = Path(f"/proc/{self.process}/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith(f"{field}:")).split()[1]) / 1024


@contextlib.contextmanager
def running(name: str, command: list[str], port: int, folder: Path, path: str = "/v2/") -> Iterator[Server]:
    """Run a server until the block ends."""
    url = f"http://127.0.0.1:{port}"
    begun = time.perf_counter()
    started = Program(command, folder / f"{name}.log")
    try:
        while not _answers(url + path):
            if started.process.poll() is not None:
                raise RuntimeError(started.log_end())
            time.sleep(0.002)
        yield Server(name, url, started.process.pid, time.perf_counter() - begun)
    finally:
        started.stop()


def _answers(url: str) -> bool:
    try:
        return http_answers(url)
    except OSError:
        return False


@contextlib.contextmanager
def hythe_registry(folder: Path) -> Iterator[Server]:
    """Our registry alone."""
    port = free_port()
    words = [str(HYTHE), "registry", "serve", "--listen", f"127.0.0.1:{port}", "--data", str(folder / "hythe")]
    with running("hythe", words, port, folder) as server:
        yield server


@contextlib.contextmanager
def hythe_hub(folder: Path) -> Iterator[Server]:
    """Our hub, with accounts and tokens."""
    port = free_port()
    words = [str(HYTHE), "serve", "--listen", f"127.0.0.1:{port}", "--data", str(folder / "hub")]
    with running("hub", words, port, folder) as server:
        yield server


@contextlib.contextmanager
def docker_registry(folder: Path) -> Iterator[Server]:
    """Debian's docker-registry, as its package configures it but for the place and the log."""
    port = free_port()
    config = {
        "version": "0.1",
        "log": {"level": "error", "accesslog": {"disabled": True}},
        "storage": {
            "filesystem": {"rootdirectory": str(folder / "docker-registry")},
            "delete": {"enabled": True},
            "cache": {"blobdescriptor": "inmemory"},
        },
        "http": {"addr": f"127.0.0.1:{port}", "secret": "bench"},
    }
    (folder / "config.yml").write_text(json.dumps(config))
    words = [program("docker-registry", "docker-registry"), "serve", str(folder / "config.yml")]
    with running("docker-registry", words, port, folder) as server:
        yield server


@contextlib.contextmanager
def bare_application(folder: Path) -> Iterator[Server]:
    """A bare application on our HTTP server, which returns the bytes of the files in ``folder``: the limit."""
    port = free_port()
    words = [sys.executable, "-m", "bench.bare", str(port), str(folder)]
    with running("bare", words, port, folder, "/ready") as server:
        yield server


def request(method: str, url: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> str:
    """Send one request, which must succeed; returns its Location, or its body's text."""
    made = urllib.request.Request(url, data=body, method=method, headers=headers or {})
    with urllib.request.urlopen(made) as response:
        place: str | None = response.headers["Location"]
        return place if place is not None else response.read().decode()
