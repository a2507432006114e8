"""A backup that is made while clients push and delete, and nothing delays garbage collection, restores every push that
was acknowledged before it began: byte for byte, on another engine and blob store.
"""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.contracts.distribution import MANIFEST, Client, digest_of, image_manifest
from tests.parts.hub import HytheServer
from tests.parts.s3 import S3Server
from tests.security.registry_client import PASSWORD, RegistryClient, basic

CLIENTS = 3
PUSHES_BEFORE = (6, 200)
EAGER = ("--grace-period", "0", "--garbage-interval", "1")


@dataclass(slots=True)
class Pusher:
    """A client that pushes images, and deletes every second one again."""

    name: str
    client: Client
    pushed: dict[str, bytes] = field(default_factory=dict)
    """What was acknowledged and stays: manifests and blobs by their paths."""
    images: int = 0

    def work(self, ended: threading.Event) -> None:
        """Push and delete until ``ended`` is set."""
        while not ended.is_set():
            kept = self.push(f"v{self.images}")
            deleted = self.push("deleted")
            digest = digest_of(deleted[f"/v2/{self.name}/manifests/deleted"])
            assert self.client("DELETE", f"/v2/{self.name}/manifests/{digest}").status == 202
            self.pushed |= kept
            self.images += 1

    def push(self, tag: str) -> dict[str, bytes]:
        """Push an image with two layers of its own; return its manifest and blobs by their paths."""
        config = json.dumps({"architecture": "amd64", "os": "linux", "salt": uuid.uuid4().hex}).encode()
        layers = [uuid.uuid4().bytes * size for size in (1, 20_000)]
        manifest = json.dumps(image_manifest(config, *layers)).encode()
        status = 404
        while status == 404:  # garbage collection without grace may take a blob before its manifest arrives
            for blob in (config, *layers):
                self.client.push_blob(self.name, blob)
            status = self.client("PUT", f"/v2/{self.name}/manifests/{tag}", manifest, Content_Type=MANIFEST).status
        assert status == 201
        blobs = {f"/v2/{self.name}/blobs/{digest_of(blob)}": blob for blob in (config, *layers)}
        return {f"/v2/{self.name}/manifests/{tag}": manifest, **blobs}


def clients(hub: HytheServer) -> list[Client]:
    """Signed-in clients of a hub, one for each repository."""
    scopes = [f"repository:ann/app{number}:pull,push,delete" for number in range(CLIENTS)]
    tokens = [RegistryClient(hub.url).access_token(basic("ann"), scope)["token"] for scope in scopes]
    return [Client(hub.port, {"Authorization": f"Bearer {token}"}) for token in tokens]


def back_up_under_load(hub: HytheServer, pushes: int, back_up: Callable[[], object]) -> list[dict[str, bytes]]:
    """Call ``back_up`` while clients push; return what each had pushed before."""
    hub.create_user("ann", PASSWORD)
    pushers = [Pusher(f"ann/app{number}", client) for number, client in enumerate(clients(hub))]
    ended = threading.Event()
    threads = [threading.Thread(target=pusher.work, args=(ended,)) for pusher in pushers]
    for thread in threads:
        thread.start()
    try:
        while min(pusher.images for pusher in pushers) < pushes:
            assert all(thread.is_alive() for thread in threads), "a push failed"
            ended.wait(0.05)
        before = [dict(pusher.pushed) for pusher in pushers]
        back_up()
    finally:
        ended.set()
        for thread in threads:
            thread.join()
    return before


def check_restored(hub: HytheServer, pushed: list[dict[str, bytes]]) -> None:
    """Pull everything from a restored hub, after its own garbage collection."""
    hub.admin("gc")
    assert "0 blobs" not in hub.admin("storage"), "nothing was restored"
    for client, contents in zip(clients(hub), pushed, strict=True):
        for path, content in contents.items():
            response = client("GET", path, Accept=MANIFEST)
            assert (response.status, response.body == content) == (200, True), path
    assert hub.admin("verify").startswith("checked ")


def test_from_sqlite_to_postgresql(
    start_hub: Callable[..., HytheServer],
    empty_postgresql_url: str,
    tmp_path: Path,
    rounds: Callable[[int, int], int],
) -> None:
    """A hub on SQLite and a disk; the backup is encrypted, and has the key that opens what the hub has sealed."""
    hub = start_hub(EAGER)
    vault, passphrase = tmp_path / "vault", tmp_path / "passphrase"
    passphrase.write_text("correct horse battery staple\n")
    sealed = ["--passphrase-file", str(passphrase)]
    pushed = back_up_under_load(hub, rounds(*PUSHES_BEFORE), lambda: hub.admin("backup", str(vault), *sealed))
    hub.stop()

    restored = HytheServer(("serve",), tmp_path / "restored", tmp_path, database_url=empty_postgresql_url)
    restored.admin("restore-backup", str(vault), *sealed)
    started = start_hub(data=restored.data, database_url=empty_postgresql_url)
    assert (started.data / "secret.key").read_bytes() == (hub.data / "secret.key").read_bytes()
    check_restored(started, pushed)


@pytest.mark.object_store
def test_from_postgresql_and_s3_to_sqlite(
    start_hub: Callable[..., HytheServer],
    postgresql_url: str,
    s3: S3Server,
    s3_bucket: str,
    tmp_path: Path,
    rounds: Callable[[int, int], int],
) -> None:
    """A hub on PostgreSQL and an object store, backed up there under another prefix; then its blobs move, too."""
    env = {**s3.env, "HYTHE_BLOB_STORE": f"s3://{s3_bucket}/blobs"}
    hub = start_hub(EAGER, database_url=postgresql_url, env=env)
    vault = f"s3://{s3_bucket}/vault"
    pushed = back_up_under_load(hub, rounds(*PUSHES_BEFORE), lambda: hub.admin("backup", vault, "--keep", "1"))
    hub.stop()

    second = f"s3://{s3_bucket}/second"
    hub.admin("copy-blobs", "--to", second)
    hub.admin("copy-blobs", "--to", second, "--finish")
    hub.env = {**env, "HYTHE_BLOB_STORE": second, "HYTHE_REDIRECT_BLOBS": "false"}
    hub.arguments = ()
    hub.start()
    check_restored(hub, pushed)

    restored = HytheServer(("serve",), tmp_path / "restored", tmp_path, env=s3.env)
    restored.data.mkdir()
    (restored.data / "secret.key").write_bytes((hub.data / "secret.key").read_bytes())
    restored.admin("restore-backup", vault)
    check_restored(start_hub(data=restored.data), pushed)
