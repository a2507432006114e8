"""Measure what several processes of one server gain: CPU time per request, and how evenly they share connections.

    python -m bench.processes [--database sqlite postgresql] [--what manifests tls-pulls] [--counts 1 2 4] [--spread]

Processes that share no lock and take as much CPU time for a request as one process alone serve N times as many
requests on N cores. So this measures CPU time, which is meaningful on a machine with fewer cores than processes: the
growth is N times the CPU time per request of one process, divided by that of N processes. All processes are pinned to
one core and the client to another, so that the core of the servers is always busy: a process that waits is woken for
each single request, which costs more CPU time than requests that have queued up, and says nothing about locks. But the
processes then take turns on that core; the switches per request say how often. With ``--spread``, nothing is pinned: on
a machine with enough cores, the requests per second say the same.

A pull is a GET of a blob of 1 MiB, over TLS; connections are open before the measurement. PostgreSQL runs elsewhere
than the processes (on the client's core), and its CPU time is not counted.
"""

from __future__ import annotations

import argparse
import hashlib
import http.client
import json
import os
import selectors
import socket
import ssl
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from tests.parts.docker_registry import make_certificate
from tests.parts.hub import READY
from tests.parts.process import Program, free_port, own_folder

from bench.hub_rates import database
from bench.servers import HYTHE, TICKS

What: TypeAlias = Literal["manifests", "tls-pulls"]

CONNECTIONS = 32
"""Of each process."""

CONFIG = b"{}"
LAYER_SIZE = 1 << 20
LAST_CORE = max(os.sched_getaffinity(0))


@dataclass(frozen=True, slots=True)
class Use:
    """CPU seconds and context switches of some processes."""

    seconds: tuple[float, ...]
    switches: int

    @classmethod
    def of(cls, processes: Sequence[int]) -> Use:
        """Read what these processes have used so far."""
        tasks = [task for each in processes for task in Path(f"/proc/{each}/task").iterdir()]
        lines = [line for task in tasks for line in (task / "status").read_text().splitlines()]
        switches = sum(int(line.split()[1]) for line in lines if "ctxt_switches" in line)
        return cls(tuple(map(_cpu, processes)), switches)

    def since(self, earlier: Use) -> Use:
        """Return what was used between the two."""
        seconds = tuple(now - before for now, before in zip(self.seconds, earlier.seconds, strict=True))
        return Use(seconds, self.switches - earlier.switches)


def _cpu(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


class Clients:
    """Connections that ask one thing again and again, each for the next one when a response is complete."""

    def __init__(self, port: int, request: bytes, count: int, tls: ssl.SSLContext | None) -> None:
        self._request = request
        self._selector = selectors.DefaultSelector()
        for _ in range(count):
            connection = socket.create_connection(("127.0.0.1", port), timeout=60)
            self._selector.register(tls.wrap_socket(connection) if tls else connection, selectors.EVENT_READ)
        self._sockets = [key.fileobj for key in self._selector.get_map().values()]
        self._length = self._length_of_response()

    def _length_of_response(self) -> int:
        connection = self._sockets[0]
        assert isinstance(connection, socket.socket)
        connection.sendall(self._request)
        received = b""
        while b"\r\n\r\n" not in received:
            received += connection.recv(65536)
        head, _, body = received.partition(b"\r\n\r\n")
        size = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        left = int(size.split()[1]) - len(body)
        length = len(received) + left
        while left:
            left -= len(connection.recv(min(left, 65536)))
        return length

    def run(self, count: int) -> float:
        """Send ``count`` requests, and return the seconds that took."""
        left: dict[object, int] = {}
        begun, sent, done = time.perf_counter(), 0, 0
        for sock in self._sockets[:count]:
            sock.sendall(self._request)  # type: ignore[union-attr]
            left[sock] = self._length
            sent += 1
        while done < count:
            for key, _ in self._selector.select():
                sock = key.fileobj
                assert isinstance(sock, socket.socket)
                received = len(sock.recv(1 << 18))
                if not received:
                    raise ConnectionResetError("the server closed a connection")
                left[sock] -= received
                if left[sock] > 0:
                    continue
                done += 1
                if sent < count:
                    sock.sendall(self._request)
                    left[sock] = self._length
                    sent += 1
        return time.perf_counter() - begun

    def close(self) -> None:
        """Close the connections."""
        for sock in self._sockets:
            sock.close()  # type: ignore[union-attr]


def push(client: http.client.HTTPConnection, what: What) -> bytes:
    """Push a blob, or an image without layers; return the request for it."""
    content = CONFIG if what == "manifests" else os.urandom(LAYER_SIZE)
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    path = f"/v2/app/blobs/{digest}"
    _send(client, "POST", f"/v2/app/blobs/uploads/?digest={digest}", content)
    if what == "manifests":
        path, kind = "/v2/app/manifests/latest", "application/vnd.oci.image.manifest.v1+json"
        config = {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest, "size": len(content)}
        manifest = {"schemaVersion": 2, "mediaType": kind, "config": config, "layers": []}
        _send(client, "PUT", path, json.dumps(manifest).encode(), {"Content-Type": kind})
    client.close()
    return f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()


def _send(
    client: http.client.HTTPConnection, method: str, path: str, body: bytes, headers: dict[str, str] | None = None
) -> None:
    client.request(method, path, body, headers or {})
    response = client.getresponse()
    content = response.read()
    if response.status != 201:
        raise RuntimeError(f"{method} {path}: status {response.status}: {content.decode()}")


def serving(process: int) -> list[int]:
    """Return the processes that serve: the children of a supervisor, or the process itself."""
    children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    return [int(each) for each in children] or [process]


def memory(process: int) -> float:
    """Return the MiB of a process, of which others share a part, divided among them (PSS)."""
    lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("Pss:")).split()[1]) / 1024


