"""Measures from a process of its own how long a hub's other work keeps a stranger's ``GET /v2/`` waiting.

On a machine that runs other tests, the hub's event loop and the probe also wait for a core. The kernel counts that time
for each thread (the second number of /proc/PID/schedstat), and it is no delay.
"""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.parts.hub import HytheServer

INTERVAL = 0.002
"""Seconds between two requests."""


@dataclass
class Delays:
    """The longest delays in seconds, longest first; empty until the block has ended."""

    longest: tuple[float, ...] = ()
    count: int = 0

    @property
    def worst(self) -> float:
        """The longest delay in seconds."""
        return max(self.longest, default=0.0)


@contextlib.contextmanager
def measured_delays(hub: HytheServer) -> Iterator[Delays]:
    """Send ``GET /v2/`` all the time while the block runs."""
    delays = Delays()
    command = [sys.executable, str(Path(__file__)), str(hub.port), str(hub.pid)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as probe:
        assert probe.stdout is not None
        assert probe.stdout.readline() == "ready\n"
        try:
            yield delays
        finally:
            out, _ = probe.communicate("", timeout=120)
            found = json.loads(out)
            delays.longest, delays.count = tuple(found["longest"]), found["count"]


def _probe(port: int, pid: int) -> None:
    threads = (f"/proc/{pid}/schedstat", "/proc/self/schedstat")  # the hub's main thread, which runs the loop
    times: list[float] = []
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        _request(connection)
        print("ready", flush=True)
        while not _is_over():
            start, waited = time.perf_counter(), _waited_for_cores(threads)
            _request(connection)
            seconds = time.perf_counter() - start
            times.append(max(0.0, seconds - _waited_for_cores(threads) + waited))
            time.sleep(INTERVAL)
    print(json.dumps({"longest": sorted(times, reverse=True)[:10], "count": len(times)}))


def _waited_for_cores(threads: Iterable[str]) -> float:
    """Return for how many seconds these threads were ready to run and had no core."""
    return sum(int(Path(thread).read_text().split()[1]) for thread in threads) / 1e9


def _request(connection: socket.socket) -> None:
    connection.sendall(b"GET /v2/ HTTP/1.1\r\nHost: probe\r\n\r\n")
    received = b""
    while b"\r\n\r\n" not in received:
        piece = connection.recv(65536)
        assert piece, "the hub closed the connection"
        received += piece
    head, _, body = received.partition(b"\r\n\r\n")
    length = next(
        int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")
    )
    while len(body) < length:
        body += connection.recv(65536)


def _is_over() -> bool:
    import select

    return bool(select.select([sys.stdin], [], [], 0)[0])


if __name__ == "__main__":
    _probe(int(sys.argv[1]), int(sys.argv[2]))
