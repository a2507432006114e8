"""Compare the registry with Debian's docker-registry, interleaved in one run, and with the limits of the machine.

    python -m bench.registry [--rounds 5] [--mib 1024] [--tags 100000]
    python -m bench.registry --database postgresql [--rounds 5]    # or sqlite: only request rates of the hub

Prints medians, CPU seconds of the server, and the ratio of docker-registry to hythe (above 1: hythe needs less).
Manifests are read from the hub with a token, as docker does; docker-registry requires no token, which favours it.
"""

from __future__ import annotations

import argparse
import hashlib
import http.client
import json
import os
import re
import socket
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias
from urllib.parse import urlsplit

from tests.parts.base_images import many_layers
from tests.parts.engines import ContainersTool, containers_environment
from tests.parts.process import program

from bench.hub_rates import Target, measure_rates, random_blob
from bench.pushes import push_small_blobs, response_head
from bench.servers import Server, bare_application, docker_registry, hythe_hub, hythe_registry, request

MIB = 1024 * 1024
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
SMALL_PUSHES = 1000
CONNECTIONS = 32
SECONDS = 3
"""Duration of one measurement of a request rate."""


@dataclass
class Figures:
    """Results of one server, one value for each round: seconds (or requests per second) and CPU seconds."""

    values: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    @contextmanager
    def timing(self, server: Server) -> Iterator[None]:
        """Time the block."""
        cpu, begun = server.cpu(), time.perf_counter()
        yield
        self.values.append(time.perf_counter() - begun)
        self.cpu.append(server.cpu() - cpu)

    @property
    def median(self) -> float:
        """The median of the values."""
        return statistics.median(self.values)

    def seconds(self) -> str:
        """Format the medians of a duration."""
        return f"{self.median:7.3f} s  {statistics.median(self.cpu):6.2f} CPU"

    def rate(self) -> str:
        """Format the medians of a request rate."""
        return f"{self.median:9,.0f} /s {statistics.median(self.cpu) * 1e6:6.0f} us CPU each"


def compare(what: str, servers: list[Server], rounds: int, work: Callable[[Server], None]) -> dict[str, Figures]:
    """Run ``work`` on each server in turn, ``rounds`` times; print the medians and the ratio."""
    figures = {server.name: Figures() for server in servers}
    for _ in range(rounds):
        for server in servers:
            with figures[server.name].timing(server):
                work(server)
    ours, theirs = figures["hythe"], figures["docker-registry"]
    ratio = theirs.median / ours.median
    print(f"{what:<42} hythe {ours.seconds()}   docker-registry {theirs.seconds()}   ratio {ratio:.2f}", flush=True)
    return figures


Rate: TypeAlias = Callable[[str, list[str]], float]


def compare_rates(what: str, targets: dict[str, tuple[Server, str, list[str]]], rounds: int, measured: Rate) -> None:
    """Measure the request rate of each target in turn, ``rounds`` times; print the medians and ratios."""
    figures = {name: Figures() for name in targets}
    for _ in range(rounds):
        for name, (server, url, headers) in targets.items():
            cpu = server.cpu()
            rate = measured(url, headers)
            figures[name].values.append(rate)
            figures[name].cpu.append((server.cpu() - cpu) / (rate * SECONDS))
    ours = figures["hythe"].median
    others = "   ".join(
        f"{name} {found.rate()} (ratio {ours / found.median:.2f})" for name, found in figures.items() if name != "hythe"
    )
    print(f"{what:<42} hythe {figures['hythe'].rate()}   {others}", flush=True)


def rate_of_gets(url: str, headers: list[str]) -> float:
    """Return GET requests per second over 32 connections, measured by wrk."""
    words = [program("wrk", "wrk"), "-t", "1", "-c", str(CONNECTIONS), "-d", f"{SECONDS}s"]
    for header in headers:
        words += ["-H", header]
    said = subprocess.run([*words, url], check=True, capture_output=True, text=True).stdout
    found = re.search(r"Requests/sec:\s+([\d.]+)", said)
    if found is None or "Non-2xx" in said:
        raise RuntimeError(said)
    return float(found[1])


