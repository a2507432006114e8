"""The fake forges reject the requests that the real forges would reject."""

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


def test_an_undocumented_webhook_is_a_violation(forge: FakeForge, git_server: GitServer) -> None:
    """Undocumented fields are rejected and recorded."""
    forge.add(git_server.create("o/r"))
    headers = {"Authorization": f"Bearer {forge.token()}", "Content-Type": "application/json"}
    body = json.dumps({"url": "https://hub.example", "event": "push"}).encode()
    request = urllib.request.Request(f"{forge.url}{HOOKS[forge.kind]}", body, headers, method="POST")

    with pytest.raises(urllib.error.HTTPError) as raised:
        urllib.request.urlopen(request)

    assert raised.value.code in (400, 422)
    assert len(forge.violations) == 1


def test_the_scopes_of_a_token_limit_it(forge: FakeForge) -> None:
    """A token without the scope cannot create a webhook."""
    headers = {"Authorization": f"Bearer {forge.token('nothing')}", "Content-Type": "application/json"}
    request = urllib.request.Request(f"{forge.url}{HOOKS[forge.kind]}", b"{}", headers, method="POST")

    with pytest.raises(urllib.error.HTTPError) as raised:
        urllib.request.urlopen(request)

    assert raised.value.code == 403
