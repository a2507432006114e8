"""A CI job logs in with its ID token, and engines push with what it got (``docs/keyless-ci.md``)."""

import base64
import json
import re
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.parts.base_images import Layout
from tests.parts.ci_issuer import CIIssuer, running_issuer
from tests.parts.docker_registry import Certificate
from tests.parts.engines import ContainersTool, Docker
from tests.parts.hub import HytheServer
from tests.parts.hythe_client import HytheClient
from tests.parts.process import ROOT, free_port

pytestmark = pytest.mark.clients

PASSWORD = "correct horse battery"
PAGE = (ROOT / "docs/keyless-ci.md").read_text()


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


def _documented(name: str) -> dict[str, Any]:
    """The job ``push`` of the example in the documentation that begins with ``name``."""
    [example] = re.findall(rf"^{name}, [^`]*(?:`[^`]+`[^`]*)?```yaml\n(.+?)```", PAGE, re.MULTILINE | re.DOTALL)
    document: dict[str, Any] = yaml.safe_load(example)
    job: dict[str, Any] = document.get("jobs", document)["push"]
    return job


def _run_step(step: str, hub: HytheServer, docker: Docker, folder: Path, env: dict[str, str]) -> str:
    """Run a step as a runner does, with http in place of https for the hub of the test; return what it printed."""
    (folder / "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /\n")
    done = subprocess.run(
        ["bash", "-e", "-c", step.replace("https://$HUB/", "http://$HUB/")],
        cwd=folder,
        env=docker.env | env | {"HUB": hub.host},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return f"{done.returncode}: {done.stdout}{done.stderr}"


def test_the_documented_github_job(
    hub: HytheServer, issuer: CIIssuer, certificate: Certificate, docker: Docker, tmp_path: Path
) -> None:
    """Its steps log in and push; it uses nothing but actions of GitHub and what runners have."""
    env = issuer.job_environment | {"CURL_CA_BUNDLE": str(certificate.ca)}
    checkout, *steps = _documented("GitHub Actions")["steps"]

    printed = [_run_step(step["run"], hub, docker, tmp_path, env) for step in steps]

    assert checkout["uses"].startswith("actions/checkout@")
    assert "Login Succeeded" in printed[0]
    assert all(each.startswith("0:") for each in printed), printed
    docker.ok("pull", f"{hub.host}/acme/web")


def test_the_documented_gitlab_job(hub: HytheServer, issuer: CIIssuer, docker: Docker, tmp_path: Path) -> None:
    """It logs in with the ID token in the variable; one that no rule trusts is refused with the hub's reason."""
    login, push = _documented("GitLab CI")["script"]
    wrong = {"HYTHE_ID_TOKEN": issuer.id_token(hub.host, sub="repo:evil/web:ref:refs/heads/main")}

    refused = _run_step(login, hub, docker, tmp_path, wrong)
    done = _run_step(login, hub, docker, tmp_path, {"HYTHE_ID_TOKEN": issuer.id_token(hub.host)})
    pushed = _run_step(push, hub, docker, tmp_path, {})

    assert "trusts the subject 'repo:evil/web:ref:refs/heads/main'" in refused
    assert not refused.startswith("0:")
    assert "Login Succeeded" in done
    assert pushed.startswith("0:"), pushed
