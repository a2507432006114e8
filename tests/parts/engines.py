"""Real container engines, each with its own storage and credentials: dockerd, podman, buildah, skopeo.

dockerd does not change the host's network (no bridge, no iptables): containers use `--network none` or `host`.
podman's runtime is detected by trying, because crun does not support hosts with hybrid cgroups.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.parts.process import (
    PartFailed,
    Program,
    clear_away,
    own_folder,
    program,
    with_hosts,
)

SETTINGS = ".config/containers"
"""Where all three tools look below HOME, also as root."""

Completed = subprocess.CompletedProcess[str]

NO_NETWORK = (
    "--bridge=none",
    "--iptables=false",
    "--ip6tables=false",
    "--ip-forward=false",
    "--userland-proxy=false",
)


@dataclass(slots=True)
class Tool:
    """A command with its own environment. `run` never raises; `ok` returns stdout, or fails with the output."""

    command: list[str]
    env: dict[str, str]

    def run(self, *arguments: str | Path, stdin: str | None = None, seconds: float = 300) -> Completed:
        """Run the command and return the result."""
        return subprocess.run(
            [*self.command, *map(str, arguments)],
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )

    def ok(self, *arguments: str | Path, stdin: str | None = None, seconds: float = 300) -> str:
        """Run the command, fail unless it succeeds, and return its output without the last newline."""
        done = self.run(*arguments, stdin=stdin, seconds=seconds)
        assert done.returncode == 0, f"{' '.join(map(str, done.args))}\n{done.stdout}{done.stderr}"
        return done.stdout.removesuffix("\n")


@dataclass(slots=True)
class Docker(Tool):
    """The docker command for one daemon, with its own DOCKER_CONFIG folder."""

    config: Path

    def import_image(self, tar: Path, name: str, *changes: str) -> str:
        """Create an image named `name` from a root file system, and return its ID."""
        flags = [part for change in ("CMD /bin/sh", *changes) for part in ("--change", change)]
        return self.ok("import", *flags, tar, name)

    def login(self, host: str, user: str, password: str) -> Completed:
        """`docker login` with the password on stdin."""
        return self.run("login", "--username", user, "--password-stdin", host, stdin=password)

    def image_id(self, name: str) -> str:
        """The full ID of a local image."""
        return self.ok("image", "inspect", "--format", "{{.Id}}", name)

    def remove_everything(self) -> None:
        """Remove all containers, images and volumes from the daemon."""
        containers = self.ok("ps", "--all", "--quiet").split()
        if containers:
            self.ok("rm", "--force", "--volumes", *containers)
        images = sorted(set(self.ok("images", "--all", "--quiet", "--no-trunc").split()))
        if images:
            self.run("rmi", "--force", *images)
        self.ok("system", "prune", "--all", "--force", "--volumes")


@dataclass(slots=True)
class Dockerd:
    """A running Docker daemon."""

    socket: Path
    folder: Path
    log: Path

    def client(self, config: Path, cli: str | None = None) -> Docker:
        """Return a docker command for this daemon, with its credentials in the folder `config`."""
        config.mkdir(parents=True, exist_ok=True)
        env = clean_environment(config) | {"DOCKER_HOST": f"unix://{self.socket}", "DOCKER_CONFIG": str(config)}
        return Docker([cli or docker_command()], env, config)


def docker_command() -> str:
    """Return Debian's docker if installed, so that command and daemon have the same version."""
    return "/usr/bin/docker" if Path("/usr/bin/docker").exists() else program("docker", "docker.io")


def clean_environment(home: Path) -> dict[str, str]:
    """Return the environment without credentials and container settings of the user."""
    ours = ("DOCKER_", "CONTAINER", "REGISTRY_", "XDG_", "HYTHE_", "BUILDAH_", "STORAGE_")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(ours)}
    return kept | {"HOME": str(home), "PATH": f"{kept['PATH']}:/usr/sbin:/sbin"}


