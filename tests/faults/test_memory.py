"""Large layers and slow clients use little memory, and slow clients do not block others."""

from __future__ import annotations

import base64
import hashlib
import http.client
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.contracts.distribution import Client, with_digest
from tests.parts.hub import HytheServer

MIB = 1024 * 1024
MOST_ADDED = 32
"""MiB that a transfer may add to the server's memory, for any layer size."""

LAYER_MIB = (256, 4096)
SLOW_CLIENTS = 200
BLOCK = os.urandom(MIB)
PASSWORD = "correct horse battery"


def layer(mib: int) -> Iterator[bytes]:
    """The bytes of a layer whose blocks are all different."""
    return (number.to_bytes(8, "big") + BLOCK[8:] for number in range(mib))


def digest_of_layer(mib: int) -> str:
    """The digest of this layer."""
    hasher = hashlib.sha256()
    for block in layer(mib):
        hasher.update(block)
    return f"sha256:{hasher.hexdigest()}"


def memory(server: HytheServer, field: str) -> float:
    """MiB used by the server process: ``VmRSS`` now, ``VmHWM`` at the peak."""
    lines = Path(f"/proc/{server.pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(f"{field}:")).split()[1]) / 1024


def forget_peak(server: HytheServer) -> float:
    """Reset the peak; return the memory used now."""
    Path(f"/proc/{server.pid}/clear_refs").write_text("5")
    return memory(server, "VmRSS")


@pytest.fixture
def warm(private_registry: HytheServer) -> HytheServer:
    """A registry that has already handled a push and a pull, so that its code is loaded."""
    client = Client(private_registry.port)
    digest = push(private_registry, 8, "PUT")
    assert client("GET", f"/v2/large/blobs/{digest}").status == 200
    client.close()
    return private_registry


def push(server: HytheServer, mib: int, method: str) -> str:
    """Push a layer in one request, or as one chunk of a session; returns its digest."""
    client = Client(server.port)
    digest = digest_of_layer(mib)
    place = client.start_upload("large")
    if method == "PUT":
        answer = client("PUT", with_digest(place, digest), layer(mib), content_length=str(mib * MIB))
    else:
        chunk = client("PATCH", place, layer(mib), content_length=str(mib * MIB))
        assert chunk.status == 202
        answer = client("PUT", with_digest(chunk.location, digest), b"")
    client.close()
    assert answer.status == 201, answer
    return digest


def pulled_digest(server: HytheServer, digest: str) -> str:
    """Pull a blob block by block; return the digest of the received bytes."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    connection.request("GET", f"/v2/large/blobs/{digest}")
    answer = connection.getresponse()
    hasher = hashlib.sha256()
    while block := answer.read(MIB):
        hasher.update(block)
    connection.close()
    return f"sha256:{hasher.hexdigest()}"


def slow_client(server: HytheServer, request: bytes) -> socket.socket:
    """A client that has sent a request and reads almost nothing of the response."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.settimeout(60)
    client.connect(("127.0.0.1", server.port))
    client.sendall(request)
    return client


def slow_pulls(server: HytheServer, digest: str, count: int) -> list[socket.socket]:
    """Clients that each read 1 KiB of the blob and then stop."""
    request = f"GET /v2/large/blobs/{digest} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    clients = [slow_client(server, request) for _ in range(count)]
    for client in clients:
        assert client.recv(1024).startswith(b"HTTP/1.1 200")
    return clients


def slow_pushes(server: HytheServer, count: int) -> list[socket.socket]:
    """Clients that each announced 1 MiB, sent 1 KiB of it and then stop."""
    client = Client(server.port)
    places = [client.start_upload("large") for _ in range(count)]
    client.close()
    head = "PATCH {} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1048576\r\n\r\n"
    return [slow_client(server, head.format(place).encode() + BLOCK[:1024]) for place in places]


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_a_large_layer_up_and_down(warm: HytheServer, rounds: Callable[[int, int], int], method: str) -> None:
    """Layers are streamed in both directions and never held in memory."""
    mib = rounds(*LAYER_MIB)
    before = forget_peak(warm)

    digest = push(warm, mib, method)
    assert pulled_digest(warm, digest) == digest

    assert memory(warm, "VmHWM") - before < MOST_ADDED


def test_replication_of_a_large_layer(warm: HytheServer, start_hub: Callable[..., HytheServer]) -> None:
    """A rule copies a layer in parts, which neither the hub nor the registry that gets them keeps in memory."""
    hub = start_hub()
    assert hub.program is not None
    hub.create_user("ann", PASSWORD, admin=True)
    authorization = base64.b64encode(f"ann:{PASSWORD}".encode()).decode()
    client = Client(hub.port, {"Authorization": f"Basic {authorization}"})
    repository = "ann/large"
    client.push_image(repository, "small")
    target = Client(warm.port)
    rule = ("copy", "push", warm.url, "--repository", repository)
    hub.admin("replicate", "add", *rule)
    hub.program.wait_until(lambda: target("HEAD", f"/v2/{repository}/manifests/small").status == 200)
    digest = digest_of_layer(LAYER_MIB[0])
    place = client.start_upload(repository)
    size = LAYER_MIB[0] * MIB
    assert client("PUT", with_digest(place, digest), layer(LAYER_MIB[0]), content_length=str(size)).status == 201
    manifest = client.image(repository)
    manifest["layers"] = [{**manifest["layers"][0], "digest": digest, "size": size}]
    before = forget_peak(hub), forget_peak(warm)

    client.push_manifest(repository, "large", manifest)
    hub.program.wait_until(lambda: target("HEAD", f"/v2/{repository}/manifests/large").status == 200)

    assert memory(hub, "VmHWM") - before[0] < MOST_ADDED
    assert memory(warm, "VmHWM") - before[1] < MOST_ADDED


def test_idle_clients_use_little_memory(warm: HytheServer) -> None:
    """Blobs that clients do not read are not buffered in memory."""
    digest = push(warm, 64, "PUT")
    before = forget_peak(warm)

    clients = slow_pulls(warm, digest, 50)
    assert pulled_digest(warm, digest) == digest

    assert memory(warm, "VmHWM") - before < MOST_ADDED
    for client in clients:
        client.close()


def test_slow_clients_do_not_block_others(warm: HytheServer) -> None:
    """Two hundred slow pulls and two hundred slow pushes delay neither a pull nor a push."""
    digest = push(warm, 16, "PUT")
    clients = slow_pulls(warm, digest, SLOW_CLIENTS) + slow_pushes(warm, SLOW_CLIENTS)

    assert pulled_digest(warm, digest) == digest
    assert push(warm, 17, "PATCH") == digest_of_layer(17)
    for client in clients:
        client.close()


def test_a_slow_pull_is_complete(warm: HytheServer) -> None:
    """A client that reads slowly at first gets all bytes."""
    digest = push(warm, 16, "PUT")
    request = f"GET /v2/large/blobs/{digest} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    client = slow_client(warm, request.encode())
    begin = client.recv(1024)

    assert pulled_digest(warm, digest) == digest
    _, _, body = (begin + b"".join(iter(lambda: client.recv(MIB), b""))).partition(b"\r\n\r\n")

    assert f"sha256:{hashlib.sha256(body).hexdigest()}" == digest
    client.close()
