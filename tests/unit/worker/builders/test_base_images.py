"""Registries from which base images can be fetched, and where those can lead the worker."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import pytest
from tests.unit.worker.test_shared_layers import JOB

from hythe.client.client import Client
from hythe.client.errors import ClientError
from hythe.client.layout import ImageLayout
from hythe.client.retry import RetryPolicy
from hythe.oci.reference import Reference
from hythe.worker.builders.base_images import BaseImages
from hythe.worker.errors import BuildFailed

OWN = (
    *("127.0.0.1:5000", "127.9.9.9", "localhost:2375", "0x7f000001:5000", "0.0.0.0:5000", "[::1]:5000"),
    *("2130706433:5000", "017700000001:80", "127.1:80"),
)
INTERNAL = ("10.0.0.5", "192.168.1.1:5000", "172.17.0.1:5000", "100.64.0.1", "[fd00::1]:5000", "169.254.169.254:80")
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def bases(internal_networks: str = "") -> BaseImages:
    """Return the base images of a build on a hub with this setting."""
    hub: Any = None
    limits = msgspec.structs.replace(JOB.limits, internal_networks=internal_networks)
    client = Client(policy=RetryPolicy(attempts=1))
    return BaseImages(msgspec.structs.replace(JOB, limits=limits), hub, client)


@pytest.mark.parametrize("host", [*OWN, *INTERNAL])
def test_internal_registries_are_refused(host: str) -> None:
    """Services of the worker's machine and network trust that network, but must not trust a Dockerfile's author."""
    with pytest.raises(BuildFailed, match="an administrator can open it with internal_networks"):
        bases().reference(f"{host}/alice/app")


def test_the_operator_can_open_a_registry() -> None:
    """By HOST:PORT or by network; the hub itself is always allowed."""
    assert bases("127.0.0.1:5000").reference("127.0.0.1:5000/alice/app").host == "127.0.0.1:5000"
    assert bases("10.0.0.0/8").reference("10.0.0.5/alice/app").host == "10.0.0.5"
    assert bases().reference(f"{JOB.registry}/alice/app").host == JOB.registry
    with pytest.raises(BuildFailed):
        bases("127.0.0.1:5000 0.0.0.0/0").reference("127.0.0.1:5001/alice/app")


Respond = Callable[[http.server.BaseHTTPRequestHandler], tuple[int, dict[str, str], bytes]]


@contextmanager
def serving(respond: Respond) -> Iterator[tuple[str, list[str]]]:
    """A server on loopback: its HOST:PORT, and the paths that were requested from it."""
    seen: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.path)
            status, headers, body = respond(self)
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def do_HEAD(self) -> None:
            self.do_GET()

        def log_message(self, format: str, *arguments: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}", seen
        server.shutdown()


def secret(_request: object) -> tuple[int, dict[str, str], bytes]:
    """The response of a service that no user may reach."""
    return 200, {}, b'{"token": "secret"}'


@pytest.mark.parametrize(
    "spelling", ["127.0.0.1", "127.0.0.1.", "2130706433", "0x7f.1", "localhost", "[::ffff:127.0.0.1]"]
)
@pytest.mark.parametrize("kind", ["realm", "manifest", "realm-redirect"])
def test_an_opened_registry_leads_to_no_other_service(kind: str, spelling: str) -> None:
    """Token servers and redirects of a registry are decided like the registry itself."""
    with serving(secret) as (service, reached):
        target = f"http://{spelling}:{service.rpartition(':')[2]}/latest/meta-data"

        def respond(request: http.server.BaseHTTPRequestHandler) -> tuple[int, dict[str, str], bytes]:
            if kind == "manifest" or request.path.startswith("/token"):
                return 307, {"Location": target}, b""
            realm = target if kind == "realm" else f"http://{request.headers['Host']}/token"
            return 401, {"WWW-Authenticate": f'Bearer realm="{realm}",service="x"'}, b""

        with serving(respond) as (registry, _):
            images = bases(registry)
            assert images.digest(Reference.parse(f"{registry}/alice/app:1"), "") is None

    assert reached == []


def test_a_blob_redirect_is_decided(tmp_path: Any) -> None:
    """A registry cannot make the worker fetch a blob from a metadata service or another port."""
    config = b"{}"
    digest = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    descriptor = {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest, "size": len(config)}
    manifest = msgspec.json.encode({"schemaVersion": 2, "mediaType": MANIFEST, "config": descriptor, "layers": []})
    for target in ("http://169.254.169.254/latest", "http://10.255.255.1/x", None):
        with serving(lambda _request: (200, {}, config)) as (service, reached):
            location = target or f"http://{service}/blob"

            def respond(
                request: http.server.BaseHTTPRequestHandler, location: str = location
            ) -> tuple[int, dict[str, str], bytes]:
                if "/blobs/" in request.path:
                    return 307, {"Location": location}, b""
                return 200, {"Content-Type": MANIFEST}, manifest

            with serving(respond) as (registry, _):
                images = bases(registry)
                reference = Reference.parse(f"{registry}/alice/app:1")
                found = images.digest(reference, "")
                assert found
                layout = ImageLayout(tmp_path / str(len(location)))
                layout.create()
                with pytest.raises((BuildFailed, ClientError), match="is not on the public internet"):
                    images.fetch(reference, found, "", layout)
        assert reached == []


def test_no_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy would connect to any address for the build."""
    with serving(secret) as (proxy, reached):
        monkeypatch.setenv("HTTP_PROXY", f"http://{proxy}")
        monkeypatch.setenv("HTTPS_PROXY", f"http://{proxy}")
        monkeypatch.setenv("HYTHE_PLAIN_HTTP", "10.0.0.5")
        assert bases().digest(Reference.parse("10.0.0.5/alice/app:1"), "") is None
        assert bases().digest(Reference.parse("no-such-host.invalid/alice/app:1"), "") is None

    assert reached == []
