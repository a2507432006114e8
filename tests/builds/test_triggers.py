"""The trigger URL: bodies of Docker Hub, invalid bodies, and invalid numbers in addresses."""

from __future__ import annotations

import urllib.error
import urllib.request

import pytest
from tests.builds.forge_hub import Connected, ForgeHub, forge_hub

__all__ = ["forge_hub"]

FORM = "application/x-www-form-urlencoded"


@pytest.fixture(scope="module")
def connected(forge_hub: ForgeHub) -> Connected:
    """A repository with a rule for the branch main and one for tags."""
    return forge_hub.connect("github", "triggered")


def post(url: str, body: bytes, media_type: str) -> int:
    """Send a body as curl does; returns the status."""
    request = urllib.request.Request(url, body, {"Content-Type": media_type} if media_type else {}, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code


@pytest.mark.parametrize(
    ("body", "media_type", "built"),
    [
        (b"", "", "main"),
        (b"build=true", FORM, "main"),
        (b'{"build": true}', "application/json", "main"),
        (b'{"docker_tag": "latest"}', FORM, "main"),
        (b"source_type=Tag&source_name=v1.1", FORM, "v1.1"),
        (b'{"source_type": "Tag", "source_name": "v1.2"}', "application/json", "v1.2"),
    ],
)
def test_docker_hubs_bodies(
    forge_hub: ForgeHub, connected: Connected, body: bytes, media_type: str, built: str
) -> None:
    """Every body that Docker Hub's documentation has shown starts builds."""
    where = forge_hub.call("GET", f"{connected.path}/build-configuration/trigger")["path"]
    before = len(forge_hub.builds(connected))

    status = post(f"{forge_hub.services.hub.url}{where}", body, media_type)

    assert status == 202
    assert len(forge_hub.builds(connected)) == before + 1
    assert forge_hub.builds(connected)[0][0] == built


def test_invalid_bodies_are_refused(forge_hub: ForgeHub, connected: Connected) -> None:
    """Invalid bodies are refused, and refs that no rule matches."""
    where = forge_hub.services.hub.url + forge_hub.call("GET", f"{connected.path}/build-configuration/trigger")["path"]

    assert post(where, b"[1]", "application/json") == 400
    assert post(where, b"\xff\xfe", "text/plain") == 400
    assert post(where, b"source_name=elsewhere", FORM) == 409


@pytest.mark.parametrize(
    "path", ["/builds/1/log?start=%C2%B2", "/builds/%C2%B2", "/webhooks/%C2%B2/deliveries", "/builds/999999999"]
)
def test_digits_of_other_scripts_are_not_numbers(forge_hub: ForgeHub, connected: Connected, path: str) -> None:
    """The response is the same as for any other text."""
    status, _ = forge_hub.try_call("GET", f"{connected.path}{path}")

    assert status == (200 if "start" in path else 404)
