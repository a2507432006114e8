"""The results of a build besides its image: verifiable provenance and webhooks."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import subprocess
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from tests.builds.services import Services
from tests.builds.webhook_receiver import Receiver, receiver
from tests.parts.hub import HYTHE

pytestmark = pytest.mark.clients

__all__ = ["receiver"]

TINY = "FROM scratch\nADD rootfs.tar /\n"


def hythe(tmp_path: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """The hythe command with empty credentials and an empty image store."""
    env = {key: value for key, value in os.environ.items() if not key.startswith("HYTHE_")}
    env |= {"HOME": str(tmp_path), "DOCKER_CONFIG": str(tmp_path), "XDG_DATA_HOME": str(tmp_path / "data")}
    return subprocess.run([HYTHE, *words], env=env, capture_output=True, text=True, check=False)


def test_an_image_is_verified_back_to_its_commit(services: Services, tmp_path: Path) -> None:
    """`hythe verify` prints source and commit; `pull --trusted` pulls a verified image."""
    source = services.source("proven", {"Dockerfile": f"{TINY}COPY status /var/lib/dpkg/status\n", "status": STATUS})
    path = services.configure("proven", source)
    build = services.built(path, services.trigger(path)[0])
    image = f"{services.hub.host}/alice/proven"

    verified = hythe(tmp_path, "verify", image)
    told = json.loads(hythe(tmp_path, "verify", "--json", image).stdout)
    pulled = hythe(tmp_path, "pull", "--trusted", image)

    assert verified.returncode == 0, verified.stderr
    assert f"{build['digest']} <- {source.url} {source.head('main')}" in verified.stdout
    assert told["packages"] == 1
    assert pulled.returncode == 0, pulled.stderr


def test_statements_are_referrers_as_cosign_reads_them(services: Services, tmp_path: Path) -> None:
    """Each is a Sigstore bundle that refers to the image; openssl verifies its signature with the published key."""
    path = services.configure("bundled", services.source("bundled", {"Dockerfile": TINY}))
    digest = services.built(path, services.trigger(path)[0])["digest"]
    registry = f"{services.hub.url}/v2/alice/bundled"
    token = services.call("GET", "/token?scope=repository:alice/bundled:pull")["token"]

    def get(what: str) -> Any:
        request = urllib.request.Request(f"{registry}/{what}", headers={"Authorization": f"Bearer {token}"})
        with urllib.request.urlopen(request) as response:
            return json.loads(response.read())

    kind = "application/vnd.dev.sigstore.bundle.v0.3+json"
    listed = get(f"referrers/{digest}?artifactType={urllib.parse.quote(kind)}")["manifests"]
    key = tmp_path / "key.pem"
    key.write_bytes(urllib.request.urlopen(f"{services.hub.url}/.well-known/hythe/builds.pem").read())

    assert {each["annotations"]["dev.sigstore.bundle.predicateType"] for each in listed} == {
        "https://slsa.dev/provenance/v1",
        "https://spdx.dev/Document",
    }
    for each in listed:
        [layer] = get(f"manifests/{each['digest']}")["layers"]
        bundle = get(f"blobs/{layer['digest']}")
        envelope = bundle["dsseEnvelope"]
        payload = base64.b64decode(envelope["payload"])
        [signature] = envelope["signatures"]
        # The pre-authentication encoding of the DSSE specification.
        (tmp_path / "signed").write_bytes(b"DSSEv1 28 application/vnd.in-toto+json %d " % len(payload) + payload)
        (tmp_path / "signature").write_bytes(base64.b64decode(signature["sig"]))
        command = ["openssl", "dgst", "-sha256", "-verify", "key.pem", "-signature", "signature", "signed"]
        said = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False).stdout
        assert (layer["mediaType"], bundle["mediaType"]) == (kind, kind)
        assert said == "Verified OK\n"
        assert json.loads(payload)["subject"][0]["digest"]["sha256"] == digest.removeprefix("sha256:")


STATUS = "Package: tree\nStatus: install ok installed\nVersion: 2.1\nArchitecture: amd64\n\n"


def test_images_without_valid_statements_are_refused(services: Services, tmp_path: Path) -> None:
    """An image without statements, or signed with another key, is refused with a hint."""
    path = services.configure("orphan", services.source("orphan", {"Dockerfile": TINY}))
    services.built(path, services.trigger(path)[0])
    image = f"{services.hub.host}/alice/orphan"
    other = tmp_path / "other.pem"
    subprocess.run(
        f"openssl ecparam -name prime256v1 -genkey -noout | openssl ec -pubout -out {other}",
        shell=True,
        check=True,
        capture_output=True,
    )

    with_other_key = hythe(tmp_path, "verify", "--key", str(other), image)
    digest = services.call("GET", f"{path}/tags/latest")["digest"].removeprefix("sha256:")
    services.call("DELETE", f"{path}/tags/sha256-{digest}.att")
    without = hythe(tmp_path, "pull", "--trusted", image)

    assert with_other_key.returncode == 6
    assert "not signed by a key of this hub" in with_other_key.stderr
    assert without.returncode == 6
    assert "was not made by a Trusted Build" in without.stderr


def test_reproducible_builds_are_marked(services: Services) -> None:
    """With `reproduce`, a second build without cache marks the image if it has the same digest."""
    path = services.configure("twice", services.source("twice"), options={"reproduce": True})
    first = services.built(path, services.trigger(path)[0])

    second = services.built(path, first["number"] + 1)

    assert second["cause"] == "reproduce"
    assert second["digest"] == first["digest"]
    assert services.call("GET", f"{path}/builds/{first['number']}")["result"]["reproduced"] is True


def test_webhooks_are_signed_chained_and_redelivered(services: Services, receiver: Receiver) -> None:
    """The body is Docker Hub's, the signature GitHub's; a chained webhook waits for the callback of the one before."""
    path = services.configure("notified", services.source("notified", {"Dockerfile": TINY}))
    first = services.call("POST", f"{path}/webhooks", {"url": receiver.url, "secret": "shared"})
    services.call("POST", f"{path}/webhooks", {"url": f"{receiver.url}/2", "chained": True})
    services.built(path, services.trigger(path)[0])

    received = receiver.wait(1)[0]
    body = received.body
    expected = hmac.new(b"shared", received.content, hashlib.sha256).hexdigest()
    assert received.headers["X-Hub-Signature-256"] == f"sha256={expected}"
    assert body["push_data"]["tag"] == "latest"
    assert body["repository"]["repo_name"] == "alice/notified"
    assert "FROM scratch" in body["repository"]["dockerfile"]

    services.call("POST", urlsplit(body["callback_url"]).path, {"state": "success", "description": "deployed"}, user="")
    receiver.wait(2)
    [delivery] = services.call("GET", f"{path}/webhooks/{first['id']}/deliveries")["items"]
    assert (delivery["status"], delivery["callback_state"]) == (200, "success")

    services.call("POST", f"{path}/webhooks/deliveries/{delivery['id']}/redeliver")
    assert receiver.wait(3)[2].content == received.content
