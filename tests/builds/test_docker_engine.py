"""A docker engine as the builder, chosen by setting."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.builds.house import House
from tests.parts.engines import Docker, Dockerd

pytestmark = pytest.mark.clients


def test_a_docker_engine_builds(start_house: Callable[..., House], dockerd: Dockerd, docker: Docker) -> None:
    """The engine's image is pushed, labelled and signed like any other; the build says what contained it."""
    house = start_house(env={"HYTHE_BUILDS_BUILDER": f"docker=unix://{dockerd.socket}"})
    path = house.set_up("by-docker", house.source("by-docker"))

    build = house.built(path, house.trigger(path)[0])

    assert build["result"]["builder"].startswith("docker ")
    assert "docker engine" in build["result"]["isolation"]
    image = f"{house.hub.host}/alice/by-docker"
    docker.ok("pull", image)
    assert docker.ok("run", "--rm", "--network", "none", image) == "hello from a step"
