"""The hub and the private registry start, stop, die and come back at the same address."""

import json
import urllib.error
import urllib.request
from collections.abc import Callable

import pytest
from tests.parts.base_images import Layout
from tests.parts.engines import ContainersTool
from tests.parts.hub import HytheServer


def status(url: str) -> int:
    """Status of a GET."""
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            code: int = answer.status
    except urllib.error.HTTPError as error:
        code = error.code
    return code


def test_a_hub_has_accounts_on_each_database(hub_on_each_database: HytheServer) -> None:
    """An account made by the operator is there, also after a kill."""
    hub = hub_on_each_database
    hub.create_user("ann", "correct horse battery", admin=True)
    before = hub.url

    hub.kill()
    hub.start()

    assert "ann" in hub.admin("list-users")
    assert hub.url == before
    assert status(f"{hub.url}/v2/") == 401


def test_a_hub_with_a_public_address_stops_with_0(start_hub: Callable[..., HytheServer]) -> None:
    """The launcher finds the hub also where its ready line names another address."""
    hub = start_hub(["--public-url", "https://hub.example.org"])

    assert status(f"{hub.url}/v2/") == 401
    assert hub.stop() == 0


@pytest.mark.clients
def test_the_private_registry_takes_an_image(
    private_registry: HytheServer, skopeo: ContainersTool, busybox_layout: Layout
) -> None:
    """Anybody pushes, and the image is there after a restart."""
    skopeo.allow_http(private_registry.host)
    skopeo.ok("copy", busybox_layout.source(), f"docker://{private_registry.host}/repo_name")

    private_registry.restart()

    with urllib.request.urlopen(f"{private_registry.url}/v2/repo_name/tags/list") as answer:
        assert json.load(answer) == {"name": "repo_name", "tags": ["latest"]}
