"""What comes of a build besides its image: provenance that verifies, notices that arrive."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import subprocess
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from tests.builds.services import Services
from tests.parts.hub import HYTHE

pytestmark = pytest.mark.clients

TINY = "FROM scratch\nADD rootfs.tar /\n"


def hythe(tmp_path: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """The hythe command with empty credentials and store."""
    env = {key: value for key, value in os.environ.items() if not key.startswith("HYTHE_")}
    env |= {"HOME": str(tmp_path), "DOCKER_CONFIG": str(tmp_path), "XDG_DATA_HOME": str(tmp_path / "data")}
    return subprocess.run([HYTHE, *words], env=env, capture_output=True, text=True, check=False)


def test_an_image_verifies_down_to_its_commit(services: Services, tmp_path: Path) -> None:
    """`hythe verify` names source and commit in one line; `pull --trusted` pulls what verifies."""
    source = services.source("proven", {"Dockerfile": f"{TINY}COPY status /var/lib/dpkg/status\n", "status": STATUS})
    path = services.set_up("proven", source)
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
    """Each is a Sigstore bundle that refers to the image; openssl finds its envelope signed by the published key."""
    path = services.set_up("bundled", services.source("bundled", {"Dockerfile": TINY}))
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
        # The pre-authentication encoding, by DSSE's own text.
        (tmp_path / "signed").write_bytes(b"DSSEv1 28 application/vnd.in-toto+json %d " % len(payload) + payload)
        (tmp_path / "signature").write_bytes(base64.b64decode(signature["sig"]))
        command = ["openssl", "dgst", "-sha256", "-verify", "key.pem", "-signature", "signature", "signed"]
        said = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False).stdout
        assert (layer["mediaType"], bundle["mediaType"]) == (kind, kind)
        assert said == "Verified OK\n"
        assert json.loads(payload)["subject"][0]["digest"]["sha256"] == digest.removeprefix("sha256:")


STATUS = "Package: tree\nStatus: install ok installed\nVersion: 2.1\nArchitecture: amd64\n\n"


def test_what_was_pushed_by_hand_does_not_verify(services: Services, tmp_path: Path) -> None:
    """An image without statements, or with a key that did not sign them, is refused with a hint."""
    path = services.set_up("orphan", services.source("orphan", {"Dockerfile": TINY}))
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
    assert "no key of this hub signed it" in with_other_key.stderr
    assert without.returncode == 6
    assert "was not made by a Trusted Build" in without.stderr


def test_a_second_build_says_reproduced(services: Services) -> None:
    """With `reproduce`, an independent build without cache marks the image when it comes out equal."""
    path = services.set_up("twice", services.source("twice"), options={"reproduce": True})
    first = services.built(path, services.trigger(path)[0])

    second = services.built(path, first["number"] + 1)

    assert second["cause"] == "reproduce"
    assert second["digest"] == first["digest"]
    assert services.call("GET", f"{path}/builds/{first['number']}")["result"]["reproduced"] is True


@dataclass(slots=True)
class Receiver:
    """A web server that keeps what is sent to it, and answers with the next of `answers` (then 200)."""

    url: str = ""
    answers: list[int] = field(default_factory=list)
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)

    def wait(self, count: int) -> list[tuple[dict[str, str], bytes]]:
        """Wait until so many requests came."""
        end = time.monotonic() + 30
        while len(self.got) < count:
            assert time.monotonic() < end, f"{len(self.got)} of {count} notices came"
            time.sleep(0.05)
        return self.got


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A running receiver of webhooks."""
    kept = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            kept.got.append((dict(self.headers), body))
            self.send_response(kept.answers.pop(0) if kept.answers else 200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    kept.url = f"http://127.0.0.1:{server.server_port}/hook"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield kept
    server.shutdown()
    server.server_close()


def test_webhooks_are_signed_chained_and_sent_again(services: Services, receiver: Receiver) -> None:
    """Docker Hub's body, GitHub's way of signing; the second of a chain waits for the first one's callback."""
    path = services.set_up("noticed", services.source("noticed", {"Dockerfile": TINY}))
    first = services.call("POST", f"{path}/webhooks", {"url": receiver.url, "secret": "shared"})
    services.call("POST", f"{path}/webhooks", {"url": f"{receiver.url}/2", "chained": True})
    services.built(path, services.trigger(path)[0])

    headers, body = receiver.wait(1)[0]
    said: dict[str, Any] = json.loads(body)
    expected = hmac.new(b"shared", body, hashlib.sha256).hexdigest()
    assert headers["X-Hub-Signature-256"] == f"sha256={expected}"
    assert said["push_data"]["tag"] == "latest"
    assert said["repository"]["repo_name"] == "alice/noticed"
    assert "FROM scratch" in said["repository"]["dockerfile"]

    services.call("POST", urlsplit(said["callback_url"]).path, {"state": "success", "description": "deployed"}, user="")
    receiver.wait(2)
    [delivery] = services.call("GET", f"{path}/webhooks/{first['id']}/deliveries")["items"]
    assert (delivery["status"], delivery["callback_state"]) == (200, "success")

    services.call("POST", f"{path}/webhooks/deliveries/{delivery['id']}/again")
    assert receiver.wait(3)[2][1] == body
