"""Images move between hythe's containers and those of docker and podman in both directions."""

import json
import time
from pathlib import Path

import pytest
from tests.parts.base_images import Layout, busybox_rootfs, layer_tar
from tests.parts.engines import ContainersTool, Docker
from tests.parts.hythe_containers import ContainersHythe

from hythe.client.docker_archive import ArchivedImage, read_archive, write_archive
from hythe.client.platforms import host_platform
from hythe.oci.manifest import DOCKER_CONFIG, DOCKER_LAYER_GZIP, DOCKER_MANIFEST, OCI_MANIFEST, Manifest
from hythe.oci.reference import Reference

pytestmark = pytest.mark.clients

CHANGES = """
set -e
echo new > /etc/new; echo changed > /etc/first; rm /etc/second
rm -r /data; mkdir /data; echo fresh > /data/fresh
mkdir -p /srv/deep/er; echo x > /srv/deep/er/file; ln /srv/deep/er/file /srv/link; ln -s /etc/new /srv/pointer
chmod 4751 /srv/deep/er/file; chown 12:34 /srv/deep; mkfifo /srv/pipe
"""
LOOK = """
cat /etc/new /etc/first; ls /etc/second /data/seed; ls /data; readlink /srv/pointer; cat /srv/pointer
stat -c '%a %u:%g %h %F %n' /srv/deep /srv/deep/er/file /srv/link /srv/pipe
"""
SEEN = """new
changed
fresh
/etc/new
new
755 12:34 3 directory /srv/deep
4751 0:0 2 regular file /srv/deep/er/file
4751 0:0 2 regular file /srv/link
644 0:0 1 fifo /srv/pipe
"""
BOX = "/bin/busybox"


def looked(script: str) -> str:
    """The script with busybox's own stat and readlink, as the image has no links for them."""
    for applet in ("stat", "readlink", "ln", "chmod", "chown", "mkfifo"):
        script = script.replace(f"{applet} ", f"{BOX} {applet} ")
    return script


def to_docker(hythe: ContainersHythe, docker: Docker, name: str, folder: Path) -> None:
    image = hythe.store.resolve(name)
    path = folder / "image.tar"
    with path.open("wb") as file:
        write_archive(
            file, hythe.store, [ArchivedImage(image.entry.descriptor, (Reference.parse(name).with_default_tag(),))]
        )
    docker.ok("load", "--input", path)


def from_docker(docker: Docker, hythe: ContainersHythe, name: str, folder: Path) -> None:
    path = folder / "image.tar"
    docker.ok("save", "--output", path, name)
    with path.open("rb") as file, hythe.store.writing():
        [archived] = read_archive(file, hythe.store)
        hythe.store.put(archived.descriptor, Reference.parse(name))


def test_docker_runs_what_hythe_committed(hythe_box: ContainersHythe, docker: Docker, tmp_path: Path) -> None:
    """Docker sees the same files, deletions, hard links, modes, owners and pipes; the ID is the same."""
    hythe_box.ok("run", "--name", "work", "box", "sh", "-c", looked(CHANGES))
    order = ("-a", "Ada", "-m", "why", "-c", 'CMD ["sh", "-c", "echo $GREETING"]', "-c", "ENV GREETING='hello there'")
    image_id = hythe_box.ok("commit", *order, "work", "made:1")
    to_docker(hythe_box, docker, "made:1", tmp_path)

    assert docker.image_id("made:1") == image_id
    assert docker.ok("run", "--rm", "--network", "none", "made:1") == "hello there"
    done = docker.run("run", "--rm", "--network", "none", "made:1", "sh", "-c", looked(LOOK))
    assert done.stdout == SEEN
    assert done.stderr.count("No such file") == 2
    history = docker.ok("history", "--no-trunc", "--format", "{{.Comment}}|{{.CreatedBy}}", "made:1").splitlines()
    assert history[0].startswith("why|sh -c")
    assert docker.ok("image", "inspect", "--format", "{{.Author}}", "made:1") == "Ada"


def test_hythe_runs_what_docker_committed(hythe_box: ContainersHythe, docker: Docker, tmp_path: Path) -> None:
    """hythe's container has everything that is in docker's layer."""
    to_docker(hythe_box, docker, "box", tmp_path)
    docker.ok("run", "--name", "work", "--network", "none", "box", "sh", "-c", looked(CHANGES))
    docker.ok("commit", "--change", 'ENTRYPOINT ["sh", "-c"]', "work", "made:1")
    from_docker(docker, hythe_box, "made:1", tmp_path)
    done = hythe_box.run("run", "--rm", "made:1", looked(LOOK))

    assert done.stdout == SEEN
    assert done.stderr.count("No such file") == 2
    assert hythe_box.ok("commit", hythe_box.ok("create", "made:1"), "again:1").startswith("sha256:")


