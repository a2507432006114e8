"""Hythe's own container image: what is in it, and a hub that runs in it, alone and with PostgreSQL and S3."""

from __future__ import annotations

import base64
import json
import subprocess
import tarfile
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from tests.parts.base_images import Layout
from tests.parts.engines import ContainersTool, PodmanConfiguration, Tool, containers_environment
from tests.parts.installed_hub import PASSWORD, push_and_pull, sign_up
from tests.parts.process import ROOT, answers, free_port, http_answers, own_folder, program
from tests.parts.s3 import S3Server

from hythe.provenance.envelope import open_envelope
from hythe.provenance.statement import PROVENANCE, SPDX

pytestmark = pytest.mark.clients

ENGINE_FLAGS = ("--network", "host", "--cap-drop", "all", "--security-opt", "no-new-privileges", "--read-only")

MAX_SIZE = 64 << 20
"""Bytes to download."""

IMPORT_ALL = """
import importlib, os, pkgutil, hythe
for module in pkgutil.walk_packages(hythe.__path__, "hythe."):
    importlib.import_module(module.name)
for name in os.listdir("/usr/lib/python3.13/lib-dynload"):
    importlib.import_module(name.partition(".")[0])
import ssl
assert ssl.create_default_context().get_ca_certs()
print("all imported")
"""


@dataclass(slots=True)
class Image:
    """The image in podman's store, as an OCI layout, and its configuration."""

    name: str
    podman: ContainersTool
    layout: Path

    def document(self, digest: str) -> Any:
        """Return a JSON document of the layout."""
        return json.loads((self.layout / "blobs" / digest.replace(":", "/")).read_bytes())

    @property
    def index(self) -> Any:
        """The index."""
        (descriptor,) = json.loads((self.layout / "index.json").read_text())["manifests"]
        return self.document(descriptor["digest"])

    @property
    def manifest(self) -> Any:
        """The manifest for this machine."""
        (manifest,) = self.index["manifests"]
        return self.document(manifest["digest"])


@dataclass(slots=True)
class Container:
    """A running container of the image."""

    image: Image
    id: str
    port: int

    @property
    def host(self) -> str:
        """The hub's HOST:PORT."""
        return f"127.0.0.1:{self.port}"

    def healthcheck(self) -> Any:
        """Run the image's health check, which must succeed, and return what it prints."""
        return json.loads(self.image.podman.ok("exec", self.id, "healthcheck"))

    def stop(self) -> int:
        """Send SIGTERM, remove the container, and return its exit code."""
        podman = self.image.podman
        podman.ok("stop", "--time", "30", self.id)
        code = int(podman.ok("inspect", "--format", "{{.State.ExitCode}}", self.id))
        podman.ok("rm", self.id)
        return code


