"""A docker engine as the builder, chosen by setting."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.builds.house import Services
from tests.parts.engines import Docker, Dockerd

pytestmark = pytest.mark.clients


def test_a_docker_engine_builds(start_house: Callable[..., Services], dockerd: Dockerd, docker: Docker) -> None:
    """The engine's image is pushed, labelled and signed like any other; the build says what contained it."""
    house = start_house(env={"HYTHE_BUILDS_BUILDER": f"docker=unix://{dockerd.socket}"})
    path = house.set_up("by-docker", house.source("by-docker"))

    build = house.built(path, house.trigger(path)[0])

    assert build["result"]["builder"].startswith("docker ")
    assert "docker engine" in build["result"]["isolation"]
    image = f"{house.hub.host}/alice/by-docker"
    docker.ok("pull", image)
    assert docker.ok("run", "--rm", "--network", "none", image) == "hello from a step"


def test_a_network_that_a_docker_engine_cannot_limit(start_house: Callable[..., Services], dockerd: Dockerd) -> None:
    """`registry` alone is refused, rather than given as more."""
    env = {"HYTHE_BUILDS_BUILDER": f"docker=unix://{dockerd.socket}", "HYTHE_BUILDS_NETWORK": "registry"}
    house = start_house(env=env)
    path = house.set_up("networked", house.source("networked"))

    build = house.wait(path, house.trigger(path)[0])

    assert build["status"] == "failed"
    assert "set the network to off or open" in build["reason"]
