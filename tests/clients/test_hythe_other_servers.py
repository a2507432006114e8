"""hythe with registries that use the protocol's freedom: challenges, tokens, links, errors are read leniently."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from tests.parts.base_images import Layout
from tests.parts.hythe_client import HytheClient

from hythe.client import ClientError, Registry
from hythe.client.client import Client
from hythe.client.credentials import Credential
from hythe.client.errors import AccessDenied, ContentMismatch, RegistryError
from hythe.client.hub_api import JSONAPI

pytestmark = pytest.mark.clients

Answer = tuple[int, dict[str, str], bytes]


class OtherRegistry:
    """A registry with one image, `ann/box:1`, whose answers a test can replace by path."""

    def __init__(self, layout: Layout) -> None:
        self.requests: list[tuple[str, str, str]] = []
        """Method, path with query, and Authorization of each request."""
        self.headers: list[list[str]] = []
        """The names of the headers of each request, in lower case."""
        self.answers: dict[str, Answer | Callable[[str], Answer]] = {}
        self.challenge = ""
        """The WWW-Authenticate header; every request below /v2/ then needs a token."""
        registry, blobs = self, layout.folder / "blobs/sha256"
        index = json.loads((layout.folder / "index.json").read_text())
        self.manifest = (blobs / index["manifests"][0]["digest"].removeprefix("sha256:")).read_bytes()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                authorization = self.headers.get("Authorization", "")
                registry.requests.append((self.command, self.path, authorization))
                registry.headers.append(sorted(name.lower() for name in self.headers))
                status, headers, body = registry.answer(self.path, authorization, blobs)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(b"" if self.command == "HEAD" else body)

            def do_HEAD(self) -> None:
                self.do_GET()

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", "0")))
                self.do_GET()

            def do_PUT(self) -> None:
                self.do_POST()

            def log_message(self, format: str, *arguments: object) -> None:
                """Print nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.host = f"127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        """Stop the server."""
        self._server.shutdown()
        self._server.server_close()

    def answer(self, target: str, authorization: str, blobs: Path) -> Answer:
        """Return the answer to a request."""
        path = urlsplit(target).path
        found = self.answers.get(target) or self.answers.get(path)
        if self.challenge and path.startswith("/v2/") and not authorization:
            return 401, {"WWW-Authenticate": self.challenge}, b""
        if found is not None:
            return found(target) if callable(found) else found
        if path == "/v2/ann/box/manifests/1":
            return 200, {"Content-Type": "application/json; charset=utf-8"}, self.manifest
        if path.startswith("/v2/ann/box/blobs/"):
            return 200, {}, (blobs / path.rpartition(":")[2]).read_bytes()
        return 404, {}, b"404 page not found\n"

    @property
    def token_query(self) -> dict[str, list[str]]:
        """The query of the last request for a token."""
        return parse_qs(urlsplit([path for _, path, _ in self.requests if path.startswith("/token")][-1]).query)


@pytest.fixture
def other(busybox_layout: Layout) -> Iterator[OtherRegistry]:
    """A registry on loopback."""
    registry = OtherRegistry(busybox_layout)
    yield registry
    registry.close()


@pytest.fixture
def another(busybox_layout: Layout) -> Iterator[OtherRegistry]:
    """A second one, which must never see the first one's credentials."""
    registry = OtherRegistry(busybox_layout)
    yield registry
    registry.close()


TOKEN: Answer = (200, {}, b'{"token": null, "access_token": "t", "expires_in": "3600"}')


@pytest.mark.parametrize(
    ("challenge", "scopes"),
    [
        ('Bearer realm="/token",service="s",scope="aws"', ["repository:ann/box:pull", "aws"]),
        ("bearer Realm=/token, Scope=repository:ann/box:pull", ["repository:ann/box:pull"]),
        ('Negotiate, Basic realm="x", Bearer realm="/token"', ["repository:ann/box:pull"]),
        ('Bearer realm="/token",scope="",error="insufficient_scope"', ["repository:ann/box:pull"]),
    ],
)
def test_pulling_with_any_challenge(
    other: OtherRegistry, hythe: HytheClient, challenge: str, scopes: list[str]
) -> None:
    """An opaque scope, as of public.ecr.aws, a relative realm, several schemes: each gets a token."""
    other.challenge = challenge
    other.answers["/token"] = TOKEN
    hythe.ok("pull", f"{other.host}/ann/box:1")

    assert other.token_query["scope"] == scopes
    assert len(hythe.json("images")) == 1


