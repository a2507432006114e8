"""Measure what several processes of one server gain: CPU time per request, and how evenly they share connections.

    python -m bench.processes [--requests 20000] [--counts 2 4] [--spread]

Processes that share no lock and take as much CPU time for a request as one process alone serve N times as many
requests on N cores. So this measures CPU time, which is meaningful on a machine with fewer cores than processes: the
growth is N times the CPU time per request of one process, divided by that of N processes. All processes are pinned to
one core and the client to another, so that the core of the servers is always busy: a process that waits is woken for
each single request, which costs more CPU time than requests that have queued up, and says nothing about locks. With
``--spread``, nothing is pinned: on a machine with enough cores, the requests per second say the same.
"""

from __future__ import annotations

import argparse
import hashlib
import http.client
import json
import os
import selectors
import socket
import time
from pathlib import Path

from tests.parts.process import free_port, own_folder

from bench.servers import HYTHE, TICKS, running

CONNECTIONS = 32
"""Of each process."""

CONFIG = b"{}"
LAST_CORE = max(os.sched_getaffinity(0))


def push(port: int) -> bytes:
    """Push an image without layers; return the request for its manifest."""
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    digest = f"sha256:{hashlib.sha256(CONFIG).hexdigest()}"
    client.request("POST", f"/v2/app/blobs/uploads/?digest={digest}", CONFIG)
    client.getresponse().read()
    kind = "application/vnd.oci.image.manifest.v1+json"
    config = {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest, "size": len(CONFIG)}
    manifest = json.dumps({"schemaVersion": 2, "mediaType": kind, "config": config, "layers": []})
    client.request("PUT", "/v2/app/manifests/latest", manifest, {"Content-Type": kind})
    response = client.getresponse()
    if response.status != 201:
        raise RuntimeError(response.read().decode())
    client.close()
    return b"GET /v2/app/manifests/latest HTTP/1.1\r\nHost: x\r\n\r\n"


def read(port: int, request: bytes, count: int, connections: int) -> float:
    """Send ``count`` requests on some connections and return the seconds that took."""
    selector = selectors.DefaultSelector()
    for _ in range(connections):
        connection = socket.create_connection(("127.0.0.1", port), timeout=60)
        connection.sendall(request)
        selector.register(connection, selectors.EVENT_READ)
    begun, left, done = time.perf_counter(), count - connections, 0
    while done < count:
        for key, _ in selector.select():
            sock = key.fileobj
            assert isinstance(sock, socket.socket)
            if not sock.recv(65536):
                raise ConnectionResetError("the server closed a connection")
            done += 1
            if left > 0:
                sock.sendall(request)
                left -= 1
    seconds = time.perf_counter() - begun
    for key in list(selector.get_map().values()):
        key.fileobj.close()  # type: ignore[union-attr]
    return seconds


def serving(process: int) -> list[int]:
    """Return the processes that serve: the children of a supervisor, or the process itself."""
    children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    return [int(each) for each in children] or [process]


def cpu(process: int) -> float:
    """Return the CPU seconds of a process."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def memory(process: int) -> float:
    """Return the MiB of a process, of which others share a part, divided among them (PSS)."""
    lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("Pss:")).split()[1]) / 1024


def measure(count: int, requests: int, *, pinned: bool) -> float:
    """Print the figures of ``count`` processes and return the CPU seconds per request."""
    with own_folder("processes") as folder:
        port = free_port()
        words = [str(HYTHE), "registry", "serve", "--listen", f"127.0.0.1:{port}", "--data", str(folder / "data")]
        with running(f"processes-{count}", [*words, "--processes", str(count)], port, folder) as server:
            request = push(port)
            processes = serving(server.process)
            for each in processes if pinned else ():
                for thread in Path(f"/proc/{each}/task").iterdir():
                    os.sched_setaffinity(int(thread.name), {LAST_CORE})
            read(port, request, requests // 4, CONNECTIONS * count)
            before = [cpu(each) for each in processes]
            seconds = read(port, request, requests, CONNECTIONS * count)
            used = [cpu(each) - earlier for each, earlier in zip(processes, before, strict=True)]
            shares = " ".join(f"{part / (sum(used) or 1):.0%}" for part in used)
            cost = sum(used) / requests
            print(
                f"{count} processes: {requests / seconds:,.0f} requests/s, {cost * 1e6:.1f} us of CPU each; "
                f"shares {shares}; {sum(map(memory, {*processes, server.process})):.0f} MiB"
            )
            return cost


def main() -> None:
    """Print the figures for each number of processes, and the growth that follows from them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--counts", type=int, nargs="+", default=[2, 4])
    parser.add_argument("--spread", action="store_true")
    arguments = parser.parse_args()
    if not arguments.spread:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    alone = measure(1, arguments.requests, pinned=not arguments.spread)
    for count in arguments.counts:
        if count > 1:
            growth = count * alone / measure(count, arguments.requests, pinned=not arguments.spread)
            print(f"  {count} cores would serve {growth:.2f} times as much as one ({growth / count:.2f} N)")


if __name__ == "__main__":
    main()
