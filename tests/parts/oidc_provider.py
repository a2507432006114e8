"""A real OpenID Connect provider: oidc-provider from npm (see tests/parts/package.json), in a process of its own."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.parts.process import ROOT, Program, free_port, listening, own_folder, program

MODULES = ROOT / ".cache/node/node_modules"
SCRIPT = Path(__file__).parent / "oidc_provider.mjs"
CLIENT_ID = "hythe"
SECRET = "a secret + with / special = characters"


@dataclass
class OpenIDProvider:
    """A running provider."""

    port: int
    hub_port: int
    file: Path
    process: Program
    configuration: dict[str, Any]

    @property
    def issuer(self) -> str:
        """The URL of the provider."""
        return f"http://127.0.0.1:{self.port}"

    def put(self, sub: str, **claims: Any) -> None:
        """Add a user, or change their claims."""
        self.configuration["users"][sub] = claims
        self.file.write_text(json.dumps(self.configuration))

    def sign_in(self, url: str, sub: str) -> str:
        """Sign in as a browser does, beginning at the hub's redirection; return the address to go back to the hub."""
        with httpx2.Client(timeout=30) as browser:
            for _ in range(12):
                response = browser.get(url)
                if response.is_redirect:
                    url = str(httpx2.URL(url).join(response.headers["location"]))
                else:
                    url = self._submit(browser, response, sub)
                if not url.startswith(f"{self.issuer}/"):
                    return url
        raise AssertionError(f"the provider does not redirect back: {url}")

    def _submit(self, browser: httpx2.Client, page: httpx2.Response, sub: str) -> str:
        action = re.search(r'action="([^"]+)"', page.text)
        prompt = re.search(r'name="prompt" value="(\w+)"', page.text)
        assert action is not None, page.text
        assert prompt is not None, page.text
        form = {"prompt": prompt[1], "login": sub, "password": "any"}
        response = browser.post(str(page.url.join(action[1])), data=form)
        assert response.is_redirect, response.text
        return str(page.url.join(response.headers["location"]))


@pytest.fixture(scope="module")
def oidc_provider() -> Iterator[OpenIDProvider]:
    """A provider without users, for a hub at hub.example, or on loopback at ``hub_port``; it is called ``company``."""
    if not (MODULES / "oidc-provider").exists():
        pytest.fail("oidc-provider is not installed. hint: run `make .cache/node/.stamp`", pytrace=False)
    with own_folder("oidc") as folder:
        port, hub_port = free_port(), free_port()
        hubs = ("https://hub.example", f"http://127.0.0.1:{hub_port}")
        client = {
            "client_id": CLIENT_ID,
            "client_secret": SECRET,
            "redirect_uris": [f"{hub}/sign-in/with/company/authorized" for hub in hubs],
        }
        configuration = {"clients": [client], "users": {}}
        file = folder / "configuration.json"
        file.write_text(json.dumps(configuration))
        process = Program([program("node", "nodejs"), SCRIPT, str(port), file, MODULES.parent], folder / "log")
        try:
            process.wait_until(lambda: listening(port))
            yield OpenIDProvider(port, hub_port, file, process, configuration)
        finally:
            process.kill()
