"""kill -9 at any moment while clients push and pull: nothing acknowledged is lost, nothing is half there."""

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
GONE = (http.client.HTTPException, OSError)


@dataclass(slots=True)
class Sharer:
    """A client that pushes images and pulls what it pushed, and remembers what was acknowledged."""

    name: str
    server: HytheServer
    random: random.Random
    blobs: dict[str, bytes] = field(default_factory=dict)
    manifests: dict[str, bytes] = field(default_factory=dict)
    tag: str | None = None
    hoped: set[str] = field(default_factory=set)
    """What the tag may point at besides: pushes whose answer never came."""
    sessions: list[tuple[str, bytes]] = field(default_factory=list)
    """Upload sessions that were begun, with the content that they are to have."""
    wrong: list[str] = field(default_factory=list)

    def work(self, ended: threading.Event) -> None:
        """Share images until told to stop, through every death of the server."""
        while not ended.is_set():
            client = Client(self.server.port)
            try:
                while not ended.is_set():
                    self.push_image(client)
                    self.pull_something(client)
            except GONE:
                time.sleep(0.02)
            finally:
                client.close()

    def push_image(self, client: Client) -> None:
        layers = [self.push_blob(client) for _ in range(self.random.randint(1, 3))]
        config = self.push_blob(client, b'{"architecture":"amd64","os":"linux","n":%d}' % self.random.getrandbits(60))
        manifest = image_manifest(self.blobs[config], *(self.blobs[digest] for digest in layers))
        content = json.dumps(manifest).encode()
        digest = digest_of(content)
        self.hoped.add(digest)
        answer = client("PUT", f"/v2/{self.name}/manifests/latest", content, content_type=MANIFEST)
        self.expect(answer.status == 201, f"push of a manifest: {answer.status} {answer.body!r}")
        self.manifests[digest] = content
        self.tag, self.hoped = digest, set()

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
        answer = client("PUT", with_digest(place, digest), rest)
        self.expect(answer.status == 201, f"end of an upload: {answer.status} {answer.body!r}")
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

    def expect(self, true: bool, problem: str) -> None:
        if not true:
            self.wrong.append(problem)

    def check(self, client: Client) -> None:
        """What was acknowledged is whole, and the tag points at the last push or at one that was under way."""
        for digest, content in self.blobs.items():
            answer = client("GET", f"/v2/{self.name}/blobs/{digest}")
            self.expect((answer.status, answer.body) == (200, content), f"lost blob {digest}: {answer.status}")
        for digest, content in self.manifests.items():
            answer = client("GET", f"/v2/{self.name}/manifests/{digest}", accept=MANIFEST)
            self.expect((answer.status, answer.body) == (200, content), f"lost manifest {digest}: {answer.status}")
        if self.tag is not None:
            target = client("GET", f"/v2/{self.name}/manifests/latest", accept=MANIFEST)
            self.expect(digest_of(target.body) in {self.tag, *self.hoped}, f"the tag points at {target.body!r}")

    def resume_uploads(self, client: Client) -> None:
        """A session that was cut goes on from where the server says, or is gone; never in between."""
        for place, content in self.sessions[-20:]:
            answer = client("GET", place)
            if answer.status == 404:
                continue
            self.expect(answer.status == 204, f"session: {answer.status} {answer.body!r}")
            # The specification has no word for "no byte yet": 0-0 is that, or one byte.
            last = int(answer.headers["Range"].partition("-")[2])
            end = self.finish(client, answer.location, content, last + 1 if last else 0)
            if end.status == 416 and last == 0:
                end = self.finish(client, answer.location, content, 1)
            self.expect(end.status == 201, f"resumed at {last + 1} of {len(content)}: {end.status} {end.body!r}")

    def finish(self, client: Client, place: str, content: bytes, there: int) -> Answer:
        rest = content[there:]
        headers = {"content_range": f"{there}-{len(content) - 1}"} if rest else {}
        return client("PUT", with_digest(place, digest_of(content)), rest, **headers)


def test_nothing_acknowledged_is_lost(
    start_private_registry: Callable[..., HytheServer],
    rounds: Callable[[int, int], int],
) -> None:
    """Four clients share while the server is killed; every acknowledged byte is there at the end, and no litter."""
    server = start_private_registry()
    sharers = [Sharer(f"team/app{number}", server, random.Random(number)) for number in range(CLIENTS)]
    ended = threading.Event()
    threads = [threading.Thread(target=sharer.work, args=(ended,)) for sharer in sharers]
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
    for sharer in sharers:
        sharer.check(client)
        sharer.resume_uploads(client)
    assert [problem for sharer in sharers for problem in sharer.wrong] == []
    assert sum(len(sharer.manifests) for sharer in sharers) > 0
    client.close()
    server.stop()
    assert_no_litter(server)


def assert_no_litter(server: HytheServer) -> None:
    """After uploads have expired and the sweep has run, only blobs are on the disk."""
    server.env = {"HYTHE_UPLOAD_LIFETIME": "1", "HYTHE_GARBAGE_INTERVAL": "1", "HYTHE_GRACE_PERIOD": "86400"}
    server.start()
    give_up = time.monotonic() + 60
    while left := litter(server.data):
        assert time.monotonic() < give_up, f"still there: {left}"
        time.sleep(0.5)


def litter(data: Path) -> list[Path]:
    """Files in the data folder that are no blobs under their own name."""
    known = {"hythe.db", "hythe.db-wal", "hythe.db-shm"}
    files = (path for path in data.rglob("*") if path.is_file() and path.name not in known)
    return [path for path in files if not (path.parent.parent.name in ("sha256", "sha512") and len(path.name) >= 64)]
