"""kill -9 at any moment while clients push and pull: nothing acknowledged is lost, nothing is partial."""

from __future__ import annotations

import http.client
import json
import os
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.contracts.distribution import MANIFEST, Answer, Client, digest_of, image_manifest, with_digest
from tests.parts.hub import HytheServer

CLIENTS = 4
ROUNDS = (6, 500)
DISCONNECTED = (http.client.HTTPException, OSError)


@dataclass(slots=True)
class Worker:
    """A client that pushes and pulls images, and records what was acknowledged."""

    name: str
    server: HytheServer
    random: random.Random
    blobs: dict[str, bytes] = field(default_factory=dict)
    manifests: dict[str, bytes] = field(default_factory=dict)
    tag: str | None = None
    unacknowledged: set[str] = field(default_factory=set)
    """Manifests whose push got no response: the tag may point to one of them."""
    sessions: list[tuple[str, bytes]] = field(default_factory=list)
    """Started upload sessions with their intended content."""
    problems: list[str] = field(default_factory=list)

    def work(self, ended: threading.Event) -> None:
        """Push and pull images until ``ended`` is set, across server restarts."""
        while not ended.is_set():
            client = Client(self.server.port)
            try:
                while not ended.is_set():
                    self.push_image(client)
                    self.pull_something(client)
            except DISCONNECTED:
                time.sleep(0.02)
            finally:
                client.close()

    def push_image(self, client: Client) -> None:
        layers = [self.push_blob(client) for _ in range(self.random.randint(1, 3))]
        config = self.push_blob(client, b'{"architecture":"amd64","os":"linux","n":%d}' % self.random.getrandbits(60))
        manifest = image_manifest(self.blobs[config], *(self.blobs[digest] for digest in layers))
        content = json.dumps(manifest).encode()
        digest = digest_of(content)
        self.unacknowledged.add(digest)
        response = client("PUT", f"/v2/{self.name}/manifests/latest", content, content_type=MANIFEST)
        self.expect(response.status == 201, f"push of a manifest: {response.status} {response.body!r}")
        self.manifests[digest] = content
        self.tag, self.unacknowledged = digest, set()

    def push_blob(self, client: Client, content: bytes | None = None) -> str:
        content = content or os.urandom(self.random.choice((10, 4096, 300_000)))
        digest = digest_of(content)
        start = client("POST", f"/v2/{self.name}/blobs/uploads/")
        self.expect(start.status == 202, f"start of an upload: {start.status} {start.body!r}")
        place, rest = start.location, content
        if self.random.random() < 0.5:
            self.sessions.append((place, content))
            half = len(content) // 2
            place = client("PATCH", place, content[:half], content_range=f"0-{half - 1}").location
            rest = content[half:]
        response = client("PUT", with_digest(place, digest), rest)
        self.expect(response.status == 201, f"end of an upload: {response.status} {response.body!r}")
        self.blobs[digest] = content
        return digest

    def pull_something(self, client: Client) -> None:
        if self.tag is None:
            return
        manifest = client("GET", f"/v2/{self.name}/manifests/{self.tag}", accept=MANIFEST)
        self.expect(manifest.body == self.manifests[self.tag], f"manifest {self.tag}: {manifest.status}")
        digest = self.random.choice(list(self.blobs))
        blob = client("GET", f"/v2/{self.name}/blobs/{digest}")
        self.expect(blob.body == self.blobs[digest], f"blob {digest}: {blob.status}")

    def expect(self, condition: bool, problem: str) -> None:
        if not condition:
            self.problems.append(problem)

    def check(self, client: Client) -> None:
        """Check that everything acknowledged is intact, and the tag points to the last or an unacknowledged push."""
        for digest, content in self.blobs.items():
            response = client("GET", f"/v2/{self.name}/blobs/{digest}")
            self.expect((response.status, response.body) == (200, content), f"lost blob {digest}: {response.status}")
        for digest, content in self.manifests.items():
            response = client("GET", f"/v2/{self.name}/manifests/{digest}", accept=MANIFEST)
            self.expect(
                (response.status, response.body) == (200, content), f"lost manifest {digest}: {response.status}"
            )
        if self.tag is not None:
            target = client("GET", f"/v2/{self.name}/manifests/latest", accept=MANIFEST)
            self.expect(
                digest_of(target.body) in {self.tag, *self.unacknowledged}, f"the tag points at {target.body!r}"
            )

    def resume_uploads(self, client: Client) -> None:
        """Check that an interrupted session can be resumed where the server says, or does not exist."""
        for place, content in self.sessions[-20:]:
            response = client("GET", place)
            if response.status == 404:
                continue
            self.expect(response.status == 204, f"session: {response.status} {response.body!r}")
            # In the specification, 0-0 means either no byte or one byte.
            last = int(response.headers["Range"].partition("-")[2])
            end = self.finish(client, response.location, content, last + 1 if last else 0)
            if end.status == 416 and last == 0:
                end = self.finish(client, response.location, content, 1)
            self.expect(end.status == 201, f"resumed at {last + 1} of {len(content)}: {end.status} {end.body!r}")

    def finish(self, client: Client, place: str, content: bytes, there: int) -> Answer:
        rest = content[there:]
        headers = {"content_range": f"{there}-{len(content) - 1}"} if rest else {}
        return client("PUT", with_digest(place, digest_of(content)), rest, **headers)


def test_nothing_acknowledged_is_lost(
    start_private_registry: Callable[..., HytheServer],
    rounds: Callable[[int, int], int],
) -> None:
    """Four clients work while the server is killed; at the end, everything acknowledged is there, and no leftovers."""
    server = start_private_registry()
    workers = [Worker(f"team/app{number}", server, random.Random(number)) for number in range(CLIENTS)]
    ended = threading.Event()
    threads = [threading.Thread(target=worker.work, args=(ended,)) for worker in workers]
    for thread in threads:
        thread.start()

    for _ in range(rounds(*ROUNDS)):
        time.sleep(random.uniform(0.05, 0.8))
        server.kill()
        server.start()
    ended.set()
    for thread in threads:
        thread.join()

    client = Client(server.port)
    for worker in workers:
        worker.check(client)
        worker.resume_uploads(client)
    assert [problem for worker in workers for problem in worker.problems] == []
    assert sum(len(worker.manifests) for worker in workers) > 0
    client.close()
    server.stop()
    assert_no_leftovers(server)


def assert_no_leftovers(server: HytheServer) -> None:
    """Once uploads have expired and garbage collection has run, only blobs are on the disk."""
    server.env = {"HYTHE_UPLOAD_LIFETIME": "1", "HYTHE_GARBAGE_INTERVAL": "1", "HYTHE_GRACE_PERIOD": "86400"}
    server.start()
    deadline = time.monotonic() + 60
    while left := leftovers(server.data):
        assert time.monotonic() < deadline, f"leftover files: {left}"
        time.sleep(0.5)


def leftovers(data: Path) -> list[Path]:
    """Files in the data folder other than blobs, their installation's marker and the database."""
    known = {"hythe.db", "hythe.db-wal", "hythe.db-shm", "installation", "serve.lock"}
    files = (path for path in data.rglob("*") if path.is_file() and path.name not in known)
    return [path for path in files if not (path.parent.parent.name in ("sha256", "sha512") and len(path.name) >= 64)]
