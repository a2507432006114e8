"""images, tag, rmi, inspect, history, save, load: the verbs of the local store."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import sys
import tarfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from backports import zstd
from tests.unit.client.sample_images import add_image, add_index, layer_archive

from hythe.cli.main import main
from hythe.client.store import LocalStore
from hythe.oci.digest import Digest
from hythe.oci.manifest import OCI_LAYER, OCI_MANIFEST, Descriptor, ImageManifest
from hythe.oci.reference import Reference


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalStore:
    """A store with tiny:1 and tiny:2, which differ in one layer; tiny:1 also has a name on a private registry."""
    monkeypatch.setenv("HYTHE_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("HYTHE_CONFIG", str(tmp_path / "config.json"))
    store = LocalStore()
    first, second = add_image(store, {"a": b"1"}), add_image(store, {"a": b"1"}, {"b": b"2"})
    store.put(first, Reference.parse("tiny:1"))
    store.put(first, Reference.parse("localhost:5000/ann/tiny"))
    store.put(second, Reference.parse("tiny:2"))
    return store


class VerbRunner:
    """Runs verbs and captures their output."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self.err = ""

    def __call__(self, *words: str, code: int = 0) -> str:
        """Run a verb that must exit with `code`; returns its stdout without the final line break."""
        got = main(list(words))
        captured = self._capsys.readouterr()
        self.err = captured.err
        assert got == code, captured.err
        return captured.out.removesuffix("\n")

    def json(self, *words: str) -> Any:
        """Run a verb with --json."""
        return json.loads(self(*words, "--json"))


@pytest.fixture
def run(store: LocalStore, capsys: pytest.CaptureFixture[str]) -> VerbRunner:
    return VerbRunner(capsys)


def test_images_prints_dockers_columns(run: VerbRunner) -> None:
    """One row per name, with a short ID and a human-readable size and age."""
    lines = run("images").splitlines()

    assert lines[0].split("  ")[0] == "REPOSITORY"
    assert lines[0].split() == ["REPOSITORY", "TAG", "IMAGE", "ID", "CREATED", "SIZE"]
    assert sorted(line.split()[0] + ":" + line.split()[1] for line in lines[1:]) == [
        "localhost:5000/ann/tiny:latest",
        "tiny:1",
        "tiny:2",
    ]


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["tiny"], ["tiny:1", "tiny:2"]),
        (["tiny:2"], ["tiny:2"]),
        (["localhost:5000/*/tiny"], ["localhost:5000/ann/tiny:latest"]),
        (["--filter", "reference=*:2"], ["tiny:2"]),
        (["*"], ["tiny:1", "tiny:2"]),
        (["localhost:5000/*"], []),
        (["--filter", "label=purpose=test"], ["localhost:5000/ann/tiny:latest", "tiny:1", "tiny:2"]),
        (["--filter", "label=purpose=other"], []),
        (["--filter", "dangling=true"], []),
    ],
)
def test_images_filters(run: VerbRunner, words: list[str], names: list[str]) -> None:
    """The argument and the filters select images as in docker."""
    printed = run("images", "--format", "{{.Repository}}:{{.Tag}}", *words)

    assert sorted(printed.split()) == names


def test_images_formats_a_table_with_headings(run: VerbRunner) -> None:
    """The heading is printed without rows too; an unknown field is an error."""
    pattern = "table {{.ID}}\\t{{.CreatedAt}}\\t{{.SharedSize}}"

    assert run("images", "--format", pattern, "nothing").split("  ")[0] == "IMAGE ID"
    assert "CREATED AT" in run("images", "--format", pattern)
    run("images", "--format", "{{.Colour}}", code=2)
    assert "unknown field .Colour" in run.err


def test_images_json_and_quiet(run: VerbRunner, store: LocalStore) -> None:
    """--json has one entry per image, -q one ID per line, each image once."""
    images = run.json("images")

    assert {image["id"] for image in images} == {str(image.id) for image in store.images()}
    assert sorted(images, key=lambda image: len(image["names"]))[1]["names"] == [
        "docker.io/library/tiny:1",
        "localhost:5000/ann/tiny:latest",
    ]
    assert len(run("images", "-q").split()) == 2
    assert run("images", "-q", "--no-trunc", "tiny:1") == str(store.resolve("tiny:1").id)


def test_an_unknown_filter_is_a_usage_error(run: VerbRunner) -> None:
    """The error lists the known filters."""
    run("images", "--filter", "colour=red", code=2)

    assert "dangling" in run.err


def test_tag_and_untag(run: VerbRunner, store: LocalStore) -> None:
    """rmi of one of several names removes only the name; of the last name, the image."""
    run("tag", "tiny:2", "ann/app:3")
    untagged = run("rmi", "ann/app:3")
    removed = run("rmi", "tiny:2").splitlines()

    assert untagged == "Untagged: ann/app:3"
    assert removed[0] == "Untagged: tiny:2"
    assert [line.partition(":")[0] for line in removed].count("Deleted") == 3
    assert len(list(store.images())) == 1


