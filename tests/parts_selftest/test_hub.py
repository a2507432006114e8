"""The hub and the private registry start, stop, crash and restart with the same address."""

import http.client
import json
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.parts.base_images import Layout
from tests.parts.docker_registry import Certificate
from tests.parts.engines import ContainersTool
from tests.parts.hub import HytheServer


def status(url: str) -> int:
    """Return the status of a GET request."""
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            code: int = answer.status
    except urllib.error.HTTPError as error:
        code = error.code
    return code


def test_a_hub_has_accounts_on_each_database(hub_on_each_database: HytheServer) -> None:
    """An account created by the operator exists, also after a crash."""
    hub = hub_on_each_database
    hub.create_user("ann", "correct horse battery", admin=True)
    before = hub.url

    hub.kill()
    hub.start()

    assert "ann" in hub.admin("list-users")
    assert hub.url == before
    assert status(f"{hub.url}/v2/") == 401


def test_a_hub_with_a_public_address_stops_with_0(start_hub: Callable[..., HytheServer], tmp_path: Path) -> None:
    """Starting also works if the ready line shows a public URL, and without any data."""
    hub = start_hub(["--public-url", "https://hub.example.org"], data=tmp_path / "not there yet")

    assert status(f"{hub.url}/v2/") == 401
    assert hub.stop() == 0


@pytest.mark.parametrize("with_tls", [False, True])
def test_stopping_does_not_wait_for_idle_connections(
    with_tls: bool, start_private_registry: Callable[..., HytheServer], certificate: Certificate
) -> None:
    """A client that keeps its connection open and never closes it does not delay the stop."""
    flags = ["--tls-cert", str(certificate.cert), "--tls-key", str(certificate.key)]
    server = start_private_registry(flags if with_tls else ())
    context = ssl.create_default_context(cafile=str(certificate.ca))
    host, port = server.host.split(":")
    connection = (
        http.client.HTTPSConnection(host, int(port), context=context)
        if with_tls
        else http.client.HTTPConnection(host, int(port))
    )
    connection.request("GET", "/v2/")
    assert connection.getresponse().read() == b"{}"
    began = time.monotonic()

    assert server.stop() == 0
    assert time.monotonic() - began < 5
    connection.close()


@pytest.mark.clients
def test_the_private_registry_takes_an_image(
    private_registry: HytheServer, skopeo: ContainersTool, busybox_layout: Layout
) -> None:
    """Anonymous users can push, and the image exists after a restart."""
    skopeo.allow_http(private_registry.host)
    skopeo.ok("copy", busybox_layout.source(), f"docker://{private_registry.host}/repo_name")

    private_registry.restart()

    with urllib.request.urlopen(f"{private_registry.url}/v2/repo_name/tags/list") as answer:
        assert json.load(answer) == {"name": "repo_name", "tags": ["latest"]}
