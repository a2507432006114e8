"""A client of the distribution protocol that does what a test says, right or wrong, and keeps the answer."""

from __future__ import annotations

import hashlib
import http.client
import json
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"

NAMESPACE = "test"
"""What every repository of the suites is in; on a hub, an account."""


def digest_of(content: bytes, algorithm: str = "sha256") -> str:
    """The digest of these bytes."""
    return f"{algorithm}:{hashlib.new(algorithm, content).hexdigest()}"


def fresh_name() -> str:
    """A repository that no other test uses."""
    return f"{NAMESPACE}/{uuid.uuid4().hex[:12]}"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def location(self) -> str:
        """The path to go on at."""
        found = self.headers["Location"]
        assert found, f"{self.status} without a Location"
        return str(found)

    def json(self) -> Any:
        """The body, read as JSON."""
        return json.loads(self.body)

    @property
    def codes(self) -> list[str]:
        """The codes of an error body."""
        return [entry["code"] for entry in self.json()["errors"]]


@dataclass(slots=True)
class Client:
    """One keep-alive connection to a registry."""

    port: int
    headers: Mapping[str, str] = field(default_factory=dict)
    _connection: http.client.HTTPConnection | None = None

    def __call__(self, method: str, path: str, body: bytes | Iterable[bytes] | None = None, **headers: str) -> Answer:
        """Send one request; `content_type="x"` is the header `Content-Type: x`."""
        if self._connection is None:
            self._connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            self._connection.request(method, path, body, {**self.headers, **named})
            response = self._connection.getresponse()
            answer = Answer(response.status, response.headers, response.read())
        except (http.client.HTTPException, OSError):
            self.close()
            raise
        if response.will_close:
            self.close()
        return answer

    def close(self) -> None:
        """End the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def start_upload(self, name: str) -> str:
        """Open an upload session and return where it is."""
        answer = self("POST", f"/v2/{name}/blobs/uploads/")
        assert answer.status == 202, answer
        return answer.location

    def push_blob(self, name: str, content: bytes, algorithm: str = "sha256") -> str:
        """Push a blob by POST and PUT; return its digest."""
        digest = digest_of(content, algorithm)
        answer = self("PUT", with_digest(self.start_upload(name), digest), content)
        assert answer.status == 201, answer
        return digest

    def push_manifest(self, name: str, reference: str, manifest: object, media_type: str = MANIFEST) -> str:
        """Push a manifest; return its digest."""
        content = manifest if isinstance(manifest, bytes) else json.dumps(manifest).encode()
        answer = self("PUT", f"/v2/{name}/manifests/{reference}", content, Content_Type=media_type)
        assert answer.status == 201, answer
        return digest_of(content)

    def push_image(self, name: str, reference: str = "latest", **fields: Any) -> str:
        """Push a small image of its own content; return its manifest's digest."""
        return self.push_manifest(name, reference, self.image(name, **fields))

    def image(self, name: str, **fields: Any) -> dict[str, Any]:
        """Push a configuration and a layer; return a manifest of them, with `fields` added."""
        config = json.dumps({"architecture": "amd64", "os": "linux", "salt": uuid.uuid4().hex}).encode()
        layer = uuid.uuid4().bytes * 50
        self.push_blob(name, config)
        self.push_blob(name, layer)
        return image_manifest(config, layer, **fields)


def image_manifest(config: bytes, *layers: bytes, **fields: Any) -> dict[str, Any]:
    """A manifest of these blobs."""
    return {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": descriptor(config, CONFIG),
        "layers": [descriptor(layer, LAYER) for layer in layers],
        **fields,
    }


def index_manifest(*digests: str, **fields: Any) -> dict[str, Any]:
    """An index of these manifests."""
    manifests = [{"mediaType": MANIFEST, "digest": digest, "size": 2} for digest in digests]
    return {"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests, **fields}


def descriptor(content: bytes, media_type: str) -> dict[str, Any]:
    """A descriptor of these bytes."""
    return {"mediaType": media_type, "digest": digest_of(content), "size": len(content)}


def with_digest(location: str, digest: str) -> str:
    """The place that turns an upload into this blob."""
    return f"{location}{'&' if '?' in location else '?'}digest={digest}"
