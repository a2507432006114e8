"""``docker save`` archives of 2013 to 2015: names, history, layers, and hostile ones."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.unit.client.sample_images import layer_archive

from hythe.client import legacy_archive
from hythe.client.docker_archive import ArchivedImage, InvalidArchive, read_archive
from hythe.client.layout import ImageLayout
from hythe.oci.config import ImageConfig
from hythe.oci.digest import Digest

BASE, TOP, OTHER = "a" * 64, "b" * 64, "c" * 64
LAYERS = {BASE: layer_archive({"bin/sh": b"sh"}), TOP: layer_archive({"a": b"1"}), OTHER: layer_archive({})}


def old_json(identity: str, parent: str = "", **more: Any) -> dict[str, Any]:
    """Return a configuration as docker 1.0 wrote it."""
    fields = {
        "id": identity,
        "created": "2014-06-09T15:00:00.123456789Z",
        "container": "d" * 64,
        "container_config": {"Hostname": "x", "Cmd": ["/bin/sh", "-c", "echo a && true > <b>"]},
        "docker_version": "1.0.0",
        "author": "Ann",
        "config": {"Cmd": ["/bin/sh"], "Env": ["PATH=/bin"], "PortSpecs": None, "Volumes": None},
        "architecture": "amd64",
        "os": "linux",
        "Size": 5,
    }
    return fields | ({"parent": parent} if parent else {}) | more


IMAGES = {BASE: old_json(BASE), TOP: old_json(TOP, BASE, comment="on top"), OTHER: old_json(OTHER, BASE)}
NAMES = {"ann/app": {"1": TOP, "latest": TOP}, "registry.example.com:5000/app": {"x": OTHER}}


def archive(
    images: dict[str, Any] | None = None, names: Any = NAMES, layers: dict[str, bytes] | None = None
) -> io.BytesIO:
    files: dict[str, bytes] = {} if names is None else {"repositories": json.dumps(names).encode()}
    for identity, fields in (images or IMAGES).items():
        files[f"{identity}/VERSION"] = b"1.0"
        files[f"{identity}/json"] = json.dumps(fields).encode()
    files |= {f"{identity}/layer.tar": content for identity, content in (LAYERS if layers is None else layers).items()}
    return io.BytesIO(layer_archive(files))


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., list[ArchivedImage]]:
    layout = ImageLayout(tmp_path / "layout")
    return lambda file: read_archive(file, layout)


@pytest.fixture
def config_of(tmp_path: Path) -> Callable[[ArchivedImage], ImageConfig]:
    layout = ImageLayout(tmp_path / "layout")

    def parse(image: ArchivedImage) -> ImageConfig:
        config = layout.read_manifest(image.descriptor).config
        assert config
        return ImageConfig.parse(layout.read_document(config.parsed_digest))

    return parse


Read = Callable[[io.BytesIO], list[ArchivedImage]]
ConfigOf = Callable[[ArchivedImage], ImageConfig]


def test_names_history_and_layers(read: Read, config_of: ConfigOf) -> None:
    """Several tags of one image, a shared parent, the step of each layer; the old IDs are dropped."""
    app, other = read(archive())
    config = config_of(app)

    assert [name.familiar() for name in app.names] == ["ann/app:1", "ann/app:latest"]
    assert [name.familiar() for name in other.names] == ["registry.example.com:5000/app:x"]
    assert config.rootfs.diff_ids == tuple(str(Digest.of(LAYERS[identity])) for identity in (BASE, TOP))
    assert [step.created_by for step in config.history] == ["/bin/sh -c echo a && true > <b>"] * 2
    assert [step.comment for step in config.history] == ["", "on top"]
    assert config.history[0].created == "2014-06-09T15:00:00.123456789Z"
    assert (config.author, config.architecture, config.config and config.config.cmd) == ("Ann", "amd64", ("/bin/sh",))


def test_the_configuration_keeps_what_hythe_does_not_know(tmp_path: Path, read: Read) -> None:
    """As in docker, all but the IDs and the size; written as Go writes it, so that the ID is docker's."""
    image = read(archive())[0]
    layout = ImageLayout(tmp_path / "layout")
    config = layout.read_manifest(image.descriptor).config
    assert config
    content = layout.read_document(config.parsed_digest)
    fields = json.loads(content)

    assert list(fields) == sorted(fields)
    assert not {"id", "parent", "Size"} & set(fields)
    assert (fields["docker_version"], fields["container"]) == ("1.0.0", "d" * 64)
    assert b"\\u0026\\u0026 true \\u003e \\u003cb\\u003e" in content


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_compressed_archives_and_layers(read: Read, config_of: ConfigOf, pack: Callable[[bytes], bytes]) -> None:
    """The diff IDs are those of the uncompressed layers."""
    packed = archive(layers={identity: pack(content) for identity, content in LAYERS.items()})
    [app, _] = read(io.BytesIO(pack(packed.getvalue())))

    assert config_of(app).rootfs.diff_ids[0] == str(Digest.of(LAYERS[BASE]))


def test_images_without_names(read: Read) -> None:
    """Without ``repositories``, the images are those that no other builds on."""
    assert [image.names for image in read(archive(names=None))] == [(), ()]
    assert [len(image.names) for image in read(archive(names={"ann/app": {"1": TOP}}))] == [1, 0]
    assert [image.names for image in read(archive(names={"NOT a name": {"1": TOP}}))] == [(), ()]


def test_configurations_of_2013(read: Read, config_of: ConfigOf) -> None:
    """They lack the platform; others have null in place of objects."""
    bare = {"id": BASE, "created": "2013-03-23T22:24:18Z", "container_config": None, "config": None}
    [image] = read(archive({BASE: bare}, {"base": {"latest": BASE}}))

    assert (config_of(image).architecture, config_of(image).os) == ("amd64", "linux")


@pytest.mark.parametrize(
    ("images", "names", "layers", "words"),
    [
        ({BASE: old_json(BASE, BASE)}, {"a": {"b": BASE}}, None, "its own parent"),
        ({BASE: old_json(BASE, TOP), TOP: old_json(TOP, BASE)}, {"a": {"b": BASE}}, None, "its own parent"),
        ({TOP: old_json(TOP, BASE)}, {"a": {"b": TOP}}, None, "is missing"),
        (None, {"a": {"b": "../../etc/passwd"}}, None, "is missing"),
        (None, {"a": {"b": ["x"]}}, None, "is missing"),
        (None, {"a": "b"}, None, "not an archive of images"),
        (None, ["a"], None, "not an archive of images"),
        ({BASE: ["x"]}, None, None, "is not an object"),
        ({BASE: old_json(BASE, config={"Env": 5})}, None, None, "not an archive of images"),
        ({BASE: old_json(BASE, container_config=5)}, None, None, "not an archive of images"),
        (None, NAMES, {}, "does not contain"),
        ({BASE: old_json(BASE, junk=["x"] * 60_000)}, None, None, "names and texts"),
        ({BASE: old_json(BASE, os="<html>" * 5)}, None, {BASE: b"\x1f\x8bnot gzip"}, "damaged|not an archive"),
    ],
)
def test_invalid_archives_are_refused(read: Read, images: Any, names: Any, layers: Any, words: str) -> None:
    """With the reason, and as an error of the client."""
    with pytest.raises(InvalidArchive, match=words):
        read(archive(images, names, layers))


def test_the_configurations_are_bounded(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    """A long chain of large configurations does not fill the memory."""
    monkeypatch.setattr(legacy_archive, "MAX_CONFIG_BYTES", 1000)
    with pytest.raises(InvalidArchive, match="exceed"):
        read(archive())