def test_lists_without_items(other: OtherRegistry) -> None:
    """Go writes an empty list as null."""
    other.answers["/v2/ann/box/tags/list"] = 200, {}, b'{"name": "ann/box", "tags": null}'
    other.answers["/v2/_catalog"] = 200, {}, b'{"repositories": null}'
    other.answers["/v1/search"] = 200, {}, b'{"results": null, "num_results": 0}'
    with Registry(other.host) as registry:
        assert registry.tags("ann/box") == []
        assert list(registry.repositories()) == []
        assert registry.search("x") == []


def test_pages_by_any_link(other: OtherRegistry) -> None:
    """Relative, absolute, next to other relations; a page that links to itself ends the list."""
    path = "/v2/ann/box/tags/list"
    other.answers[f"{path}?n=1000"] = 200, {"Link": '<list?p=2>; rel="next"'}, b'{"tags": ["a"]}'
    absolute = f'<x>; rel="first", <http://{other.host}{path}?p=3>; title="a, b"; rel=next'
    other.answers[f"{path}?p=2"] = 200, {"Link": absolute}, b'{"tags": ["b"]}'
    other.answers[f"{path}?p=3"] = 200, {"Link": f"<{path}?p=3>; rel=next"}, b'{"tags": ["c"]}'
    with Registry(other.host) as registry:
        assert registry.tags("ann/box") == ["a", "b", "c"]


def test_credentials_stay_at_the_registry(other: OtherRegistry, another: OtherRegistry) -> None:
    """Neither a link nor a redirect to another server gets the token, and no challenge from there is answered."""
    other.challenge = 'Bearer realm="/token"'
    other.answers["/token"] = TOKEN
    link = {"Link": f'<http://{another.host}/v2/ann/box/tags/list?p=2>; rel="next"'}
    other.answers["/v2/ann/box/tags/list"] = 200, link, b'{"tags": ["a"]}'
    other.answers["/v2/ann/box/manifests/1"] = 307, {"Location": f"http://{another.host}/v2/ann/box/manifests/1"}, b""
    another.challenge = f'Bearer realm="http://{another.host}/token"'
    with Registry(other.host, username="ann", password="secret") as registry:
        for call in (lambda: registry.tags("ann/box"), lambda: registry.manifest("ann/box:1")):
            with pytest.raises(AccessDenied):
                call()

    assert [authorization for _, _, authorization in another.requests] == ["", ""]
    assert [path for _, path, _ in another.requests] == ["/v2/ann/box/tags/list?p=2", "/v2/ann/box/manifests/1"]


def test_headers_of_the_caller_stay_at_the_hub(other: OtherRegistry, another: OtherRegistry) -> None:
    """In letters of any case they replace the stored credentials; another server that a hub redirects to gets none."""
    other.answers["/api/v1/users/me"] = 307, {"Location": f"http://{another.host}/api/v1/users/me"}, b""
    another.answers["/api/v1/users/me"] = 200, {}, b"{}"
    api = JSONAPI(Client(), other.host, credential=Credential("ann", "secret"))
    for name in ("authorization", "AUTHORIZATION"):
        reply = api.send("GET", "/api/v1/users/me", headers={name: "Bearer other", "X-Api-Key": "secret"})
        assert reply.status == 200

    assert [authorization for *_, authorization in other.requests] == ["Bearer other"] * 2
    assert other.headers == [["accept", "authorization", "host", "user-agent", "x-api-key"]] * 2
    assert another.headers == [["accept", "host", "user-agent"]] * 2


def test_a_token_server_that_redirects(other: OtherRegistry, another: OtherRegistry) -> None:
    """It is followed as by docker; the password stays at the server that the registry named."""
    other.challenge = 'Bearer realm="/token"'
    other.answers["/token"] = lambda target: (
        301,
        {"Location": f"http://{another.host}/token?{urlsplit(target).query}"},
        b"",
    )
    another.answers["/token"] = TOKEN
    with Registry(other.host, username="ann", password="secret") as registry:
        assert registry.manifest("ann/box:1").config is not None

    assert [authorization[:5] for _, path, authorization in other.requests if path.startswith("/token")] == ["Basic"]
    assert [authorization for _, _, authorization in another.requests] == [""]


