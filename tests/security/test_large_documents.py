"""Documents that take long to parse, store or show: all other users are served at once, and pages stay small."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.parts.hub import HUB, HytheServer, server_factory
from tests.security.loop_probe import measured_delays
from tests.security.registry_client import OCI_MANIFEST, PASSWORD, RegistryClient, basic, bearer

MAX_DELAY = 0.1
"""Seconds for which a stranger's request may wait in the best of ``TRIES``."""

TRIES = 3

MAX_PAGE = 2_000_000
"""Bytes of a page."""

NAME = "ann/large"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
CONFIG = b'{"architecture": "amd64", "os": "linux"}'


def digest_of(content: bytes) -> str:
    """The digest of some bytes."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def descriptor(media_type: str, content: bytes, **more: object) -> dict[str, object]:
    """A descriptor of some bytes."""
    return {"mediaType": media_type, "digest": digest_of(content), "size": len(content), **more}


def image(config: bytes = CONFIG, **more: object) -> dict[str, Any]:
    """An image without layers."""
    return {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": descriptor(OCI_CONFIG, config),
        "layers": [],
        **more,
    }


def index(count: int, media_type: str = OCI_INDEX, child_type: str = OCI_MANIFEST) -> dict[str, object]:
    """An index of manifests that do not exist."""
    children = [descriptor(child_type, str(number).encode()) for number in range(count)]
    return {"schemaVersion": 2, "mediaType": media_type, "manifests": children}


@dataclass(slots=True)
class Attacker:
    """An account of a running hub that stores what it likes."""

    hub: HytheServer
    client: RegistryClient
    headers: dict[str, str]

    def push_blob(self, content: bytes) -> None:
        """Store a blob."""
        path = f"/v2/{NAME}/blobs/uploads/?digest={digest_of(content)}"
        assert self.client.status("POST", path, self.headers, content=content) == 201

    def push(self, tag: str, document: dict[str, Any] | bytes, media_type: str = OCI_MANIFEST) -> httpx2.Response:
        """Push a manifest and return the response."""
        content = document if isinstance(document, bytes) else json.dumps(document).encode()
        headers = {**self.headers, "Content-Type": media_type}
        return self.client.send("PUT", f"/v2/{NAME}/manifests/{tag}", headers, content=content)

    def push_images(self, tag: str, config: bytes, count: int = 20) -> None:
        """Push an index of images that share a configuration."""
        self.push_blob(config)
        children = []
        for number in range(count):
            content = json.dumps(image(config, annotations={"number": str(number)})).encode()
            assert self.push(digest_of(content), content).status_code == 201
            platform = {"os": "linux", "architecture": f"a{number}"}
            children.append(descriptor(OCI_MANIFEST, content, platform=platform))
        document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": children}
        assert self.push(tag, document, OCI_INDEX).status_code == 201

    def page(self, path: str) -> httpx2.Response:
        """Open a page as a stranger."""
        return self.client.send("GET", path)

    def undelayed(self, attack: Callable[[], httpx2.Response]) -> httpx2.Response:
        """Return the response of an attack that keeps no one waiting."""
        worst = []
        for _ in range(TRIES):
            with measured_delays(self.hub) as delays:
                response = attack()
            worst.append(delays.worst)
            if delays.worst < MAX_DELAY:
                return response
        raise AssertionError(f"GET /v2/ waited {worst} seconds")


@pytest.fixture(scope="module")
def attacker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Attacker]:
    """An account of a hub with default settings."""
    with server_factory(tmp_path_factory.mktemp("large"), HUB) as start:
        hub = start()
        hub.create_user("ann", PASSWORD)
        client = RegistryClient(hub.url)
        token = client.access_token(basic("ann"), f"repository:{NAME}:pull,push")["token"]
        attacker = Attacker(hub, client, bearer(token))
        attacker.push_blob(CONFIG)
        assert attacker.push("small", image()).status_code == 201
        yield attacker


MANY_LAYERS = [descriptor(LAYER, str(number).encode()) for number in range(20_000)]
REFUSED: dict[str, tuple[dict[str, Any] | bytes, str]] = {
    "an OCI index of 25,000 entries": (index(25_000), OCI_INDEX),
    "a Docker list of 20,000 entries": (index(20_000, DOCKER_LIST, DOCKER_MANIFEST), DOCKER_LIST),
    "an index of 25,000 indexes": (index(25_000, OCI_INDEX, OCI_INDEX), OCI_INDEX),
    "20,000 layers": (image(layers=MANY_LAYERS), OCI_MANIFEST),
    "300,000 annotations": (image(annotations={str(number): "" for number in range(300_000)}), OCI_MANIFEST),
    "a million lists where an old client has layers": (b'{"fsLayers": [' + b"[]," * 1_000_000 + b"[]]}", OCI_MANIFEST),
    "a million lists in an unknown field": (b'{"x": [' + b"[]," * 1_000_000 + b"[]]}", OCI_MANIFEST),
    "a hundred thousand empty descriptors": (b'{"layers": [' + b"{}," * 100_000 + b"{}]}", OCI_MANIFEST),
    "a million brackets": (b"[" * 1_000_000, OCI_MANIFEST),
}


@pytest.mark.parametrize(("document", "media_type"), REFUSED.values(), ids=REFUSED.keys())
def test_manifests_that_take_long_are_refused(
    attacker: Attacker, document: dict[str, Any] | bytes, media_type: str
) -> None:
    """The registry says so in the protocol's form, before it parses them."""
    content = document if isinstance(document, bytes) else json.dumps(document).encode()
    response = attacker.undelayed(lambda: attacker.push("refused", content, media_type))
    assert response.status_code in (400, 413), response.text
    assert response.json()["errors"][0]["code"] == "MANIFEST_INVALID"


