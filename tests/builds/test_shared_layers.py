"""Layers kept in the registry: a worker that never built a repository begins with what another one built."""

from __future__ import annotations

import json
import shutil
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest
from tests.builds.house import Services

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


def forget_disks(house: Services) -> None:
    """Let the hub's worker be like one on another host: without the disks that it keeps."""
    shutil.rmtree(house.hub.data / "builds" / "cache")


def step_of(log: str, command: str) -> str:
    """The line of a log that follows a step's own."""
    lines = log.splitlines()
    [place] = [number for number, line in enumerate(lines) if line.endswith(command)]
    return lines[place + 1]


def registry(house: Services, name: str) -> Callable[[str], Any]:
    """Return what asks the registry for JSON of alice's repository."""
    token = house.call("GET", f"/token?scope=repository:alice/{name}:pull")["token"]

    def get(what: str) -> Any:
        accept = "application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.v2+json"
        headers = {"Authorization": f"Bearer {token}", "Accept": accept}
        request = urllib.request.Request(f"{house.hub.url}/v2/alice/{name}/{what}", headers=headers)
        with urllib.request.urlopen(request) as response:
            return json.loads(response.read())

    return get


def layer_tags(house: Services, name: str) -> list[str]:
    """The tags of a repository that hold layers."""
    return [tag for tag in registry(house, name)("tags/list")["tags"] if tag.endswith(".layers")]


def test_another_worker_uses_the_layers(house: Services) -> None:
    """Steps of all stages are found again, with secrets as without, and what changed is built and kept anew."""
    base = house.set_up("shared-base", house.source("shared-base"), visibility="private")
    house.built(base, house.trigger(base)[0])
    dockerfile = STEPS.replace("FROM scratch\n", f"FROM {house.hub.host}/alice/shared-base\n")
    source = house.source("shared", {"Dockerfile": dockerfile, "late": "1"})
    path = house.set_up("shared", source)
    house.call("PUT", f"{path}/build-configuration/secrets/word", {"value": "hush hush"})
    first = house.built(path, house.trigger(path)[0])
    source.commit({"late": "2"}, "Changed late")
    forget_disks(house)
    second = house.built(path, house.trigger(path)[0])
    warm = house.built(path, house.trigger(path)[0])
    forget_disks(house)
    third = house.built(path, house.trigger(path)[0])

    assert "Using cache" not in first["log"]
    assert "layers for other workers" in first["log"]
    assert "Using cache" in step_of(second["log"], COSTLY)
    assert "Using cache" in step_of(second["log"], "> /tool")
    assert "Using cache" not in step_of(second["log"], "cp /late /later")
    assert "Using cache" in step_of(third["log"], "cp /late /later")
    assert "layers for other workers" not in warm["log"] + third["log"]
    assert second["digest"] == third["digest"]


def test_layers_are_no_image_of_people(house: Services) -> None:
    """No list of tags shows them, reading them counts as no pull, and no secret lies in them."""
    source = house.source("unseen", {"Dockerfile": STEPS, "late": "1"})
    path = house.set_up("unseen", source)
    house.call("PUT", f"{path}/build-configuration/secrets/word", {"value": "hush hush"})
    house.built(path, house.trigger(path)[0])
    forget_disks(house)
    house.built(path, house.trigger(path)[0])
    get = registry(house, "unseen")
    [tag] = layer_tags(house, "unseen")
    manifests = [get(f"manifests/{each['digest']}") for each in get(f"manifests/{tag}")["manifests"]]
    configs = [json.dumps(get(f"blobs/{each['config']['digest']}")) for each in manifests]

    assert [each["name"] for each in house.call("GET", f"{path}/tags")["items"]] == ["latest"]
    assert len(configs) == 11
    assert "hush" not in "".join(configs)


def test_a_rule_without_cache_takes_and_leaves_nothing(house: Services) -> None:
    """With the cache off, steps run again, and the repository holds no layers but the image's."""
    source = house.source("uncached", {"Dockerfile": STEPS.replace("RUN --mount", "# RUN"), "late": "1"})
    path = house.set_up("uncached", source, {"source": "main", "cache": False})
    first = house.built(path, house.trigger(path)[0])
    second = house.built(path, house.trigger(path)[0])

    assert "Using cache" not in first["log"] + second["log"]
    assert "other workers" not in first["log"] + second["log"]
    assert first["digest"] != second["digest"]
    assert layer_tags(house, "uncached") == []


def test_broken_layers_break_no_build(house: Services) -> None:
    """Where a blob of theirs is lost, a line of the log says so, the steps run again, and whole layers are kept."""
    source = house.source("broken", {"Dockerfile": STEPS.replace("RUN --mount", "# RUN"), "late": "1"})
    path = house.set_up("broken", source)
    house.built(path, house.trigger(path)[0])
    get = registry(house, "broken")
    [tag] = layer_tags(house, "broken")
    steps = get(f"manifests/{tag}")["manifests"]
    digest = get(f"manifests/{steps[0]['digest']}")["config"]["digest"].removeprefix("sha256:")
    (house.hub.data / "blobs" / "sha256" / digest[:2] / digest).unlink()
    forget_disks(house)
    second = house.built(path, house.trigger(path)[0])
    forget_disks(house)
    third = house.built(path, house.trigger(path)[0])

    assert "the layers of other workers are not used: " in second["log"]
    assert "Using cache" not in second["log"]
    assert "Using cache" in step_of(third["log"], COSTLY)
    assert second["digest"] == third["digest"]
