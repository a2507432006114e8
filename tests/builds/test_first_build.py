"""From a push to `docker run`, with git, buildah and docker."""

from __future__ import annotations

import json
import urllib.request

import pytest
from tests.builds.services import Services
from tests.parts.engines import Docker

pytestmark = pytest.mark.clients


def test_docker_runs_the_image_of_a_build(services: Services, docker: Docker) -> None:
    """A triggered build clones, builds and pushes; docker pulls the image and runs it."""
    source = services.source("hello", {"README.md": "# Hello\n\nFrom the source."})
    path = services.configure(
        "hello", source, {"source": "main", "tags": "latest,{shortsha}", "arguments": {"GREETING": "hi"}}
    )
    [number] = services.trigger(path)

    build = services.built(path, number)

    commit = source.head("main")
    assert build["ref"]["commit"] == commit
    assert build["result"]["tags"] == ["latest", commit[:7]]
    image = f"{services.hub.host}/alice/hello:latest"
    assert docker.ok("run", "--rm", "--network", "none", image) == "hi from a step"
    assert services.call("GET", path)["full_description"].startswith("# Hello")


def test_search_marks_automated_builds(services: Services) -> None:
    """Docker 20.10 shows a repository with Trusted Builds as AUTOMATED."""
    services.configure("marked", services.source("marked"), {"source": "main", "tags": "latest"})

    with urllib.request.urlopen(f"{services.hub.url}/v1/search?q=marked") as answer:
        [found] = json.load(answer)["results"]

    assert (found["name"], found["is_automated"], found["is_trusted"]) == ("alice/marked", True, True)
