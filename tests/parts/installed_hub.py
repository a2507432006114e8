"""Hubs that were installed in some way: a push to them, and a pull from them, by a real client."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path

from tests.parts.base_images import Layout
from tests.parts.engines import ContainersTool

PASSWORD = "a-long-password"


def sign_up(host: str, name: str) -> None:
    """Create an account with the password `PASSWORD`."""
    body = {"username": name, "email": f"{name}@example.com", "password": PASSWORD}
    request = urllib.request.Request(
        f"http://{host}/api/v1/users", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30):
        pass


def push_and_pull(skopeo: ContainersTool, layout: Layout, host: str, folder: Path) -> str:
    """Push an image to a new account, pull it into `folder`, and return its name."""
    sign_up(host, "ann")
    skopeo.allow_http(host)
    assert skopeo.login(host, "ann", PASSWORD).returncode == 0
    name = f"docker://{host}/ann/app:1"
    skopeo.ok("copy", layout.source(), name)
    skopeo.ok("copy", name, f"oci:{folder}/pulled:1")
    return name
