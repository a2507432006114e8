"""The stand-ins of the forges refuse what the forges would refuse."""

from __future__ import annotations

import json
import urllib.error
import urllib.request

import pytest
from tests.parts.forges.fake_forge import FakeForge
from tests.parts.git_server import GitServer

HOOKS = {
    "github": "/api/v3/repos/o/r/hooks",
    "gitea": "/api/v1/repos/o/r/hooks",
    "gitlab": "/api/v4/projects/o%2Fr/hooks",
    "bitbucket": "/2.0/repositories/o/r/hooks",
}


def test_a_webhook_of_another_form_is_a_violation(forge: FakeForge, git_server: GitServer) -> None:
    """Fields that no documentation names are refused, and noted."""
    forge.add(git_server.create("o/r"))
    headers = {"Authorization": f"Bearer {forge.token()}", "Content-Type": "application/json"}
    body = json.dumps({"url": "https://hub.example", "event": "push"}).encode()
    request = urllib.request.Request(f"{forge.url}{HOOKS[forge.kind]}", body, headers, method="POST")

    with pytest.raises(urllib.error.HTTPError) as raised:
        urllib.request.urlopen(request)

    assert raised.value.code in (400, 422)
    assert len(forge.violations) == 1


def test_a_token_reaches_no_further_than_its_scopes(forge: FakeForge) -> None:
    """Without any right nobody makes a webhook, whatever else the forge shows to such a token."""
    headers = {"Authorization": f"Bearer {forge.token('nothing')}", "Content-Type": "application/json"}
    request = urllib.request.Request(f"{forge.url}{HOOKS[forge.kind]}", b"{}", headers, method="POST")

    with pytest.raises(urllib.error.HTTPError) as raised:
        urllib.request.urlopen(request)

    assert raised.value.code == 403