def rate_of_heads(url: str, headers: list[str]) -> float:
    """Return HEAD requests per second over 32 connections.

    wrk waits for a body, so a small Python client sends them; its own speed limits the figure.
    """
    address = urlsplit(url)
    lines = [f"HEAD {address.path} HTTP/1.1", f"Host: {address.netloc}", *headers]
    content = "".join(f"{line}\r\n" for line in lines).encode() + b"\r\n"
    with ExitStack() as stack:
        target = (address.hostname or "", address.port or 0)
        connections = [stack.enter_context(socket.create_connection(target)) for _ in range(CONNECTIONS)]
        count, end = 0, time.perf_counter() + SECONDS
        while time.perf_counter() < end:
            for connection in connections:
                connection.sendall(content)
            for connection in connections:
                if not response_head(connection).startswith("HTTP/1.1 200 "):
                    raise RuntimeError(url)
            count += CONNECTIONS
    return count / SECONDS


def curl(*words: str) -> None:
    """Run curl. Raises CalledProcessError if it fails."""
    subprocess.run(["curl", "-sSf", "-o", "/dev/null", *words], check=True)


def push_blob(server: Server, repository: str, content: bytes, headers: dict[str, str] | None = None) -> str:
    """Push a blob and return its digest."""
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    place = start_upload(server, repository, headers)
    request("PUT", with_digest(place, digest), content, {"Content-Type": "application/octet-stream", **(headers or {})})
    return digest


def start_upload(server: Server, repository: str, headers: dict[str, str] | None = None) -> str:
    """Open an upload session and return its URL."""
    place = request("POST", f"{server.url}/v2/{repository}/blobs/uploads/", b"", headers)
    return place if place.startswith("http") else server.url + place


def with_digest(place: str, digest: str) -> str:
    """Return the URL that completes an upload."""
    return f"{place}{'&' if '?' in place else '?'}digest={digest}"


def manifest_of(server: Server, repository: str, size: int, headers: dict[str, str] | None = None) -> bytes:
    """Push a small image whose manifest has about ``size`` bytes; return the manifest."""
    config, layer = b"{}", b"layer"
    blobs = [push_blob(server, repository, content, headers) for content in (config, layer)]
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": blobs[0], "size": len(config)},
        "layers": [{"mediaType": "application/octet-stream", "digest": blobs[1], "size": len(layer)}],
        "annotations": {"padding": "x" * size},
    }
    content = json.dumps(manifest).encode()
    request(
        "PUT", f"{server.url}/v2/{repository}/manifests/latest", content, {"Content-Type": MANIFEST, **(headers or {})}
    )
    return content


