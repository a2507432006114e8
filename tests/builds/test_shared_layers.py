"""Layers shared through the registry: a worker starts with the layers that another worker built."""

from __future__ import annotations

import json
import shutil
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest
from tests.builds.services import Services

pytestmark = pytest.mark.clients

STEPS = """\
FROM scratch AS tools
ADD rootfs.tar /
RUN cat /proc/sys/kernel/random/uuid > /tool
FROM scratch
ENV BEFORE=anything
ADD rootfs.tar /
ARG GREETING=hello
RUN cat /proc/sys/kernel/random/uuid > /costly
HEALTHCHECK CMD true
COPY --from=tools /tool /tool
COPY late /late
RUN --mount=type=secret,id=word cp /late /later
CMD ["cat", "/costly"]
"""
COSTLY = "cat /proc/sys/kernel/random/uuid > /costly"


def delete_disks(services: Services) -> None:
    """Delete the disks of the hub's worker, so that it is like one on another host."""
    shutil.rmtree(services.hub.data / "builds" / "cache")


def step_of(log: str, command: str) -> str:
    """The line of a log after a step."""
    lines = log.splitlines()
    [place] = [number for number, line in enumerate(lines) if line.endswith(command)]
    return lines[place + 1]


def registry(services: Services, name: str) -> Callable[[str], Any]:
    """Return a function that fetches JSON from the registry."""
    token = services.call("GET", f"/token?scope=repository:alice/{name}:pull")["token"]

    def get(what: str) -> Any:
        accept = "application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.v2+json"
        headers = {"Authorization": f"Bearer {token}", "Accept": accept}
        request = urllib.request.Request(f"{services.hub.url}/v2/alice/{name}/{what}", headers=headers)
        with urllib.request.urlopen(request) as response:
            return json.loads(response.read())

    return get


def layer_tags(services: Services, name: str) -> list[str]:
    """The tags of a repository under which layers are stored."""
    return [tag for tag in registry(services, name)("tags/list")["tags"] if tag.endswith(".layers")]


def test_another_worker_uses_the_layers(services: Services) -> None:
    """Steps of all stages come from the cache, with and without secrets; changed steps run and are stored."""
    base = services.configure("shared-base", services.source("shared-base"), visibility="private")
    services.built(base, services.trigger(base)[0])
    dockerfile = STEPS.replace("FROM scratch\n", f"FROM {services.hub.host}/alice/shared-base\n")
    source = services.source("shared", {"Dockerfile": dockerfile, "late": "1"})
    path = services.configure("shared", source)
    services.call("PUT", f"{path}/build-configuration/secrets/word", {"value": "hush hush"})
    first = services.built(path, services.trigger(path)[0])
    source.commit({"late": "2"}, "Changed late")
    delete_disks(services)
    second = services.built(path, services.trigger(path)[0])
    warm = services.built(path, services.trigger(path)[0])
    delete_disks(services)
    third = services.built(path, services.trigger(path)[0])

    assert "Using cache" not in first["log"]
    assert "layers for later builds" in first["log"]
    assert "Using cache" in step_of(second["log"], COSTLY)
    assert "Using cache" in step_of(second["log"], "> /tool")
    assert "Using cache" not in step_of(second["log"], "cp /late /later")
    assert "Using cache" in step_of(third["log"], "cp /late /later")
    assert "layers for later builds" not in warm["log"] + third["log"]
    assert second["digest"] == third["digest"]


def test_layers_are_hidden_from_users(services: Services) -> None:
    """No list of tags has them, pulling them is not counted, and they contain no secret."""
    source = services.source("unseen", {"Dockerfile": STEPS, "late": "1"})
    path = services.configure("unseen", source)
    services.call("PUT", f"{path}/build-configuration/secrets/word", {"value": "hush hush"})
    services.built(path, services.trigger(path)[0])
    delete_disks(services)
    services.built(path, services.trigger(path)[0])
    get = registry(services, "unseen")
    [tag] = layer_tags(services, "unseen")
    manifests = [get(f"manifests/{each['digest']}") for each in get(f"manifests/{tag}")["manifests"]]
    configs = [json.dumps(get(f"blobs/{each['config']['digest']}")) for each in manifests]

    assert [each["name"] for each in services.call("GET", f"{path}/tags")["items"]] == ["latest"]
    assert len(configs) == 11
    assert "hush" not in "".join(configs)


def test_a_rule_without_cache_shares_no_layers(services: Services) -> None:
    """Without cache, steps run again, and no layers are stored."""
    source = services.source("uncached", {"Dockerfile": STEPS.replace("RUN --mount", "# RUN"), "late": "1"})
    path = services.configure("uncached", source, {"source": "main", "cache": False})
    first = services.built(path, services.trigger(path)[0])
    second = services.built(path, services.trigger(path)[0])

    assert "Using cache" not in first["log"] + second["log"]
    assert "later builds" not in first["log"] + second["log"]
    assert first["digest"] != second["digest"]
    assert layer_tags(services, "uncached") == []


def test_damaged_layers_do_not_fail_a_build(services: Services) -> None:
    """When a blob is lost, the log says so, the steps run again, and complete layers are stored."""
    source = services.source("damaged", {"Dockerfile": STEPS.replace("RUN --mount", "# RUN"), "late": "1"})
    path = services.configure("damaged", source)
    services.built(path, services.trigger(path)[0])
    get = registry(services, "damaged")
    [tag] = layer_tags(services, "damaged")
    steps = get(f"manifests/{tag}")["manifests"]
    digest = get(f"manifests/{steps[0]['digest']}")["config"]["digest"].removeprefix("sha256:")
    (services.hub.data / "blobs" / "sha256" / digest[:2] / digest).unlink()
    delete_disks(services)
    second = services.built(path, services.trigger(path)[0])
    delete_disks(services)
    third = services.built(path, services.trigger(path)[0])

    assert "layers of earlier builds are not used: " in second["log"]
    assert "Using cache" not in second["log"]
    assert "Using cache" in step_of(third["log"], COSTLY)
    assert second["digest"] == third["digest"]
