"""What a client sends to a running hub: passwords, tokens, small images, and addresses as proxies report them."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx2

PASSWORD = "correct horse battery"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def basic(name: str, password: str = PASSWORD) -> dict[str, str]:
    """The Basic header of a name and password."""
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


def bearer(token: str) -> dict[str, str]:
    """The Bearer header of a token."""
    return {"Authorization": f"Bearer {token}"}


@dataclass(slots=True)
class RegistryClient:
    """Sends requests to one server of a hub."""

    url: str

    def send(self, method: str, path: str, headers: Mapping[str, str] | None = None, **more: Any) -> httpx2.Response:
        """Send a request and return the response. (Loading certificates, unused here, would take 30 ms each time.)"""
        return httpx2.request(method, self.url + path, headers=dict(headers or {}), timeout=60, verify=False, **more)

    def status(self, method: str, path: str, headers: Mapping[str, str] | None = None, **more: Any) -> int:
        """Send a request and return the status of the response."""
        return self.send(method, path, headers, **more).status_code

    def access_token(self, credential: Mapping[str, str], *scopes: str, offline: bool = False) -> dict[str, Any]:
        """Get an access token, with a refresh token if ``offline``."""
        query = [("service", "hub"), *(("scope", scope) for scope in scopes)]
        query += [("offline_token", "true")] if offline else []
        response = self.send("GET", "/token", credential, params=query)
        assert response.status_code == 200, response.text
        return dict(response.json())

    def push(self, name: str, headers: Mapping[str, str], tag: str = "latest") -> int:
        """Push a small image; return the status of the first request that failed, or of the last."""
        config = json.dumps({"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": []}})
        digest = "sha256:" + hashlib.sha256(config.encode()).hexdigest()
        upload = self.send("POST", f"/v2/{name}/blobs/uploads/?digest={digest}", headers, content=config.encode())
        if upload.status_code != 201:
            return upload.status_code
        descriptor = {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": digest,
            "size": len(config),
        }
        manifest = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": descriptor, "layers": []}
        typed = {**headers, "Content-Type": OCI_MANIFEST}
        return self.status("PUT", f"/v2/{name}/manifests/{tag}", typed, content=json.dumps(manifest).encode())

    def personal_token(self, name: str) -> tuple[int, str]:
        """Create a personal token with all rights; return its id and secret."""
        body = {"name": "ci", "rights": ["repo:read", "repo:write", "repo:delete", "builds", "repo:admin", "account"]}
        response = self.send("POST", "/api/v1/tokens", basic(name), json=body)
        assert response.status_code == 201, response.text
        reply = response.json()
        return reply["id"], reply["token"]

    def session(self, name: str) -> str:
        """Sign in and return the token of the session."""
        response = self.send("POST", "/v2/users/login", json={"username": name, "password": PASSWORD})
        assert response.status_code == 200, response.text
        return str(response.json()["token"])
