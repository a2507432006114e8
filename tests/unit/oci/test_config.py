"""Image configurations: nothing is null, and null is nothing."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hythe.oci.config import ContainerConfig, ImageConfig, RootFS
from hythe.oci.errors import InvalidManifest

CONFIG: dict[str, Any] = {
    "architecture": "amd64",
    "os": "linux",
    "os.version": "1",
    "variant": "v2",
    "created": "2026-01-01T00:00:00Z",
    "author": "ann",
    "config": {
        "User": "ann",
        "ExposedPorts": {"80/tcp": {}},
        "Env": ["A=b"],
        "Entrypoint": ["/bin/a"],
        "Cmd": ["b"],
        "Healthcheck": {"Test": ["CMD", "a"], "Interval": 1, "Timeout": 2, "StartPeriod": 3, "Retries": 4},
        "Volumes": {"/data": {}},
        "WorkingDir": "/",
        "OnBuild": ["RUN a"],
        "Labels": {"a": "b"},
        "StopSignal": "TERM",
        "Shell": ["/bin/sh"],
    },
    "rootfs": {"type": "layers", "diff_ids": ["sha256:" + "a" * 64]},
    "history": [
        {"created": "2026-01-01T00:00:00Z", "created_by": "a", "author": "b", "comment": "c", "empty_layer": True}
    ],
}


def paths(value: object, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Return the places of all fields."""
    if isinstance(value, dict):
        return [place for name, each in value.items() for place in [(*path, name), *paths(each, (*path, name))]]
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return paths(value[0], (*path, 0))
    return []


FIELDS = [path for path in paths(CONFIG) if path[-2:-1] not in {("Labels",), ("ExposedPorts",), ("Volumes",)}]


def changed(places: set[tuple[str | int, ...]], *, null: bool) -> ImageConfig:
    """Parse the configuration with null at these places, or with nothing."""
    document = json.loads(json.dumps(CONFIG))
    for place in sorted(places, key=len, reverse=True):
        inner = document
        for step in place[:-1]:
            inner = inner[step]
        if null:
            inner[place[-1]] = None
        else:
            del inner[place[-1]]
    return ImageConfig.parse(json.dumps(document).encode())


@given(st.sets(st.sampled_from(FIELDS)))
def test_null_is_as_good_as_nothing(places: set[tuple[str | int, ...]]) -> None:
    """Any field may be null, as Go's empty lists, maps and pointers are."""
    assert changed(places, null=True) == changed(places, null=False)


@pytest.mark.parametrize(
    "content",
    [
        b"{}",
        b'{"rootfs": null, "history": null, "config": null}',
        b'{"rootfs": {"type": "layers", "diff_ids": null}, "config": {"Env": null, "ExposedPorts": {}}}',
        b'{"id": "a", "parent": "b", "container_config": {"Cmd": null}, "docker_version": "1.8.2"}\n',
    ],
)
def test_configurations_of_old_and_new_clients(content: bytes) -> None:
    """An image without layers, and one that an old docker wrote."""
    config = ImageConfig.parse(content)

    assert config.rootfs == RootFS()
    assert config.history == ()
    assert config.config in (None, ContainerConfig(exposed_ports={}))


@pytest.mark.parametrize("content", [b"null", b"[]", b'{"history": [1]}', b'{"config": {"Env": "A=b"}}', b"\xff"])
def test_what_is_no_configuration_is_refused(content: bytes) -> None:
    """A field of another kind is an error."""
    with pytest.raises(InvalidManifest):
        ImageConfig.parse(content)
