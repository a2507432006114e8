"""Creates accounts, repositories and images over HTTP, as clients do."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx2
from tests.parts.hub import HytheServer

PASSWORD = "correct horse battery"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


@dataclass(slots=True)
class Content:
    """Fills one hub; account names are unique, so that tests do not affect each other."""

    server: HytheServer
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    @property
    def url(self) -> str:
        """The root of the hub."""
        return self.server.url

    def account(self, name: str = "sailor") -> str:
        """Create an account with an unused name, and return the name."""
        unused = f"{name}-{next(self.numbers)}"
        sent = {"username": unused, "email": f"{unused}@example.com", "password": PASSWORD}
        assert httpx2.post(f"{self.url}/api/v1/users", json=sent, verify=False).status_code == 201
        return unused

    def repository(self, owner: str, name: str, visibility: str = "public", **texts: str) -> str:
        """Create an empty repository and return its full name."""
        sent = {"namespace": owner, "name": name, "visibility": visibility, **texts}
        self._send("POST", "/api/v1/repositories", owner, json=sent)
        return f"{owner}/{name}"

    def organization(self, owner: str, name: str, invited: str) -> None:
        """Create an organization with a team that has a role, and an invitation to an e-mail address."""
        self._send("POST", "/api/v1/organizations", owner, json={"name": name})
        path = f"/api/v1/organizations/{name}"
        self._send("POST", f"{path}/teams", owner, json={"name": "a-team", "description": "d" * 200})
        grant = {"repositories": "a-rather-long-pattern-of-names-*", "role": "write"}
        answer = httpx2.put(f"{self.url}{path}/teams/a-team/grants", auth=(owner, PASSWORD), verify=False, json=grant)
        assert answer.is_success, answer.text
        self._send("POST", f"{path}/invitations", owner, json={"email": invited})

    def builds(self, repository: str, source: str) -> None:
        """Configure Trusted Builds of a repository, which then accepts pushes only from its builds."""
        body = {"source": {"url": source}, "rules": [{"source": "main"}, {"source": "/" + "x" * 200 + "/"}]}
        owner = repository.partition("/")[0]
        self._send("POST", f"/api/v1/repositories/{repository}/build-configuration", owner, json=body)

    def image(
        self,
        repository: str,
        *tags: str,
        architecture: str = "amd64",
        steps: tuple[str, ...] = (),
        **container: Any,
    ) -> Any:
        """Push an image with one layer per step, and return its descriptor; ``container`` is its config.

        Without a tag it has only its digest.
        """
        owner = repository.partition("/")[0]
        layers = [
            self._blob(repository, owner, f"{architecture} {step}".encode(), LAYER) for step in steps or ("COPY",)
        ]
        config = {
            "architecture": architecture,
            "os": "linux",
            "config": container,
            "rootfs": {"type": "layers", "diff_ids": [layer["digest"] for layer in layers]},
            "history": [{"created_by": step} for step in steps or ("COPY",)],
        }
        configured = self._blob(repository, owner, json.dumps(config).encode(), CONFIG)
        manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": configured, "layers": layers}
        platform = {"architecture": architecture, "os": "linux"}
        for tag in tags or ("",):
            described = self._manifest(repository, owner, tag, manifest)
        return described | {"platform": platform}

    def index(self, repository: str, tag: str, *architectures: str, **annotations: str) -> Any:
        """Push one image per architecture and an index of them."""
        listed = [self.image(repository, architecture=each) for each in architectures]
        manifest = {"schemaVersion": 2, "mediaType": INDEX, "manifests": listed, "annotations": annotations}
        return self._manifest(repository, repository.partition("/")[0], tag, manifest)

    def administration(self, administrator: str, reported: str, taken_down: str) -> None:
        """Report a repository, take another one down, and block a name and a digest."""
        long = "word " * 60 + "x" * 80
        report = {"category": "malware", "text": long}
        self._done("POST", f"/api/v1/repositories/{reported}/reports", administrator, report)
        self._done("POST", f"/api/v1/admin/repositories/{taken_down}/take-down", administrator, {"reason": long})
        blocked = {"pattern": f"{'long-' * 15}{next(self.numbers)}", "reason": long}
        self._done("POST", "/api/v1/admin/blocked-names", administrator, blocked)
        digest = f"sha512:{next(self.numbers):0128x}"
        self._done("POST", "/api/v1/admin/blocked-digests", administrator, {"digest": digest, "reason": long})

    def _done(self, method: str, path: str, account: str, body: Any) -> None:
        answer = httpx2.request(method, f"{self.url}{path}", auth=(account, PASSWORD), verify=False, json=body)
        assert answer.is_success, answer.text

    def _blob(self, repository: str, owner: str, content: bytes, media_type: str) -> dict[str, Any]:
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        headers = {"Content-Type": "application/octet-stream"}
        path = f"/v2/{repository}/blobs/uploads/?digest={digest}"
        self._send("POST", path, owner, content=content, headers=headers)
        return {"mediaType": media_type, "digest": digest, "size": len(content)}

    def _manifest(self, repository: str, owner: str, tag: str, manifest: dict[str, Any]) -> dict[str, Any]:
        content = json.dumps(manifest).encode()
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        headers = {"Content-Type": manifest["mediaType"]}
        self._send("PUT", f"/v2/{repository}/manifests/{tag or digest}", owner, content=content, headers=headers)
        return {"mediaType": manifest["mediaType"], "digest": digest, "size": len(content)}

    def _send(self, method: str, path: str, account: str, **options: Any) -> None:
        answer = httpx2.request(method, f"{self.url}{path}", auth=(account, PASSWORD), verify=False, **options)
        assert answer.status_code == 201, answer.text