def trusting(ca: Path) -> ssl.SSLContext:
    """Return the TLS options of a client."""
    return ssl.create_default_context(cafile=str(ca))


def measure(what: What, database_url: str, count: int, requests: int, *, pinned: bool) -> float:
    """Print the figures of ``count`` processes and return the CPU seconds per request."""
    with own_folder("processes") as folder, ExitStack() as stack:
        port = free_port()
        words = [str(HYTHE), "registry", "serve", "--listen", f"127.0.0.1:{port}", "--data", str(folder / "data")]
        words += ["--processes", str(count)] + (["--database-url", database_url] if database_url else [])
        client: http.client.HTTPConnection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        tls = None
        if what == "tls-pulls":
            certificate = make_certificate(folder / "tls")
            words += ["--tls-cert", str(certificate.cert), "--tls-key", str(certificate.key)]
            tls = trusting(certificate.ca)
            tls.check_hostname = False  # connections name no host
            client = http.client.HTTPSConnection("127.0.0.1", port, timeout=60, context=trusting(certificate.ca))
        server = Program(words, folder / "log", out=folder / "out")
        stack.callback(server.stop)
        server.wait_until(lambda: READY.search((folder / "out").read_text()) is not None)
        request = push(client, what)
        processes = serving(server.process.pid)
        for each in processes if pinned else ():
            for thread in Path(f"/proc/{each}/task").iterdir():
                os.sched_setaffinity(int(thread.name), {LAST_CORE})
        clients = Clients(port, request, CONNECTIONS * count, tls)
        stack.callback(clients.close)
        clients.run(requests // 4)
        before = Use.of(processes)
        seconds = clients.run(requests)
        used = Use.of(processes).since(before)
        shares = " ".join(f"{part / (sum(used.seconds) or 1):.0%}" for part in used.seconds)
        cost = sum(used.seconds) / requests
        print(
            f"{count} processes: {requests / seconds:,.0f} requests/s, {cost * 1e6:.1f} us of CPU and "
            f"{used.switches / requests:.3f} switches each; shares {shares}; "
            f"{sum(map(memory, {*processes, server.process.pid})):.0f} MiB",
            flush=True,
        )
        return cost


def main() -> None:
    """Print the figures for each number of processes, and the growth that follows from them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=20_000, help="of manifests; a tenth as many pulls")
    parser.add_argument("--counts", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--database", nargs="+", choices=["sqlite", "postgresql"], default=["sqlite", "postgresql"])
    parser.add_argument("--what", nargs="+", choices=["manifests", "tls-pulls"], default=["manifests", "tls-pulls"])
    parser.add_argument("--spread", action="store_true")
    arguments = parser.parse_args()
    if not arguments.spread:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    for kind in arguments.database:
        for what in arguments.what:
            print(f"{what} on {kind}", flush=True)
            requests = arguments.requests if what == "manifests" else arguments.requests // 10
            costs: dict[int, float] = {}
            for count in sorted({1, *arguments.counts}):
                with own_folder("processes-database") as folder, database(kind, folder) as url:
                    costs[count] = measure(what, url, count, requests, pinned=not arguments.spread)
                growth = count * costs[1] / costs[count]
                if count > 1:
                    print(f"  {count} cores would serve {growth:.2f} times as much as one ({growth / count:.2f} N)")


if __name__ == "__main__":
    main()