def test_diff_is_the_same_as_dockers(hythe_box: ContainersHythe, docker: Docker, tmp_path: Path) -> None:
    """The same changes are listed in the same way."""
    to_docker(hythe_box, docker, "box", tmp_path)
    docker.ok("run", "--name", "work", "--network", "none", "box", "sh", "-c", looked(CHANGES))
    hythe_box.ok("run", "--name", "work", "box", "sh", "-c", looked(CHANGES))

    assert sorted(hythe_box.ok("diff", "work").splitlines()) == sorted(docker.ok("diff", "work").splitlines())


@pytest.mark.parametrize("spelled", ["docker:work", "work"])
def test_committing_dockers_container(hythe_box: ContainersHythe, docker: Docker, tmp_path: Path, spelled: str) -> None:
    """A running docker container becomes an image in hythe's store; docker keeps no copy."""
    hythe_box.env["DOCKER_HOST"] = docker.env["DOCKER_HOST"]
    to_docker(hythe_box, docker, "box", tmp_path)
    docker.ok("run", "-d", "--name", "work", "--network", "none", "box", "sh", "-c", looked(CHANGES) + "sleep 100")
    before = docker.ok("images", "-aq")
    order = ("-a", "Ada", "-m", "why", "-c", "LABEL a=b", "-c", "HEALTHCHECK --interval=5s CMD true")
    image_id = hythe_box.ok("commit", *order, spelled, "taken:1")
    config = hythe_box.store.read_config(hythe_box.store.resolve("taken:1"))

    assert str(hythe_box.store.resolve("taken:1").id) == image_id
    assert (config.author, config.history[-1].comment) == ("Ada", "why")
    assert config.config is not None
    assert (config.config.labels or {})["a"] == "b"
    assert config.config.healthcheck is not None
    assert hythe_box.run("run", "--rm", "taken:1", "sh", "-c", looked(LOOK)).stdout == SEEN
    assert docker.ok("images", "-aq") == before


def test_committing_podmans_container(hythe_box: ContainersHythe, podman: ContainersTool, tmp_path: Path) -> None:
    """A podman container becomes an image in hythe's store."""
    path = tmp_path / "image.tar"
    with path.open("wb") as file:
        image = hythe_box.store.resolve("box")
        write_archive(file, hythe_box.store, [ArchivedImage(image.entry.descriptor, image.entry.references)])
    podman.ok("load", "--input", path)
    podman.ok("run", "--name", "work", "--network", "none", "docker.io/library/box", "sh", "-c", looked(CHANGES))
    hythe_box.env.update({key: podman.env[key] for key in podman.env if key.startswith(("CONTAINERS_", "XDG_"))})
    hythe_box.env["HOME"] = podman.env["HOME"]
    hythe_box.ok("commit", "-a", "Ada", "-m", "why", "-c", "LABEL a=b", "podman:work", "taken:1")
    config = hythe_box.store.read_config(hythe_box.store.resolve("taken:1"))

    assert config.author == "Ada"  # where the message goes is podman's affair: 4.3 keeps it out of the history
    assert config.config is not None
    assert (config.config.labels or {})["a"] == "b"
    assert hythe_box.run("run", "--rm", "taken:1", "sh", "-c", looked(LOOK)).stdout == SEEN


def test_an_unknown_container_of_an_engine(hythe_box: ContainersHythe, docker: Docker) -> None:
    """The error says whether the container or the engine does not exist."""
    hythe_box.env["DOCKER_HOST"] = "unix:///nowhere/docker.sock"
    missing = hythe_box.run("commit", "docker:nobody", "x:1")
    hythe_box.env["DOCKER_HOST"] = docker.env["DOCKER_HOST"]
    unknown = hythe_box.run("commit", "docker:nobody", "x:1")

    assert (missing.returncode, unknown.returncode) == (3, 3)
    assert "docker is not available" in missing.stderr
    assert "docker has no container 'nobody'" in unknown.stderr
    assert hythe_box.run("commit", "nobody", "x:1").returncode == 3


def test_a_commit_keeps_the_media_types(hythe_box: ContainersHythe) -> None:
    """An OCI image remains one; an unchanged container adds a history entry and no layer."""
    hythe_box.ok("run", "--name", "idle", "box", "true")
    hythe_box.ok("commit", "-m", "nothing", "idle", "same:1")
    before, after = hythe_box.store.resolve("box"), hythe_box.store.resolve("same:1")
    history = hythe_box.store.read_config(after).history

    assert after.manifest.media_type == OCI_MANIFEST != DOCKER_MANIFEST
    assert after.manifest.layers == before.manifest.layers
    assert (history[-1].empty_layer, history[-1].comment) == (True, "nothing")


def test_a_container_continues_after_its_commit(hythe_box: ContainersHythe) -> None:
    """It is only paused during the commit."""
    hythe_box.ok("run", "-d", "--name", "work", "box", "sh", "-c", "while :; do echo x; sleep 0.1; done")
    hythe_box.ok("commit", "work", "made:1")
    written = len(hythe_box.ok("logs", "work"))
    deadline = time.monotonic() + 20
    while len(hythe_box.ok("logs", "work")) <= written:
        assert time.monotonic() < deadline