def test_rmi_by_id_of_an_image_with_several_names_needs_force(run: VerbRunner, store: LocalStore) -> None:
    """docker's message, with a hint."""
    short = store.resolve("tiny:1").id.short
    run("rmi", short, code=7)

    assert "must be forced" in run.err
    assert "Deleted" in run("rmi", "-f", short)


def test_rmi_removes_the_nameless_entry_of_an_id_first(run: VerbRunner, store: LocalStore) -> None:
    """Two compressions of one image share an ID: inspect shows the named one, rmi first removes the nameless one."""
    image = store.resolve("tiny:2")
    layers = tuple(
        Descriptor(OCI_LAYER, str(store.add_document(plain)), len(plain))
        for plain in (gzip.decompress(store.read_document(layer.parsed_digest)) for layer in image.manifest.layers)
    )
    config = image.manifest.config
    assert config is not None
    content = ImageManifest(2, OCI_MANIFEST, config, layers).encode()
    store.put(Descriptor(OCI_MANIFEST, str(store.add_document(content)), len(content)))
    short = image.id.short

    assert run("inspect", "-f", "{{.RepoTags}}", short) == "[tiny:2]"
    assert run("rmi", run("images", "-q", "-f", "dangling=true")).startswith("Deleted: ")
    assert run("images", "-q", "tiny:2") == short
    assert run("rmi", short).startswith("Untagged: tiny:2")


def test_rmi_continues_after_a_missing_image(run: VerbRunner, store: LocalStore) -> None:
    """rmi removes the images that it can; the exit code reports the failure."""
    run("rmi", "nothing", "tiny:2", "nil", code=3)

    assert "no such image: nothing" in run.err
    assert "no such image: nil" in run.err
    assert len(list(store.images())) == 1


def test_inspect_shows_dockers_fields(run: VerbRunner, store: LocalStore) -> None:
    """A list with one object per image."""
    (one,) = run.json("inspect", "tiny:1")

    assert one["Id"] == str(store.resolve("tiny:1").id)
    assert one["RepoTags"] == ["tiny:1", "localhost:5000/ann/tiny:latest"]
    assert one["Config"]["Env"] == ["PATH=/bin"]
    assert one["Os"] == "linux"
    assert len(one["RootFS"]["Layers"]) == 1
    assert run("inspect", "-f", "{{.Config.Cmd}} {{.Architecture}}", "tiny:1") == "[/bin/sh] amd64"
    assert run("inspect", "-f", "{{.Config.User}}|{{.Config.Entrypoint}}|{{.Config.Volumes}}", "tiny:1") == "|[]|map[]"


def test_inspect_continues_after_a_missing_image(run: VerbRunner) -> None:
    """The fields and values are docker's."""
    out = run("inspect", "tiny:1", "nothing", code=3)

    assert len(json.loads(out)) == 1


def test_history_shows_the_steps_newest_first(run: VerbRunner) -> None:
    """Each step has the size of its layer."""
    lines = run("history", "tiny:2").splitlines()

    assert lines[0].split() == ["IMAGE", "CREATED", "CREATED", "BY", "SIZE", "COMMENT"]
    assert ["step 1" in lines[1], "step 0" in lines[2]] == [True, True]
    assert lines[2].startswith("<missing>")
    assert [row["created_by"] for row in run.json("history", "tiny:2")] == ["step 1", "step 0"]


def test_history_prints_exact_sizes_and_times(run: VerbRunner) -> None:
    """Exact times have their own heading."""
    lines = run("history", "--human=false", "tiny:2").splitlines()

    assert lines[0].split() == ["IMAGE", "CREATED", "AT", "CREATED", "BY", "SIZE", "COMMENT"]
    assert "B" not in lines[1].split("step 1")[1]
    assert run("history", "-H", "tiny:2") == run("history", "tiny:2")


def test_save_and_load_keep_ids_and_names(run: VerbRunner, store: LocalStore, tmp_path: Path) -> None:
    """The same images produce the same file, and load restores the same images."""
    before = run.json("images")
    for name in ("one.tar", "two.tar"):
        run("save", "-o", str(tmp_path / name), "tiny:1", "localhost:5000/ann/tiny", "tiny:2")
    run("rmi", "-f", *(image["id"] for image in before))
    loaded = run("load", "-i", str(tmp_path / "one.tar"))

    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()
    assert sorted(loaded.splitlines()) == [
        "Loaded image: localhost:5000/ann/tiny:latest",
        "Loaded image: tiny:1",
        "Loaded image: tiny:2",
    ]
    assert sorted(image["id"] for image in run.json("images")) == sorted(image["id"] for image in before)


def test_save_writes_one_platform(run: VerbRunner, store: LocalStore, tmp_path: Path) -> None:
    """With --platform only that platform, else all local platforms."""
    images = {name: add_image(store, {"a": b"1"}, architecture=name) for name in ("arm64", "riscv64")}
    store.put(add_index(store, **images), Reference.parse("multi:1"))
    run("save", "-o", str(tmp_path / "x.tar"), "--platform", "linux/riscv64", "multi:1")
    run("rmi", "--no-prune", "multi:1")
    run("load", "-i", str(tmp_path / "x.tar"))

    assert store.resolve("multi:1").digest == images["riscv64"].parsed_digest


