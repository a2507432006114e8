"""Builds that mean harm: each ends as a failed build with a sentence that says why, and the hub does not notice."""

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
    "HYTHE_BUILDS_TIMEOUT": "20",
}
BOMB = "RUN i=0; while [ $i -lt 400 ]; do sleep 30 & i=$((i+1)); done; wait\n"


@pytest.fixture(scope="module")
def services(start_services: Callable[..., Services]) -> Services:
    """A hub whose builds may use very little."""
    return start_services(env=SMALL)


@pytest.mark.parametrize(
    ("name", "steps", "said"),
    [
        ("fork-bomb", BOMB, "150 processes"),
        ("full-disk", "RUN while true; do cat /bin/busybox; done > /huge\n", "disk of 120 MiB"),
        ("endless", "RUN sleep 3600\n", "longer than its 20 seconds"),
        ("hungry", "RUN tail /dev/zero\n", "200 MiB of memory"),
        ("many-files", "RUN i=0; while [ $i -lt 9000 ]; do : > /tmp/$i; i=$((i+1)); done\n", "3000 files"),
    ],
)
def test_using_too_much(services: Services, name: str, steps: str, said: str) -> None:
    """A limit that is reached ends the build and is named; the hub answers all the while."""
    path = services.set_up(name, services.source(name, {"Dockerfile": TINY + steps}))
    [number] = services.trigger(path)

    build = services.wait(path, number, seconds=60)

    assert build["status"] == "failed", build["log"][-2000:]
    assert said in build["reason"]
    assert services.call("GET", f"{path}/builds")["items"][0]["number"] == number


def test_a_context_of_very_many_files(services: Services) -> None:
    """A source with more files than a build may have does not get checked out."""
    source = services.source("crowded", {f"files/{number}": "x" for number in range(4000)})
    path = services.set_up("crowded", source)

    build = services.wait(path, services.trigger(path)[0])

    assert build["status"] == "failed"
    assert "3000 files" in build["reason"]


def test_a_dockerfile_that_is_a_link_out_of_the_source(services: Services) -> None:
    """A link to a file of the host is not followed, and nothing of that file is told."""
    source = services.source("linked")
    (source.work / "Dockerfile").unlink()
    (source.work / "Dockerfile").symlink_to("/etc/passwd")
    source.commit({}, "Link")
    path = services.set_up("linked", source)

    build = services.wait(path, services.trigger(path)[0])

    assert build["status"] == "failed"
    assert "leads out of the source" in build["reason"]
    assert "root:" not in build["log"]


def test_steps_see_neither_the_host_nor_metadata(services: Services) -> None:
    """A step is root of nothing: no host files, no other processes, no metadata address, no way to mount."""
    # buildah ends with a step and not with what it has to pass on of it: on a loaded machine the end of it may be lost.
    probe = f"""{TINY}RUN id -u; ls /work /data {services.hub.data} 2>&1; \\
 grep -c . /proc/self/uid_map; cat /proc/self/uid_map; mount -t tmpfs x /tmp 2>&1; sleep 1
RUN ls /proc | grep -c '^[0-9]'; ! cat /proc/1/environ 2>/dev/null | grep -i hythe
"""
    path = services.set_up("curious", services.source("curious", {"Dockerfile": probe}))

    build = services.wait(path, services.trigger(path)[0])

    assert build["status"] == "succeeded", build["log"]
    assert str(services.hub.data) + ":" in build["log"]
    first_uid = next(line.split()[1] for line in build["log"].splitlines() if line.split()[-1:] == ["65536"])
    assert int(first_uid) >= 1_000_000_000


@pytest.mark.parametrize("host", ["169.254.169.254", "0xa9fea9fe", "[fd00:ec2::254]"])
def test_no_base_comes_from_where_clouds_keep_secrets(services: Services, host: str) -> None:
    """The worker fetches bases, and asks none of a machine's metadata for one, however the address is written."""
    name = f"based-{len(host)}-{host.count(':')}"
    path = services.set_up(name, services.source(name, {"Dockerfile": f"FROM {host}:80/latest/meta-data\n"}))

    build = services.wait(path, services.trigger(path)[0])

    assert build["status"] == "failed"
    assert "is not a host that base images are fetched from" in build["reason"]


def test_links_that_a_hook_leaves_for_the_worker(services: Services) -> None:
    """The worker, who is root, writes through no link that a hook put into its way, in this build or the next."""
    victim = services.hub.data / "victim"
    victim.mkdir()
    hook = f"#!/bin/sh\nrm -rf /work/home /work/secrets\nln -s {victim} /work/home\nln -s {victim} /work/secrets\n"
    path = services.set_up("trapper", services.source("trapper", {"Dockerfile": TINY, "hooks/post_checkout": hook}))
    services.call("PUT", f"{path}/build-configuration/secrets/token", {"value": "a secret"})
    before = victim.stat()

    builds = [services.wait(path, services.trigger(path)[0]) for _ in range(2)]

    assert [build["status"] for build in builds] == ["failed", "failed"]
    assert all("is not an ordinary folder" in build["reason"] for build in builds)
    assert list(victim.iterdir()) == []
    assert (victim.stat().st_mode, victim.stat().st_uid) == (before.st_mode, before.st_uid)