@contextlib.contextmanager
def running_dockerd(extra: Sequence[str] = (), hosts: Mapping[str, str] | None = None) -> Iterator[Dockerd]:
    """Run a separate daemon; `extra` are flags for it, `hosts` (name -> address) are only known to it."""
    for driver in ("overlay2", "vfs"):
        with own_folder("dockerd") as folder:
            flags = [f"--storage-driver={driver}", *extra]
            try:
                daemon, started = _start_dockerd(folder, flags, hosts or {})
            except PartFailed:
                if driver == "vfs":
                    raise
                continue
            try:
                yield daemon
            finally:
                _stop_dockerd(daemon, started)
            return


def _start_dockerd(folder: Path, flags: list[str], hosts: Mapping[str, str]) -> tuple[Dockerd, Program]:
    daemon = Dockerd(folder / "docker.sock", folder, folder / "log")
    command = [
        program("dockerd", "docker.io"),
        f"--data-root={folder / 'data'}",
        f"--exec-root={folder / 'exec'}",
        f"--host=unix://{daemon.socket}",
        f"--pidfile={folder / 'pid'}",
        f"--config-file={folder / 'daemon.json'}",
        *NO_NETWORK,
        *flags,
    ]
    (folder / "daemon.json").write_text("{}")
    if hosts:
        command = with_hosts(command, hosts, folder)
    client = daemon.client(folder / "client")
    started = Program(command, daemon.log, env=clean_environment(folder))
    try:
        started.wait_until(lambda: client.run("version").returncode == 0)
    except PartFailed:
        _stop_dockerd(daemon, started)
        raise
    return daemon, started


def _stop_dockerd(daemon: Dockerd, started: Program) -> None:
    """Stop the daemon, then the processes that it left: containerd and its shims have their own process groups."""
    started.stop()
    clear_away(daemon.folder)


@dataclass(slots=True)
class ContainersTool(Tool):
    """podman, buildah or skopeo, with their shared configuration files in one folder."""

    folder: Path
    http_hosts: list[str] = field(default_factory=list)

    @property
    def auth_file(self) -> Path:
        """The file that `login` writes credentials to (REGISTRY_AUTH_FILE)."""
        return self.folder / "auth.json"

    def login(self, host: str, user: str, password: str) -> Completed:
        """`login` with the password on stdin."""
        return self.run("login", "--username", user, "--password-stdin", host, stdin=password)

    def allow_http(self, host: str) -> None:
        """Let the tool use plain HTTP for `host` (HOST:PORT), as in an administrator's registries.conf."""
        self.http_hosts.append(host)
        write_registries(self.folder, self.http_hosts)

    def add_hosts(self, hosts: Mapping[str, str]) -> None:
        """Let only this tool resolve these names (name -> address), like lines in /etc/hosts."""
        self.command = with_hosts(self.command, hosts, self.folder)

    def inspect(self, *arguments: str | Path) -> Any:
        """Run the command, which must succeed and print JSON, and return the value."""
        return json.loads(self.ok(*arguments))


def write_registries(folder: Path, http_hosts: Sequence[str]) -> None:
    """Write registries.conf: no search registries, and plain HTTP for these hosts."""
    rows = [f'[[registry]]\nlocation = "{host}"\ninsecure = true\n' for host in http_hosts]
    text = "unqualified-search-registries = []\nshort-name-mode = 'disabled'\n"
    (folder / SETTINGS / "registries.conf").write_text(text + "".join(rows))


def containers_environment(folder: Path, driver: str, runtime: str) -> dict[str, str]:
    """Write the configuration of podman, buildah and skopeo into `folder`; returns the environment to use it."""
    (folder / SETTINGS).mkdir(parents=True, exist_ok=True)
    (folder / SETTINGS / "policy.json").write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
    write_registries(folder, [])
    (folder / "storage.conf").write_text(
        f'[storage]\ndriver = "{driver}"\ngraphroot = "{folder}/graph"\nrunroot = "{folder}/run"\n'
    )
    (folder / "containers.conf").write_text(
        '[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]\nnetns = "none"\n'
        f'[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\nlock_type = "file"\nruntime = "{runtime}"\n'
        f'volume_path = "{folder}/volumes"\ntmp_dir = "{folder}/tmp"\n'
    )
    (folder / "temporary").mkdir(exist_ok=True)
    (folder / "auth.json").write_text("{}")
    return clean_environment(folder) | {
        "CONTAINERS_CONF": str(folder / "containers.conf"),
        "CONTAINERS_STORAGE_CONF": str(folder / "storage.conf"),
        "CONTAINERS_REGISTRIES_CONF": str(folder / SETTINGS / "registries.conf"),
        "REGISTRY_AUTH_FILE": str(folder / "auth.json"),
        "TMPDIR": str(folder / "temporary"),
        "BUILDAH_ISOLATION": "chroot",
    }