def test_save_writes_into_a_pipe_and_through_a_link(run: VerbRunner, tmp_path: Path) -> None:
    """A target that is not a regular file, such as /dev/null, is not replaced, and a symbolic link stays one."""
    pipe, link = tmp_path / "pipe", tmp_path / "link"
    os.mkfifo(pipe)
    link.symlink_to(tmp_path / "target")
    with ThreadPoolExecutor(1) as pool:
        read = pool.submit(pipe.read_bytes)
        run("save", "-o", str(pipe), "tiny:1")
        run("save", "-o", str(link), "tiny:1")

        assert read.result() == (tmp_path / "target").read_bytes()
    assert pipe.is_fifo()
    assert link.is_symlink()


def old_docker_archive(layer: bytes) -> bytes:
    """A file of docker save before version 25: layers uncompressed, each in a folder."""
    config = json.dumps(
        {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [str(Digest.of(layer))]}}
    ).encode()
    rows = [{"Config": "c.json", "RepoTags": ["old:1"], "Layers": ["l/layer.tar"]}]
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in (("l/layer.tar", layer), ("c.json", config), ("manifest.json", json.dumps(rows).encode())):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def test_an_archive_of_an_older_docker_is_loaded_reproducibly(
    run: VerbRunner, store: LocalStore, tmp_path: Path
) -> None:
    """load compresses the layers with gzip, always to the same bytes."""
    path = tmp_path / "old.tar"
    path.write_bytes(old_docker_archive(layer_archive({"etc/x": b"hello"})))
    digests = set()
    for _ in range(2):
        run("load", "-i", str(path))
        digests.add(store.resolve("old:1").digest)
        run("rmi", "old:1")

    assert len(digests) == 1


def test_a_corrupt_or_unknown_archive_is_refused(run: VerbRunner, tmp_path: Path) -> None:
    """Layers must match the image configuration, and a text file is not an archive."""
    good = layer_archive({"etc/x": b"hello"})
    (tmp_path / "bad.tar").write_bytes(old_docker_archive(good).replace(b"hello", b"jello"))
    (tmp_path / "text").write_text("hello" * 500)
    run("load", "-i", str(tmp_path / "bad.tar"), code=6)
    run("load", "-i", str(tmp_path / "text"), code=1)

    assert "not an archive of images" in run.err


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress, zstd.compress])
def test_compressed_archives_are_loaded(run: VerbRunner, tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    """load accepts every compression that docker load accepts, and refuses truncated files."""
    packed = pack(old_docker_archive(layer_archive({"etc/x": b"hello"})))
    (tmp_path / "whole").write_bytes(packed)
    (tmp_path / "cut").write_bytes(packed[: len(packed) // 2])

    assert run("load", "-i", str(tmp_path / "whole")) == "Loaded image: old:1"
    run("load", "-i", str(tmp_path / "cut"), code=1)
    assert "the archive is damaged" in run.err


@pytest.mark.parametrize("spoil", [lambda content: content[:-1], lambda content: content[:-1] + b"?"])
def test_a_corrupt_layer_is_not_saved(
    run: VerbRunner, store: LocalStore, tmp_path: Path, spoil: Callable[[bytes], bytes]
) -> None:
    """The error names the layer, and no incomplete archive remains."""
    layer = store.resolve("tiny:1").manifest.layers[0].parsed_digest
    path = store.blob_path(layer)
    path.write_bytes(spoil(path.read_bytes()))
    run("save", "-o", str(tmp_path / "x.tar"), "tiny:1", code=6)

    assert str(layer) in run.err
    assert not (tmp_path / "x.tar").exists()


def test_an_index_without_a_media_type_is_loaded(run: VerbRunner, tmp_path: Path) -> None:
    """skopeo's oci-archive and buildah omit it."""
    run("save", "-o", str(tmp_path / "x.tar"), "tiny:2")
    with tarfile.open(tmp_path / "x.tar") as old, tarfile.open(tmp_path / "y.tar", "w") as new:
        for member in old:
            content = old.extractfile(member).read()  # type: ignore[union-attr]
            if member.name == "index.json":
                index = json.loads(content)
                del index["mediaType"]
                content = json.dumps(index).encode()
            member.size = len(content)
            new.addfile(member, io.BytesIO(content))

    assert run("load", "-i", str(tmp_path / "y.tar")) == "Loaded image: tiny:2"


def test_load_reads_a_pipe(run: VerbRunner, store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A compressed stream that cannot seek works too."""
    import threading

    run("save", "-o", str(tmp_path / "x.tar"), "tiny:2")
    run("rmi", "tiny:2")
    reading, writing = os.pipe()

    def feed() -> None:
        with os.fdopen(writing, "wb") as out:
            out.write(gzip.compress((tmp_path / "x.tar").read_bytes()))

    threading.Thread(target=feed).start()
    with os.fdopen(reading, "r") as pipe:
        monkeypatch.setattr(sys, "stdin", pipe)
        assert run("load") == "Loaded image: tiny:2"
