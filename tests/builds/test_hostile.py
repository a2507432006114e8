"""Hostile builds: each fails with a reason, and the hub keeps running."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.builds.services import Services

pytestmark = pytest.mark.clients

TINY = "FROM scratch\nADD rootfs.tar /\n"
SMALL = {
    "HYTHE_BUILDS_DISK": str(120 << 20),
    "HYTHE_BUILDS_FILES": "3000",
    "HYTHE_BUILDS_MEMORY": str(200 << 20),
    "HYTHE_BUILDS_PROCESSES": "150",
    "HYTHE_BUILDS_TIMEOUT": "15",
    "HYTHE_BUILDS_WORKERS": "2",
}
BOMB = "RUN i=0; while [ $i -lt 400 ]; do sleep 30 & i=$((i+1)); done; wait\n"


@pytest.fixture(scope="module")
def services(start_services: Callable[..., Services]) -> Services:
    """A hub with very low limits for builds, which runs an endless build in parallel to the other tests."""
    services = start_services(env=SMALL)
    services.trigger(
        services.configure("endless", services.source("endless", {"Dockerfile": f"{TINY}RUN sleep 3600\n"}))
    )
    return services


@pytest.mark.parametrize(
    ("name", "steps", "said"),
    [
        ("fork-bomb", BOMB, "150 processes"),
        ("full-disk", "RUN while true; do cat /bin/busybox; done > /huge\n", "disk of 120 MiB"),
        ("hungry", "RUN tail /dev/zero\n", "200 MiB of memory"),
        ("many-files", "RUN i=0; while [ $i -lt 9000 ]; do : > /tmp/$i; i=$((i+1)); done\n", "3000 files"),
    ],
)
def test_limits_are_enforced(services: Services, name: str, steps: str, said: str) -> None:
    """Exceeding a limit ends the build with a reason that names the limit; the hub keeps responding."""
    path = services.configure(name, services.source(name, {"Dockerfile": TINY + steps}))
    [number] = services.trigger(path)

    build = services.wait(path, number, seconds=60)

    assert build["status"] == "failed", build["log"][-2000:]
    assert said in build["reason"]
    assert services.call("GET", f"{path}/builds")["items"][0]["number"] == number


def test_a_source_with_too_many_files(services: Services) -> None:
    """A source with more files than the limit is not checked out."""
    source = services.source("crowded", {f"files/{number}": "x" for number in range(4000)})
    path = services.configure("crowded", source)

    build = services.wait(path, services.trigger(path)[0])

    assert build["status"] == "failed"
    assert "3000 files" in build["reason"]


def test_a_dockerfile_that_links_out_of_the_source(services: Services) -> None:
    """A link to a file of the host is not followed, and the log contains nothing of that file."""
    source = services.source("linked")
    (source.work / "Dockerfile").unlink()
    (source.work / "Dockerfile").symlink_to("/etc/passwd")
    source.commit({}, "Link")
    path = services.configure("linked", source)

    build = services.wait(path, services.trigger(path)[0])

    assert build["status"] == "failed"
    assert "leads out of the source" in build["reason"]
    assert "root:" not in build["log"]


def test_steps_see_neither_the_host_nor_metadata(services: Services) -> None:
    """A step has no access to host files, other processes and metadata addresses, and cannot mount."""
    probe = f"""{TINY}RUN id -u; ls /work /data {services.hub.data} 2>&1; \\
 grep -c . /proc/self/uid_map; cat /proc/self/uid_map; ! mount -t tmpfs x /tmp 2>&1
RUN ls /proc | grep -c '^[0-9]'; ! cat /proc/1/environ 2>/dev/null | grep -i hythe
"""
    path = services.configure("curious", services.source("curious", {"Dockerfile": probe}))

    build = services.wait(path, services.trigger(path)[0])

    assert build["status"] == "succeeded", build["log"]
    assert str(services.hub.data) + ":" in build["log"]
    first_uid = next(line.split()[1] for line in build["log"].splitlines() if line.split()[-1:] == ["65536"])
    assert int(first_uid) >= 1_000_000_000


@pytest.mark.parametrize("host", ["169.254.169.254", "0xa9fea9fe", "[fd00:ec2::254]"])
def test_metadata_addresses_are_not_registries(services: Services, host: str) -> None:
    """The worker pulls no base image from a metadata address, however the address is written."""
    name = f"based-{len(host)}-{host.count(':')}"
    path = services.configure(name, services.source(name, {"Dockerfile": f"FROM {host}:80/latest/meta-data\n"}))

    build = services.wait(path, services.trigger(path)[0])

    assert build["status"] == "failed"
    assert "base images cannot be fetched from" in build["reason"]


def test_links_left_by_a_hook_are_not_followed(services: Services) -> None:
    """The worker, which runs as root, writes through no link that a hook created, in this build or the next."""
    victim = services.hub.data / "victim"
    victim.mkdir()
    hook = f"#!/bin/sh\nrm -rf /work/home /work/secrets\nln -s {victim} /work/home\nln -s {victim} /work/secrets\n"
    path = services.configure("trapper", services.source("trapper", {"Dockerfile": TINY, "hooks/post_checkout": hook}))
    services.call("PUT", f"{path}/build-configuration/secrets/token", {"value": "a secret"})
    before = victim.stat()

    builds = [services.wait(path, services.trigger(path)[0]) for _ in range(2)]

    assert [build["status"] for build in builds] == ["failed", "failed"]
    assert all("is not a folder" in build["reason"] for build in builds)
    assert list(victim.iterdir()) == []
    assert (victim.stat().st_mode, victim.stat().st_uid) == (before.st_mode, before.st_uid)


def test_the_timeout_ends_an_endless_build(services: Services) -> None:
    """The reason names the timeout. The last test, as the build runs in parallel to the others."""
    build = services.wait("/api/v1/repositories/alice/endless", 1, seconds=60)

    assert build["status"] == "failed", build["log"][-2000:]
    assert "longer than its 15 seconds" in build["reason"]
