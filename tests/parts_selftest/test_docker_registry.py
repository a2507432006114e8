"""Debian's registry as a peer: open, with passwords, with TLS, and as a mirror."""

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.parts.base_images import Layout
from tests.parts.docker_registry import Certificate, DockerRegistry
from tests.parts.engines import ContainersTool, Dockerd

pytestmark = pytest.mark.clients

Start = Callable[..., DockerRegistry]


def test_passwords_and_tls(
    skopeo: ContainersTool, start_docker_registry: Start, certificate: Certificate, busybox_layout: Layout
) -> None:
    """A push succeeds with the CA and the password; without the password it is refused."""
    server = start_docker_registry(users={"ann": "secret"}, certificate=certificate)
    target = f"docker://{server.host}/ann/busybox"
    certificate.trust_in(skopeo.folder / "certs.d", server.host)
    trust = ("--dest-cert-dir", skopeo.folder / "certs.d" / server.host)

    refused = skopeo.run("copy", *trust, busybox_layout.source(), target)
    accepted = skopeo.run("copy", *trust, "--dest-creds", "ann:secret", busybox_layout.source(), target)

    assert refused.returncode != 0
    assert accepted.returncode == 0, accepted.stderr


def test_a_mirror_pulls_through(
    skopeo: ContainersTool, docker_registry: DockerRegistry, start_docker_registry: Start, busybox_layout: Layout
) -> None:
    """Images pushed to the upstream can be pulled from the mirror."""
    mirror = start_docker_registry(mirror_of=docker_registry.url)
    skopeo.allow_http(docker_registry.host)
    skopeo.allow_http(mirror.host)
    skopeo.ok("copy", busybox_layout.source(), f"docker://{docker_registry.host}/library/busybox")

    assert skopeo.inspect("inspect", f"docker://{mirror.host}/library/busybox")["Architecture"] == "amd64"


def test_a_host_name_that_only_the_engines_know(
    start_dockerd: Callable[..., Dockerd],
    skopeo: ContainersTool,
    docker_registry: DockerRegistry,
    busybox_tar: Path,
    tmp_path: Path,
) -> None:
    """A push to `localhost.localdomain:PORT/repo_name` works, although the host cannot resolve the name."""
    hosts = {"localhost.localdomain": "127.0.0.1"}
    host = docker_registry.host.replace("127.0.0.1", "localhost.localdomain")
    docker = start_dockerd(hosts=hosts).client(tmp_path / "config")
    skopeo.add_hosts(hosts)
    skopeo.allow_http(host)

    docker.import_image(busybox_tar, f"{host}/repo_name")
    docker.ok("push", f"{host}/repo_name")

    assert skopeo.inspect("list-tags", f"docker://{host}/repo_name")["Tags"] == ["latest"]
