"""The servers under comparison; each is a process whose CPU time and memory can be read."""

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

# Servers compile their modules once, as an installed one does, so that starts are comparable.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

TICKS = os.sysconf("SC_CLK_TCK")
HYTHE = Path(sys.executable).parent / "hythe"


@dataclass(slots=True)
class Server:
    """One running server."""

    name: str
    url: str
    process: int
    started_in: float
    """Seconds from its start to its first response."""

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self.url.rpartition(":")[2])

    def cpu(self) -> float:
        """Return the CPU seconds that the process has used so far."""
        fields = Path(f"/proc/{self.process}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def memory(self, field: str = "VmRSS") -> float:
        """Return the memory in MiB: ``VmRSS`` for now, ``VmHWM`` for the peak."""
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
    """Run Hythe's private registry."""
    port = free_port()
    words = [str(HYTHE), "registry", "serve", "--listen", f"127.0.0.1:{port}", "--data", str(folder / "hythe")]
    with running("hythe", words, port, folder) as server:
        yield server


@contextlib.contextmanager
def hythe_hub(folder: Path, database_url: str = "") -> Iterator[Server]:
    """Run Hythe's hub, with accounts and tokens; on SQLite, or the PostgreSQL database of this URL."""
    port = free_port()
    words = [str(HYTHE), "serve", "--listen", f"127.0.0.1:{port}", "--data", str(folder / "hub")]
    words += ["--database-url", database_url] if database_url else []
    with running("hub", words, port, folder) as server:
        yield server


@contextlib.contextmanager
def docker_registry(folder: Path, driver: dict[str, object] | None = None) -> Iterator[Server]:
    """Run Debian's docker-registry with its package's configuration, apart from folder and log.

    ``driver`` configures another storage driver than that for a folder.
    """
    port = free_port()
    config = {
        "version": "0.1",
        "log": {"level": "error", "accesslog": {"disabled": True}},
        "storage": {
            **(driver or {"filesystem": {"rootdirectory": str(folder / "docker-registry")}}),
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
    """Run the bare application on Hythe's HTTP server; it sends the files of ``folder`` and is the upper limit."""
    port = free_port()
    words = [sys.executable, "-m", "bench.bare", str(port), str(folder)]
    with running("bare", words, port, folder, "/ready") as server:
        yield server


def request(method: str, url: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> str:
    """Send one request; return its Location header, or its body as text. Raises HTTPError if it fails."""
    made = urllib.request.Request(url, data=body, method=method, headers=headers or {})
    with urllib.request.urlopen(made) as response:
        place: str | None = response.headers["Location"]
        return place if place is not None else response.read().decode(errors="replace")
