"""The private registry with TLS and an htpasswd file, started as in `docs/operating.md`."""

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.parts.base_images import Layout
from tests.parts.docker_registry import Certificate, htpasswd
from tests.parts.engines import ContainersTool, Docker
from tests.parts.hub import HytheServer

pytestmark = pytest.mark.clients


@pytest.fixture
def registry(
    certificate: Certificate, start_private_registry: Callable[..., HytheServer], tmp_path: Path
) -> HytheServer:
    """A private registry with a certificate of a private CA, for user ann only."""
    users = tmp_path / "users"
    users.write_text(htpasswd({"ann": "secret"}))
    flags = ["--tls-cert", certificate.cert, "--tls-key", certificate.key, "--htpasswd", users]
    return start_private_registry([str(flag) for flag in flags])


def test_skopeo_checks_the_certificate_and_logs_in(
    registry: HytheServer, certificate: Certificate, skopeo: ContainersTool, busybox_layout: Layout, tmp_path: Path
) -> None:
    """Push and pull work; without the CA or the password, both fail."""
    certificate.trust_in(tmp_path / "certs", "here")
    trust = str(tmp_path / "certs/here")
    image, source = f"docker://{registry.host}/app", f"oci:{busybox_layout.folder}:latest"

    skopeo.ok("copy", "--dest-cert-dir", trust, "--dest-creds", "ann:secret", source, image)
    skopeo.ok("copy", "--src-cert-dir", trust, "--src-creds", "ann:secret", image, f"dir:{tmp_path}/back")

    assert "certificate" in skopeo.run("copy", "--dest-creds", "ann:secret", source, image).stderr
    assert skopeo.run("copy", "--dest-cert-dir", trust, source, image).returncode != 0
    assert registry.scheme == "https"


def test_docker_pushes_and_pulls(registry: HytheServer, docker: Docker, busybox_tar: Path) -> None:
    """docker uses TLS, and accepts any certificate for a loopback address."""
    name = f"{registry.host}/repo_name"
    docker.import_image(busybox_tar, name)
    docker.login(registry.host, "ann", "secret")
    docker.ok("push", name)
    before = docker.image_id(name)
    docker.ok("rmi", name)

    docker.ok("pull", name)

    assert docker.image_id(name) == before
