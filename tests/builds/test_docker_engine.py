"""A docker engine as the builder, chosen by setting."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.builds.services import Services
from tests.parts.engines import Docker, Dockerd

pytestmark = pytest.mark.clients


def test_a_docker_engine_builds(start_services: Callable[..., Services], dockerd: Dockerd, docker: Docker) -> None:
    """The engine's image is pushed, labelled and signed like any other; the build says what contained it."""
    services = start_services(env={"HYTHE_BUILDS_BUILDER": f"docker=unix://{dockerd.socket}"})
    path = services.set_up("by-docker", services.source("by-docker"))

    build = services.built(path, services.trigger(path)[0])

    assert build["result"]["builder"].startswith("docker ")
    assert "docker engine" in build["result"]["isolation"]
    image = f"{services.hub.host}/alice/by-docker"
    docker.ok("pull", image)
    assert docker.ok("run", "--rm", "--network", "none", image) == "hello from a step"


def test_a_network_that_a_docker_engine_cannot_limit(start_services: Callable[..., Services], dockerd: Dockerd) -> None:
    """`registry` alone is refused, rather than given as more."""
    env = {"HYTHE_BUILDS_BUILDER": f"docker=unix://{dockerd.socket}", "HYTHE_BUILDS_NETWORK": "registry"}
    services = start_services(env=env)
    path = services.set_up("networked", services.source("networked"))

    build = services.wait(path, services.trigger(path)[0])

    assert build["status"] == "failed"
    assert "set the network to off or open" in build["reason"]
