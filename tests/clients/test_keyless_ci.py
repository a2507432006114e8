"""A CI job logs in with its ID token, and engines push with what it got (``docs/keyless-ci.md``)."""

import base64
import json
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.parts.base_images import Layout
from tests.parts.ci_issuer import CIIssuer, running_issuer
from tests.parts.docker_registry import Certificate
from tests.parts.engines import ContainersTool, Docker
from tests.parts.hub import HytheServer
from tests.parts.hythe_client import HytheClient
from tests.parts.process import free_port

pytestmark = pytest.mark.clients

PASSWORD = "correct horse battery"


@pytest.fixture
def issuer(certificate: Certificate) -> Iterator[CIIssuer]:
    """GitHub's endpoint of a running job, and its issuer."""
    with running_issuer(certificate) as running:
        yield running


@pytest.fixture
def hub(start_hub: Callable[..., HytheServer], issuer: CIIssuer, certificate: Certificate) -> HytheServer:
    """A hub on which acme trusts the jobs of its repository web on GitHub."""
    address = f"127.0.0.1:{free_port()}"
    settings = {"HYTHE_PUBLIC_URL": f"http://{address}", "HYTHE_INTERNAL_NETWORKS": "127.0.0.1"}
    hub = start_hub(["--listen", address], env={"SSL_CERT_FILE": str(certificate.ca), **settings})
    hub.create_user("acme", PASSWORD)
    rule = {
        "name": "web",
        "issuer": issuer.url,
        "subject": "repo:acme/web:ref:refs/heads/main",
        "rights": ["repo:read", "repo:write"],
        "repositories": ["acme/web"],
    }
    header = "Basic " + base64.b64encode(f"acme:{PASSWORD}".encode()).decode()
    headers = {"Content-Type": "application/json", "Authorization": header}
    url = f"{hub.url}/api/v1/namespaces/acme/trust-rules"
    with urllib.request.urlopen(urllib.request.Request(url, json.dumps(rule).encode(), headers)) as response:
        assert response.status == 201
    return hub


def test_a_github_job_pushes(
    hub: HytheServer,
    issuer: CIIssuer,
    certificate: Certificate,
    hythe: HytheClient,
    docker: Docker,
    podman: ContainersTool,
    skopeo: ContainersTool,
    busybox_layout: Layout,
    busybox_tar: Path,
) -> None:
    """docker, podman and skopeo push with the login of ``hythe login --oidc``, to the repository of the rule alone."""
    hythe.env.update(issuer.job_environment, SSL_CERT_FILE=str(certificate.ca))

    assert "Login Succeeded" in hythe.ok("login", "--oidc", "-u", "acme", hub.host)

    authfile, image = hythe.docker_config, f"{hub.host}/acme/web"
    source = f"oci:{busybox_layout.folder}:latest"
    insecure = "--dest-tls-verify=false"
    skopeo.ok("copy", insecure, "--authfile", authfile, source, f"docker://{image}:skopeo")
    docker.import_image(busybox_tar, f"{image}:docker")
    docker.ok("--config", authfile.parent, "push", f"{image}:docker")
    podman.ok("pull", "--tls-verify=false", "--authfile", authfile, f"{image}:skopeo")
    podman.ok("push", "--tls-verify=false", "--authfile", authfile, f"{image}:skopeo", f"{image}:podman")
    refused = skopeo.run("copy", insecure, "--authfile", authfile, source, f"docker://{hub.host}/acme/other")
    assert refused.returncode != 0
    assert "denied" in refused.stderr or "unauthorized" in refused.stderr


def test_other_jobs(hub: HytheServer, issuer: CIIssuer, hythe: HytheClient, tmp_path: Path) -> None:
    """A token comes from a file, stdin or GitLab's variable; what is wrong is said in words, without the token."""
    token = issuer.id_token(hub.host)
    (tmp_path / "token").write_text(token)
    hythe.ok("login", "-u", "acme+web", "--oidc-token-file", tmp_path / "token", hub.host)
    hythe.ok("login", "-u", "acme", "--oidc-token-file", "-", hub.host, stdin=issuer.id_token(hub.host))

    again = hythe.run("login", "-u", "acme", "--oidc-token-file", tmp_path / "token", hub.host)
    without = hythe.run("login", "-u", "acme", "--oidc", hub.host)
    hythe.env["HYTHE_ID_TOKEN"] = issuer.id_token(hub.host, sub="repo:evil/web:ref:refs/heads/main")
    other = hythe.run("login", "-u", "acme", "--oidc", hub.host)

    assert "exchanged before" in again.stderr
    assert "no ID token" in without.stderr
    assert "trusts the subject 'repo:evil/web:ref:refs/heads/main'" in other.stderr
    assert token not in again.stderr
    assert all(done.returncode != 0 for done in (again, without, other))