def measure_pulls(servers: list[Server], bare: Server, digest: str, flags: argparse.Namespace) -> None:
    """Measure pulls of a large blob by one client and by four."""

    def one(server: Server) -> None:
        curl(f"{server.url}/v2/big/blobs/{digest}")

    def four(server: Server) -> None:
        threads = [threading.Thread(target=one, args=(server,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    compare(f"pull of {flags.mib} MiB, 1 client", servers, flags.rounds, one)
    compare(f"pull of {flags.mib} MiB, 4 clients", servers, flags.rounds, four)
    limit = Figures()
    for _ in range(flags.rounds):
        with limit.timing(bare):
            curl(f"{bare.url}/blob")
    print(f"    limit: a bare application that sends the file, 1 client: {limit.seconds()}")


def measure_pushes(servers: list[Server], blob: Path, digest: str, flags: argparse.Namespace) -> None:
    """Measure pushes of a large blob, with one PUT and with PATCH and PUT, each to a new repository."""
    number = iter(range(1_000_000))

    def monolithic(server: Server) -> None:
        content = f"push/mono{next(number)}"
        curl("-X", "PUT", "-T", str(blob), with_digest(start_upload(server, content), digest))

    def by_patch(server: Server) -> None:
        content = f"push/patch{next(number)}"
        place = start_upload(server, content)
        headers = subprocess.run(
            ["curl", "-sSf", "-o", "/dev/null", "-D", "-", "-X", "PATCH", "-T", str(blob), place],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        found = re.search(r"(?im)^location: (\S+)", headers)
        if found is None:
            raise RuntimeError(headers)
        place = found[1] if found[1].startswith("http") else server.url + found[1]
        curl("-X", "PUT", "-H", "Content-Length: 0", with_digest(place, digest))

    compare(f"push of {flags.mib} MiB, one PUT", servers, flags.rounds, monolithic)
    compare(f"push of {flags.mib} MiB, PATCH and PUT", servers, flags.rounds, by_patch)
    begun = time.perf_counter()
    with blob.open("rb") as file:
        hashlib.file_digest(file, "sha256")
    print(f"    limit: SHA-256 of the file: {time.perf_counter() - begun:.3f} s")


def measure_small_pushes(servers: list[Server], rounds: int) -> None:
    """Measure pushes of 4 KiB blobs by 8 clients on plain sockets, which leave the cores to the server."""

    def push_many(server: Server) -> None:
        def work() -> None:
            pushing = push_small_blobs(server.port, "small")
            for _ in range(SMALL_PUSHES // 8):
                next(pushing)
            pushing.close()

        failures: list[BaseException] = []
        threads = [threading.Thread(target=_record_failure, args=(failures, work)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]

    compare(f"{SMALL_PUSHES} pushes of 4 KiB, 8 clients", servers, rounds, push_many)


def _record_failure(failures: list[BaseException], work: Callable[[], None]) -> None:
    try:
        work()
    except BaseException as error:
        failures.append(error)


def measure_manifests(hythe: Server, theirs: Server, folder: Path, rounds: int) -> None:
    """Measure GET and HEAD of a 10 kB manifest over 32 connections."""
    headers = hub_token(hythe)
    (folder / "manifest").write_bytes(manifest_of(hythe, "bench/app", 10_000, headers))
    manifest_of(theirs, "bench/app", 10_000)
    path = "/v2/bench/app/manifests/latest"
    token = [f"Authorization: {headers['Authorization']}", f"Accept: {MANIFEST}"]
    with bare_application(folder) as bare:
        targets = {
            "hythe": (hythe, hythe.url + path, token),
            "docker-registry": (theirs, theirs.url + path, [f"Accept: {MANIFEST}"]),
            "bare": (bare, f"{bare.url}/manifest", token),
        }
        compare_rates("GET of a 10 kB manifest, 32 connections", targets, rounds, rate_of_gets)
        compare_rates("HEAD of it", targets, rounds, rate_of_heads)


def hub_token(hub: Server) -> dict[str, str]:
    """Sign up and return the header with a token that may push to and pull from ``bench/app``."""
    user = json.dumps({"username": "bench", "email": "bench@example.org", "password": "a-long-password"}).encode()
    request("POST", f"{hub.url}/api/v1/users", user, {"Content-Type": "application/json"})
    scope = f"service=127.0.0.1:{hub.port}&scope=repository:bench/app:pull,push"
    basic = {"Authorization": "Basic YmVuY2g6YS1sb25nLXBhc3N3b3Jk"}
    reply = json.loads(request("GET", f"{hub.url}/token?{scope}", None, basic))
    return {"Authorization": f"Bearer {reply['token']}"}


def push_image(target: Target) -> str:
    """Push an image with a manifest of 10 kB, and a blob, whose digest is returned."""
    manifest_of(target.server, "bench/app", 10_000, target.token)
    return push_blob(target.server, "bench/app", random_blob(), target.token)


def measure_layers(servers: list[Server], folder: Path, rounds: int) -> None:
    """Measure skopeo pushing and pulling an image of 40 layers."""
    layout = many_layers(folder / "layers", 40)
    home = folder / "skopeo"
    skopeo = ContainersTool([program("skopeo", "skopeo")], containers_environment(home, "vfs", "runc"), home)
    number = iter(range(1_000_000))

    def push(server: Server) -> None:
        target = f"docker://127.0.0.1:{server.port}/layers/app{next(number)}"
        skopeo.ok("copy", "--dest-tls-verify=false", f"oci:{layout.folder}:latest", target)

    def pull(server: Server) -> None:
        source = f"docker://127.0.0.1:{server.port}/layers/fixed"
        skopeo.ok("copy", "--src-tls-verify=false", source, f"dir:{folder}/pulled{next(number)}")

    compare("push of 40 layers by skopeo", servers, rounds, push)
    for server in servers:
        target = f"docker://127.0.0.1:{server.port}/layers/fixed"
        skopeo.ok("copy", "--dest-tls-verify=false", f"oci:{layout.folder}:latest", target)
    compare("pull of 40 layers by skopeo", servers, rounds, pull)


def measure_tags(hythe: Server, count: int) -> None:
    """Measure pages at the beginning, in the middle and at the end of a long tag list."""
    manifest = manifest_of(hythe, "many/tags", 10)
    digest = f"sha256:{hashlib.sha256(manifest).hexdigest()}"
    connection = http.client.HTTPConnection("127.0.0.1", hythe.port)
    for start in range(0, count, 50):
        tags = "&".join(f"tag=t{number:06}" for number in range(start, start + 50))
        connection.request("PUT", f"/v2/many/tags/manifests/{digest}?{tags}", manifest, {"Content-Type": MANIFEST})
        response = connection.getresponse()
        response.read()
        if response.status != 201:
            raise RuntimeError(f"{response.status}")
    for what, last in (
        ("the first", ""),
        ("one in the middle", f"t{count // 2:06}"),
        ("the last", f"t{count - 1001:06}"),
    ):
        times = []
        for _ in range(50):
            begun = time.perf_counter()
            connection.request("GET", f"/v2/many/tags/tags/list?n=1000&last={last}")
            names = json.loads(connection.getresponse().read())["tags"]
            times.append(time.perf_counter() - begun)
        print(
            f"1,000 of {count:,} tags, {what} page: {statistics.median(times) * 1000:.2f} ms ({len(names)} tags)",
            flush=True,
        )


def measure(folder: Path, flags: argparse.Namespace) -> None:
    """Run all measurements."""
    blob = folder / "blob"
    with blob.open("wb") as file:
        for _ in range(flags.mib):
            file.write(os.urandom(MIB))
    with blob.open("rb") as file:
        digest = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
    with ExitStack() as stack:
        hythe, theirs = (stack.enter_context(start(folder)) for start in (hythe_registry, docker_registry))
        servers = [hythe, theirs]
        for server in servers:
            print(f"{server.name}: first response after {server.started_in:.2f} s, {server.memory():.0f} MiB idle")
        measure_pushes(servers, blob, digest, flags)
        for server in servers:
            curl("-X", "PUT", "-T", str(blob), with_digest(start_upload(server, "big"), digest))
        with bare_application(folder) as bare:
            measure_pulls(servers, bare, digest, flags)
        measure_small_pushes(servers, flags.rounds)
        measure_layers(servers, folder, flags.rounds)
        measure_tags(hythe, flags.tags)
        hub = stack.enter_context(hythe_hub(folder))
        hub.name = "hythe"
        measure_manifests(hub, theirs, folder, flags.rounds)
        for server in servers:
            print(f"{server.name}: {server.memory():.0f} MiB at the end, {server.memory('VmHWM'):.0f} MiB at the peak")


def main() -> None:
    """Read the flags and measure."""
    parser = argparse.ArgumentParser(description="Compare the registry with Debian's docker-registry.")
    parser.add_argument("--folder", type=Path, default=Path.cwd(), help="folder on the disk to measure")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--mib", type=int, default=1024, help="size of the large blob")
    parser.add_argument("--tags", type=int, default=100_000)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), help="measure only the hub's request rates")
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=flags.folder, prefix="bench-registry-") as folder:
        if flags.database:
            measure_rates(Path(folder), flags.database, flags.rounds, push_image)
        else:
            measure(Path(folder), flags)


if __name__ == "__main__":
    main()