@pytest.mark.parametrize("digest", ["", "sha256:x", "md5:d41d8cd98f00b204e9800998ecf8427e"])
def test_a_digest_header_that_says_nothing(other: OtherRegistry, digest: str) -> None:
    """A missing or malformed Docker-Content-Digest is ignored."""
    other.answers["/v2/ann/box/manifests/1"] = 200, {"Docker-Content-Digest": digest}, other.manifest
    with Registry(other.host) as registry:
        assert registry.manifest("ann/box:1").content == other.manifest


@pytest.mark.parametrize("digest", [f"sha256:{'0' * 64}", f'"SHA256:{"A" * 64}"'])
def test_a_wrong_digest_header(other: OtherRegistry, digest: str) -> None:
    """In any case, what was damaged on the way is refused."""
    other.answers["/v2/ann/box/manifests/1"] = 200, {"Docker-Content-Digest": digest}, other.manifest
    with Registry(other.host) as registry, pytest.raises(ContentMismatch):
        registry.manifest("ann/box:1")


@pytest.mark.parametrize(
    ("status", "headers", "body", "words"),
    [
        (403, {}, b"<html>blocked</html>", "refused manifest"),
        (403, {}, b'{"errors": null, "message": "no licence"}', "no licence"),
        (401, {}, b'{"detail": "signed out"}', "signed out"),
        (404, {}, b'{"error": "x"}', "not found: x"),
        (418, {}, b"", "status 418"),
        (304, {"Location": "/x"}, b"", "it redirects to /x"),
        (200, {"Content-Type": "text/html; charset=utf-8"}, b"<html>sign in</html>", "web page"),
        (200, {}, b"<html>", "not a manifest"),
        (200, {}, b'{"schemaVersion": 1, "fsLayers": []}', "manifest"),
        (307, {"Location": "http://[::1"}, b"", "invalid URL"),
        (307, {"Location": "ftp://x/"}, b"", "invalid URL"),
        (307, {"Location": "/v2/ann/box/manifests/1"}, b"", "too many redirects"),
    ],
)
def test_any_error_of_a_server_is_explained(
    other: OtherRegistry, status: int, headers: dict[str, str], body: bytes, words: str
) -> None:
    """With the server's words if it has any; always as a ClientError with a hint for the user."""
    other.answers["/v2/ann/box/manifests/1"] = status, headers, body
    with Registry(other.host) as registry, pytest.raises(ClientError, match=words):
        registry.manifest("ann/box:1")


@pytest.mark.parametrize("location", ["/up?a=b&c=d", "5?x=y", "http://{host}/v2/ann/box/blobs/uploads/6"])
def test_uploads_to_any_location(other: OtherRegistry, location: str, busybox_layout: Layout) -> None:
    """The digest is added to a relative or absolute location, with or without a query."""
    headers = {"Location": location.format(host=other.host)}
    other.answers["/v2/ann/new/blobs/uploads/"] = 202, headers, b""
    for path in ("/up", "/v2/ann/new/blobs/uploads/5", "/v2/ann/box/blobs/uploads/6", "/v2/ann/new/manifests/1"):
        other.answers[path] = 201, {}, b""
    with Registry(other.host) as registry:
        registry.copy(f"oci:{busybox_layout.folder}", "ann/new:1")
    sent = [path for method, path, _ in other.requests if method == "PUT" and "digest=" in path]

    assert len(sent) == 2
    assert all(path.count("?") == 1 for path in sent)


def test_an_upload_without_a_location(other: OtherRegistry, busybox_layout: Layout) -> None:
    """It is the registry's error."""
    other.answers["/v2/ann/new/blobs/uploads/"] = 202, {}, b""
    with Registry(other.host) as registry, pytest.raises(RegistryError, match="without a Location"):
        registry.copy(f"oci:{busybox_layout.folder}", "ann/new:1")
