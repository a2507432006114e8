"""A docker engine as the builder."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.builds.dockerfile_features import ALL, CONTEXT, YES, dockerfile
from tests.builds.services import Services
from tests.parts.engines import Docker, Dockerd

pytestmark = pytest.mark.clients


@pytest.fixture(scope="module")
def services(start_services: Callable[..., Services], dockerd: Dockerd) -> Services:
    """A hub that builds with a docker engine, by default with the network `registry`."""
    env = {"HYTHE_BUILDS_BUILDER": f"docker=unix://{dockerd.socket}", "HYTHE_BUILDS_NETWORK": "registry"}
    return start_services(env=env)


def test_a_docker_engine_builds(services: Services, docker: Docker) -> None:
    """The engine's image is pushed, labelled and signed like any other; the build names its isolation."""
    path = services.configure("by-docker", services.source("by-docker"), options={"network": "off"})

    build = services.built(path, services.trigger(path)[0])

    assert build["result"]["builder"].startswith("docker ")
    assert "docker engine" in build["result"]["isolation"]
    image = f"{services.hub.host}/alice/by-docker"
    docker.ok("pull", image)
    assert docker.ok("run", "--rm", "--network", "none", image) == "hello from a step"


def test_dockerfile_features(services: Services) -> None:
    """The engine builds what the table in docs/builds.md says of it, and each step shows that it worked."""
    features = [feature for feature in ALL if feature.docker == YES]
    source = services.source("features-by-docker", {**CONTEXT, "Dockerfile": dockerfile(*features)})
    path = services.configure("features-by-docker", source, options={"network": "off"})

    log = services.built(path, services.trigger(path)[0])["log"]

    assert [feature.row for feature in features if feature.shown not in log] == []


def test_the_network_registry_is_refused(services: Services) -> None:
    """A docker engine cannot limit access to the registry only."""
    path = services.configure("networked", services.source("networked"))

    build = services.wait(path, services.trigger(path)[0])

    assert build["status"] == "failed"
    assert "set the network to off or open" in build["reason"]
