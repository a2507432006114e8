"""Compare the registry on an object store with Debian's docker-registry on the same one, interleaved in one run.

    python -m bench.object_store [--rounds 5] [--mib 256]

The store is Ceph's radosgw, in memory. Hythe redirects pulls to it with presigned URLs, as docker-registry does.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.parts.s3 import ACCESS_KEY, REGION, SECRET_KEY, S3Server, create_bucket, running_s3

from bench.registry import (
    MIB,
    compare,
    curl,
    measure_layers,
    measure_pushes,
    measure_small_pushes,
    push_blob,
    start_upload,
    with_digest,
)
from bench.servers import Server, docker_registry, hythe_registry

SMALL_PULLS = 500


@contextmanager
def hythe_on(s3: S3Server, folder: Path) -> Iterator[Server]:
    """Run Hythe's private registry on a new bucket."""
    create_bucket(s3, "hythe")
    os.environ.update(s3.env, HYTHE_BLOB_STORE="s3://hythe")
    with hythe_registry(folder) as server:
        yield server


@contextmanager
def docker_registry_on(s3: S3Server, folder: Path) -> Iterator[Server]:
    """Run docker-registry on a new bucket."""
    create_bucket(s3, "docker-registry")
    os.environ.pop("AWS_CA_BUNDLE", None)  # docker-registry ends at once if it is set
    storage = {
        "regionendpoint": s3.endpoint,
        "region": REGION,
        "bucket": "docker-registry",
        "accesskey": ACCESS_KEY,
        "secretkey": SECRET_KEY,
        "secure": False,
        "v4auth": True,
    }
    with docker_registry(folder, {"s3": storage}) as server:
        yield server


def measure_small_pulls(servers: list[Server], rounds: int) -> None:
    """Measure pulls of one blob of 20 kB by 8 clients, which follow the redirects."""
    digests = {server.name: push_blob(server, "pulled/small", os.urandom(20_000)) for server in servers}

    def pull_many(server: Server) -> None:
        url = f"{server.url}/v2/pulled/small/blobs/{digests[server.name]}"

        def pull() -> None:
            curl("-L", *[url] * (SMALL_PULLS // 8), *["-o", os.devnull] * (SMALL_PULLS // 8 - 1))

        threads = [threading.Thread(target=pull) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    compare(f"{SMALL_PULLS} pulls of 20 kB, 8 clients", servers, rounds, pull_many)


def measure_large_pulls(servers: list[Server], digest: str, flags: argparse.Namespace) -> None:
    """Measure pulls of a large blob, which follow the redirects."""

    def pull(server: Server) -> None:
        curl("-L", f"{server.url}/v2/big/blobs/{digest}")

    compare(f"pull of {flags.mib} MiB, redirected", servers, flags.rounds, pull)


def measure(folder: Path, flags: argparse.Namespace) -> None:
    """Run all measurements."""
    blob = folder / "blob"
    with blob.open("wb") as file:
        for _ in range(flags.mib):
            file.write(os.urandom(MIB))
    with blob.open("rb") as file:
        digest = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
    with ExitStack() as stack:
        s3 = stack.enter_context(running_s3())
        servers = [stack.enter_context(start(s3, folder)) for start in (hythe_on, docker_registry_on)]
        measure_pushes(servers, blob, digest, flags)
        for server in servers:
            curl("-X", "PUT", "-T", str(blob), with_digest(start_upload(server, "big"), digest))
        measure_large_pulls(servers, digest, flags)
        measure_small_pushes(servers, flags.rounds)
        measure_small_pulls(servers, flags.rounds)
        measure_layers(servers, folder, flags.rounds)
        for server in servers:
            print(f"{server.name}: {server.memory('VmHWM'):.0f} MiB at the peak")


def main() -> None:
    """Read the flags and measure."""
    parser = argparse.ArgumentParser(description="Compare registries on an object store.")
    parser.add_argument("--folder", type=Path, default=Path.cwd(), help="folder for temporary files")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--mib", type=int, default=256, help="size of the large blob; the store keeps all in memory")
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=flags.folder, prefix="bench-object-store-") as folder:
        measure(Path(folder), flags)


if __name__ == "__main__":
    main()