@pytest.fixture(scope="module")
def image(podman_configuration: PodmanConfiguration) -> Iterator[Image]:
    """The image for this machine, built by ``scripts/image``."""
    with own_folder("image") as folder:
        environment = containers_environment(folder, podman_configuration.driver, podman_configuration.runtime)
        podman = ContainersTool([program("podman", "podman")], environment, folder)
        architecture = subprocess.run(["dpkg", "--print-architecture"], check=True, capture_output=True, text=True)
        command = [ROOT / "scripts/image", "--cached", "--platforms", f"linux/{architecture.stdout.strip()}"]
        layout = folder / "layout"
        done = subprocess.run(
            [*command, "--layout", layout], env=environment, capture_output=True, text=True, timeout=600, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        yield Image(done.stdout.split()[-3], podman, layout)
        podman.run("rm", "--all", "--force", "--time", "0")


def wait_until_ready(image: Image, container: str, host: str) -> None:
    """Wait until the hub in a container is ready; fails, with its log, if the container ends."""
    while not answers(lambda: http_answers(f"http://{host}/readyz")):
        running = image.podman.ok("inspect", "--format", "{{.State.Running}}", container)
        assert running == "true", image.podman.run("logs", container).stderr
        time.sleep(0.2)


@pytest.fixture
def start_container(image: Image) -> Callable[..., Container]:
    """Factory `start_container("--podman-flag", .., user="12345:0", port=..)`: a hub that is ready."""

    def start(*flags: str, user: str = "", port: int = 0) -> Container:
        port = port or free_port()
        chosen = (*flags, *(("--user", user) if user else ()), "--env", f"HYTHE_LISTEN=127.0.0.1:{port}")
        container = Container(image, image.podman.ok("run", "--detach", *ENGINE_FLAGS, *chosen, image.name), port)
        wait_until_ready(image, container.id, container.host)
        return container

    return start


def test_the_contents(image: Image) -> None:
    """The image is small, is described, runs as an ordinary user, and has no shell, package manager or compiler."""
    manifest = image.manifest
    configuration = image.document(manifest["config"]["digest"])
    paths: set[Path] = set()
    for layer in manifest["layers"]:
        with tarfile.open(image.layout / "blobs" / layer["digest"].replace(":", "/")) as tar:
            paths.update(map(Path, tar.getnames()))
    programs = {path.name for path in paths if path.parent.name in ("bin", "sbin")}

    assert sum(layer["size"] for layer in manifest["layers"]) < MAX_SIZE
    assert configuration["config"]["User"] == "10001:0"
    assert configuration["config"]["StopSignal"] == "SIGTERM"
    assert set(configuration["config"]["Volumes"]) == {"/data"}
    assert manifest["annotations"]["org.opencontainers.image.title"] == "Hythe"
    assert programs == {"hythe", "healthcheck", "python3", "python3.13"}, "no shell, package manager or compiler"
    compiled = {"main.cpython-313.pyc", "applications.cpython-313.pyc", "tarfile.cpython-313.pyc"}
    assert compiled | {"METADATA", "copyright", "ca-certificates.crt"} <= {path.name for path in paths}


def test_every_module_can_be_imported(image: Image) -> None:
    """No library is missing that a module of Python, Hythe or its dependencies needs."""
    run = ("run", "--rm", *ENGINE_FLAGS, "--entrypoint", "/usr/bin/python3", image.name)

    assert image.podman.ok(*run, "-c", IMPORT_ALL) == "all imported"


def test_a_restart_keeps_the_data(
    start_container: Callable[..., Container],
    skopeo: ContainersTool,
    busybox_layout: Layout,
    tmp_path: Path,
) -> None:
    """As any user id, a hub pushes and pulls, stops cleanly on SIGTERM, and continues with its volume."""
    volume = ("--volume", "hub:/data")
    first = start_container(*volume, user="12345:0")
    name = push_and_pull(skopeo, busybox_layout, first.host, tmp_path)
    health = first.healthcheck()
    code = first.stop()
    start_container(*volume, user="12345:0", port=first.port)

    assert health["ready"] is True
    assert code == 0
    assert skopeo.inspect("inspect", name)["Digest"] == skopeo.inspect("inspect", busybox_layout.source())["Digest"]


@pytest.mark.postgresql
@pytest.mark.object_store
def test_postgresql_and_s3(
    start_container: Callable[..., Container],
    skopeo: ContainersTool,
    busybox_layout: Layout,
    postgresql_url: str,
    s3: S3Server,
    s3_bucket: str,
    tmp_path: Path,
    image: Image,
) -> None:
    """With PostgreSQL and S3, a hub needs no volume: another container serves what the first stored."""
    settings = s3.env | {"HYTHE_DATABASE_URL": postgresql_url, "HYTHE_BLOB_STORE": f"s3://{s3_bucket}/blobs"}
    secret = {"HYTHE_SECRET_KEY": base64.b64encode(uuid.uuid4().bytes * 2).decode()}
    flags = [part for each in (settings | secret).items() for part in ("--env", "=".join(each))]
    data = ("--tmpfs", "/data:mode=1777")
    upgrade = image.podman.ok("run", "--rm", *ENGINE_FLAGS, *flags, *data, image.name, "admin", "upgrade")
    first = start_container(*flags, *data)
    name = push_and_pull(skopeo, busybox_layout, first.host, tmp_path)
    code = first.stop()
    start_container(*flags, *data, port=first.port)

    assert "schema" in upgrade
    assert code == 0
    skopeo.ok("copy", name, f"oci:{tmp_path}/again:1")


def test_it_is_published_with_its_materials(
    image: Image, start_container: Callable[..., Container], skopeo: ContainersTool, tmp_path: Path
) -> None:
    """``scripts/publish-image`` attaches a bill of materials and provenance, which the key verifies."""
    hub = start_container()
    sign_up(hub.host, "ann")
    skopeo.allow_http(hub.host)
    assert skopeo.login(hub.host, "ann", PASSWORD).returncode == 0
    key = tmp_path / "key.pem"
    make_key = ("openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", key)
    subprocess.run(make_key, check=True, capture_output=True)
    name = f"{hub.host}/ann/hythe:1"
    options = ("--key", key, "--source", "https://git.example.org/hythe", "--layout", image.layout, "--plain-http")
    done = subprocess.run(
        [ROOT / "scripts/publish-image", *options, name], env=skopeo.env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (digest,) = (each["digest"] for each in image.index["manifests"])
    tag = digest.replace(":", "-") + ".att"
    skopeo.ok("copy", f"docker://{hub.host}/ann/hythe:{tag}", f"dir:{tmp_path}/att")
    public = serialization.load_pem_private_key(key.read_bytes(), None).public_key()
    assert isinstance(public, EllipticCurvePublicKey)
    layers = json.loads((tmp_path / "att/manifest.json").read_text())["layers"]
    opened = (open_envelope((tmp_path / "att" / each["digest"][7:]).read_bytes(), [public]) for each in layers)
    statements = {each["predicateType"]: each for each in map(json.loads, opened)}
    with urllib.request.urlopen(f"http://{hub.host}/v2/ann/hythe/referrers/{digest}", timeout=30) as response:
        referrers = json.load(response)["manifests"]
    packages = {each["name"] for each in statements[SPDX]["predicate"]["packages"]}

    assert {"libssl3t64", "libc6", "hythe", "uvicorn", "sqlalchemy"} <= packages
    assert statements[PROVENANCE]["subject"][0]["digest"]["sha256"] == digest[7:]
    assert len(referrers) == 3, "a Sigstore bundle for each statement, and the manifest with both"


@pytest.mark.long
def test_compose_runs_it(image: Image, skopeo: ContainersTool, busybox_layout: Layout, tmp_path: Path) -> None:
    """podman-compose starts `one.yaml`, removes the containers, and starts it again with the same data."""
    host = f"127.0.0.1:{free_port()}"
    # Where tests run, containers cannot always have a network of their own.
    here = {"network_mode": "host", "environment": {"HYTHE_LISTEN": host}, "ulimits": {"nofile": 1024, "nproc": 4096}}
    override = tmp_path / "here.yaml"
    override.write_text(yaml.safe_dump({"services": {"hythe": here}}) + "    ports: !reset []\n")
    files = ("-f", ROOT / "deploy/compose/one.yaml", "-f", override)
    command = [str(ROOT / ".venv/bin/podman-compose"), "--project-name", "hub"]
    compose = Tool(command, image.podman.env | {"HYTHE_IMAGE": image.name})

    def start() -> None:
        compose.ok(*files, "up", "--detach")
        wait_until_ready(image, "hub_hythe_1", host)

    start()
    name = push_and_pull(skopeo, busybox_layout, host, tmp_path)
    compose.ok(*files, "down")
    assert "hub_hythe_1" not in image.podman.ok("ps", "--all", "--format", "{{.Names}}").split()
    start()

    assert skopeo.inspect("inspect", name)["Digest"] == skopeo.inspect("inspect", busybox_layout.source())["Digest"]
    assert json.loads(image.podman.ok("exec", "hub_hythe_1", "healthcheck"))["ready"] is True