@dataclass(frozen=True, slots=True)
class PodmanConfiguration:
    """The storage driver and runtime that work on this machine."""

    driver: str
    runtime: str


def try_podman(setup: PodmanConfiguration, busybox_tar: Path) -> str | None:
    """Run a container with a configuration; returns the error, or None."""
    with own_folder("podman") as folder:
        podman = ContainersTool([program("podman", "podman")], _podman_environment(folder, setup), folder)
        imported = podman.run("import", "--quiet", busybox_tar, "localhost/trial")
        if imported.returncode != 0:
            return imported.stderr
        ran = podman.run("run", "--rm", "--network", "none", "localhost/trial", "/bin/true")
        return None if ran.returncode == 0 else ran.stderr


def _podman_environment(folder: Path, setup: PodmanConfiguration) -> dict[str, str]:
    return containers_environment(folder, setup.driver, setup.runtime)


@pytest.fixture(scope="session")
def start_dockerd() -> Iterator[Callable[..., Dockerd]]:
    """Factory `start_dockerd(extra=["--registry-mirror=.."], hosts={"name": "127.0.0.1"})`."""
    with contextlib.ExitStack() as stack:
        yield lambda **wishes: stack.enter_context(running_dockerd(**wishes))


@pytest.fixture(scope="session")
def dockerd() -> Iterator[Dockerd]:
    """The session's Docker daemon."""
    with running_dockerd() as daemon:
        yield daemon


@pytest.fixture
def docker(dockerd: Dockerd, tmp_path: Path) -> Iterator[Docker]:
    """The docker command on the session's daemon, without credentials, images and containers of other tests."""
    client = dockerd.client(tmp_path / "docker-config")
    yield client
    client.remove_everything()


@pytest.fixture(scope="session")
def podman_configuration(busybox_tar: Path) -> PodmanConfiguration:
    """The storage driver and runtime with which podman can run containers on this machine."""
    reasons = []
    for driver in ("overlay", "vfs"):
        for runtime in ("crun", "runc"):
            setup = PodmanConfiguration(driver, runtime)
            problem = try_podman(setup, busybox_tar)
            if problem is None:
                return setup
            reasons.append(f"{setup}: {problem}")
    pytest.fail("podman runs no container on this machine:\n" + "\n".join(reasons))


@pytest.fixture
def podman(podman_configuration: PodmanConfiguration) -> Iterator[ContainersTool]:
    """podman with empty storage and no credentials."""
    with own_folder("podman") as folder:
        tool = ContainersTool([program("podman", "podman")], _podman_environment(folder, podman_configuration), folder)
        yield tool
        tool.run("rm", "--all", "--force", "--time", "0")


@pytest.fixture
def buildah(podman_configuration: PodmanConfiguration) -> Iterator[ContainersTool]:
    """buildah with empty storage, no credentials and chroot isolation."""
    with own_folder("buildah") as folder:
        env = _podman_environment(folder, podman_configuration)
        tool = ContainersTool([program("buildah", "buildah")], env, folder)
        yield tool
        tool.run("rm", "--all")


@pytest.fixture
def skopeo() -> Iterator[ContainersTool]:
    """skopeo without credentials."""
    with own_folder("skopeo") as folder:
        env = containers_environment(folder, "vfs", "runc")
        yield ContainersTool([program("skopeo", "skopeo")], env, folder)