def test_layers_are_reproducible(hythe_box: ContainersHythe) -> None:
    """Committing the same container twice, even a running one, creates the same layer."""
    hythe_box.ok("run", "-d", "--name", "work", "box", "sh", "-c", looked(CHANGES) + "sleep 100")
    while "/srv/pipe" not in hythe_box.ok("diff", "work"):
        continue
    hythe_box.ok("commit", "work", "one:1")
    hythe_box.ok("commit", "--no-pause", "work", "two:1")
    one, two = hythe_box.store.resolve("one:1"), hythe_box.store.resolve("two:1")

    assert one.manifest.layers == two.manifest.layers
    assert len(one.manifest.layers) == 3


@pytest.mark.parametrize("change", ["RUN true", "CMD", "ENV novalue", "EXPOSE 99999", "WORKDIR"])
def test_changes_that_docker_refuses(hythe_box: ContainersHythe, change: str) -> None:
    """An invalid instruction is refused before anything is created."""
    hythe_box.ok("create", "--name", "work", "box")
    done = hythe_box.run("commit", "-c", change, "work", "made:1")

    assert done.returncode == 2
    assert "made" not in json.dumps([entry.names for entry in hythe_box.store.entries()])


def test_a_digest_names_no_new_image(hythe_box: ContainersHythe) -> None:
    """A digest is refused as the name of a new image."""
    hythe_box.ok("create", "--name", "work", "box")
    done = hythe_box.run("commit", "work", f"made@sha256:{'a' * 64}")

    assert done.returncode == 2
    assert "made" not in hythe_box.ok("images")


def test_an_image_of_several_platforms(hythe_box: ContainersHythe) -> None:
    """An index's image for this machine is run and committed, even if the index has others."""
    layout = Layout(hythe_box.folder / "store")
    images = [
        layout.add_image([busybox_rootfs(), layer_tar({"etc/platform": f"{name}\n"})], name)
        for name in ("linux/s390x", str(host_platform()).replace("/v8", ""))
    ]
    layout.tag(layout.add_index(images), "docker.io/library/many:latest")
    hythe_box.ok("run", "--name", "work", "many", "sh", "-c", "cat /etc/platform; echo 1 > /one")
    hythe_box.ok("commit", "work", "made:1")
    made = hythe_box.store.resolve("made:1")

    assert hythe_box.ok("logs", "work") == str(host_platform()).replace("/v8", "")
    assert hythe_box.ok("run", "--rm", "made:1", "cat", "/one") == "1"
    assert [layer.digest for layer in made.manifest.layers][:2] == [
        layer.digest for layer in hythe_box.store.resolve("many").manifest.layers
    ]


def test_declared_volumes_are_not_committed(hythe_box: ContainersHythe) -> None:
    """Files in a volume are not part of the image; the volume starts with the image's content."""
    hythe_box.ok("create", "--name", "base", "box")
    hythe_box.ok("commit", "-c", "VOLUME /data", "base", "volume:1")
    hythe_box.ok("run", "--name", "work", "volume:1", "sh", "-c", "cat /data/seed; echo x > /data/x; echo y > /y")
    hythe_box.ok("commit", "work", "made:1")

    assert hythe_box.ok("logs", "work") == "seed"
    assert hythe_box.ok("diff", "work") == "A /y"
    assert hythe_box.ok("run", "--rm", "made:1", "ls", "/data") == "seed"


def test_a_docker_image_remains_one(hythe_box: ContainersHythe, skopeo: ContainersTool) -> None:
    """A new image has docker's media types if its base image has."""
    store = f"oci:{hythe_box.folder}/store:docker.io/library/box:latest"
    skopeo.ok("copy", "--format", "v2s2", store, f"dir:{hythe_box.folder}/dir")
    manifest = (hythe_box.folder / "dir/manifest.json").read_bytes()
    with hythe_box.store.writing():
        descriptor = Manifest.parse(manifest).descriptor()
        hythe_box.store.add_document(manifest)
        for blob in Manifest.parse(manifest).blobs:
            with (hythe_box.folder / "dir" / blob.parsed_digest.hex).open("rb") as file:
                hythe_box.store.add_blob(file, blob.parsed_digest)
        hythe_box.store.put(descriptor, Reference.parse("old:1"))
    hythe_box.ok("run", "--name", "work", "old:1", "sh", "-c", "echo 1 > /one")
    hythe_box.ok("commit", "work", "made:1")
    made = hythe_box.store.resolve("made:1").manifest

    assert made.media_type == DOCKER_MANIFEST
    assert {layer.media_type for layer in made.layers} == {DOCKER_LAYER_GZIP}
    assert made.config is not None
    assert made.config.media_type == DOCKER_CONFIG