TAKEN: dict[str, tuple[dict[str, Any], str]] = {
    "index": (index(1) | {"manifests": [descriptor(OCI_MANIFEST, json.dumps(image()).encode())] * 4000}, OCI_INDEX),
    "layers": (image(layers=[{**layer, "urls": ["https://x.test/"]} for layer in MANY_LAYERS[:3000]]), OCI_MANIFEST),
    "annotation": (image(annotations={"note": "x" * 3_000_000}), OCI_MANIFEST),
    "annotations": (image(annotations={str(number): "x" for number in range(15_000)}), OCI_MANIFEST),
}


@pytest.mark.parametrize("tag", TAKEN)
def test_large_manifests_delay_no_one(attacker: Attacker, tag: str) -> None:
    """What a client may push is stored and shown, with a bound on the page."""
    document, media_type = TAKEN[tag]
    content = json.dumps(document).encode()
    response = attacker.undelayed(lambda: attacker.push(tag, content, media_type))
    assert response.status_code == 201, response.text
    page = attacker.undelayed(lambda: attacker.page(f"/{NAME}:{tag}"))
    assert page.status_code == 200
    assert len(page.content) < MAX_PAGE
    tags = attacker.undelayed(lambda: attacker.page(f"/{NAME}/-/tags"))
    assert tags.status_code == 200
    assert len(tags.content) < MAX_PAGE


def history(count: int, length: int) -> bytes:
    """A configuration with this many steps."""
    steps = [{"created_by": f"RUN {number}".ljust(length, "x"), "empty_layer": True} for number in range(count)]
    return json.dumps({"architecture": "amd64", "os": "linux", "history": steps}).encode()


CONFIGURATIONS = {
    "steps": history(14_000, 5),
    "steps-of-1-kB": history(44_000, 1000),
    "empty-steps": b'{"os": "linux", "history": [' + b"{}," * 340_000 + b"{}]}",
    "long-step": history(1, 900_000),
    "variables": json.dumps({"os": "linux", "config": {"Env": ["A=b"] * 100_000}}).encode(),
    "labels": json.dumps({"os": "linux", "config": {"Labels": {str(n): "x" for n in range(40_000)}}}).encode(),
    "ports": b'{"os": "linux", "config": {"ExposedPorts": {"a": [' + b"[]," * 300_000 + b"[]]}}}",
    "command": json.dumps({"os": "linux", "config": {"Cmd": ["a 'b'"] * 90_000}}).encode(),
}


@pytest.mark.parametrize("tag", CONFIGURATIONS)
def test_large_configurations_delay_no_one(attacker: Attacker, tag: str) -> None:
    """A page of 20 images that share a configuration has a bounded number of rows."""
    attacker.push_images(tag, CONFIGURATIONS[tag])
    page = attacker.undelayed(lambda: attacker.page(f"/{NAME}:{tag}"))
    assert page.status_code == 200
    assert len(page.content) < MAX_PAGE


BODIES = {
    "lists": b'{"namespace": [' + b"[]," * 85_000 + b"[]]}",
    "lists in an unknown field": b'{"x": [' + b"[]," * 85_000 + b"[]]}",
    "objects": b'{"namespace": [' + b'{"a": 1},' * 28_000 + b"{}]}",
    "names": b"{" + b",".join(b'"%d": 1' % number for number in range(20_000)) + b"}",
    "a number": b'{"namespace": ' + b"9" * 250_000 + b"}",
    "brackets": b"[" * 250_000,
}


@pytest.mark.parametrize("content", BODIES.values(), ids=BODIES.keys())
def test_large_bodies_of_the_api_delay_no_one(attacker: Attacker, content: bytes) -> None:
    """Only the documented fields are parsed."""
    headers = {**basic("ann"), "Content-Type": "application/json"}
    response = attacker.undelayed(
        lambda: attacker.client.send("POST", "/api/v1/repositories", headers, content=content)
    )
    assert response.status_code in (400, 422)
    assert len(response.content) < 10_000


@pytest.mark.parametrize("path", ["/sign-in", "/sign-up", "/token"])
def test_large_forms_delay_no_one(attacker: Attacker, path: str) -> None:
    """Half a megabyte of escaped letters takes 100 ms to decode."""
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    content = b"username=" + b"%41" * 160_000
    response = attacker.undelayed(lambda: attacker.client.send("POST", path, headers, content=content))
    assert 400 <= response.status_code < 500


def test_nothing_is_left(attacker: Attacker) -> None:
    """After all attacks of this file, the hub takes little more memory than before."""
    status = Path(f"/proc/{attacker.hub.pid}/status").read_text()
    resident = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
    assert resident < 500_000
    assert "Traceback" not in attacker.hub.log
