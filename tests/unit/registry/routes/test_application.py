"""Anything may be sent to ``/v2/``: the answer is one of the protocol's, never a failure of the server."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.registry.depot import image

from hythe.database import open_database
from hythe.oci.digest import Digest
from hythe.oci.manifest import OCI_MANIFEST
from hythe.registry.anonymous import AnonymousAccess
from hythe.registry.policy import Policy
from hythe.registry.routes.application import RegistryApplication
from hythe.registry.routes.http import Message
from hythe.registry.service import RegistryServices
from hythe.registry.storage import open_blob_store

Send = Callable[..., tuple[int, dict[bytes, bytes], bytes]]

WORDS = st.sampled_from(
    [
        *("", "a", "b", "manifests", "blobs", "uploads", "tags", "list", "referrers", "_catalog", "latest", "A", ".."),
        *(str(Digest.of(b"{}")), "sha256:bad", "sha512:" + "0" * 128, "\x00", "%00", "ä", "%", "x" * 300),
    ]
)
PATHS = st.lists(WORDS, max_size=6).map("/".join)
NAMED = st.tuples(st.sampled_from(["a", "b/c"]), st.lists(WORDS, min_size=2, max_size=3)).map(
    lambda parts: "/".join([parts[0], *parts[1]])
)
QUERIES = st.lists(
    st.tuples(
        st.sampled_from(["n", "last", "digest", "mount", "from", "tag", "artifactType", "x"]),
        st.one_of(WORDS, st.integers(-2, 10**30).map(str)),
    ),
    max_size=3,
).map(lambda pairs: "&".join(f"{key}={value}" for key, value in pairs).encode("utf-8", "surrogatepass"))
HEADERS = st.lists(
    st.tuples(
        st.sampled_from([b"range", b"content-range", b"content-type", b"if-none-match", b"authorization", b"host"]),
        st.one_of(
            st.sampled_from([b"bytes=0-1", b"bytes=5-1", b"0-1", b"bytes 0-1/*", OCI_MANIFEST.encode(), b"*", b""]),
            st.binary(max_size=20),
        ),
    ),
    max_size=3,
)
BODIES = st.one_of(
    st.just(b""),
    st.just(b"{}"),
    st.just(json.dumps(image(b"{}")).encode()),
    st.sampled_from(["\x00", "\ud800", "ä", "x" * 1000]).map(
        lambda text: json.dumps(image(b"{}", artifactType=text, annotations={text: text})).encode()
    ),
    st.binary(max_size=50),
    st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(), st.sampled_from(["\x00", "application/x"])),
        lambda inner: st.one_of(
            st.lists(inner, max_size=3),
            st.dictionaries(
                st.sampled_from(
                    ["schemaVersion", "mediaType", "config", "layers", "manifests", "subject", "artifactType"]
                ),
                inner,
                max_size=5,
            ),
        ),
        max_leaves=10,
    ).map(lambda value: json.dumps(value).encode()),
)
METHODS = st.sampled_from(["GET", "HEAD", "PUT", "POST", "PATCH", "DELETE", "OPTIONS", "X"])


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def send(request: pytest.FixtureRequest) -> Iterator[Send]:
    """Sends one request to a registry on each database; returns status, headers and body."""
    url = ""
    if request.param == "postgresql":
        template = request.getfixturevalue("postgresql_template")
        url = request.getfixturevalue("postgresql").create(template=template)
    with tempfile.TemporaryDirectory() as folder, asyncio.Runner() as runner:
        database = runner.run(open_database(Path(folder), url))
        storage = open_blob_store(Path(folder) / "blobs")
        application = RegistryApplication(RegistryServices(database, storage, AnonymousAccess(), (), Policy()))

        def call(method: str, path: str, query: bytes = b"", headers: Any = (), body: bytes = b"") -> Any:
            return runner.run(_request(application, method, path, query, list(headers), body))

        content = b"{}"
        call("POST", "/v2/a/blobs/uploads/", f"digest={Digest.of(content)}".encode(), body=content)
        call("PUT", "/v2/a/manifests/latest", body=json.dumps(image(content)).encode())
        yield call
        runner.run(storage.close())
        runner.run(database.close())


async def _request(
    application: RegistryApplication,
    method: str,
    path: str,
    query: bytes,
    headers: list[tuple[bytes, bytes]],
    body: bytes,
) -> tuple[int, dict[bytes, bytes], bytes]:
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    async def make_response(message: Message) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": method,
        "scheme": "http",
        "path": path,
        "query_string": query,
        "headers": [*headers, (b"content-length", b"%d" % len(body))],
    }
    await application(scope, receive, make_response)
    whole = b"".join(message.get("body", b"") for message in sent[1:])
    return sent[0]["status"], dict(sent[0]["headers"]), whole


@settings(max_examples=600, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(METHODS, st.one_of(PATHS, NAMED), QUERIES, HEADERS, BODIES)
def test_no_request_breaks_it(
    send: Send, method: str, path: str, query: bytes, headers: list[tuple[bytes, bytes]], body: bytes
) -> None:
    """Whatever method, path, query, headers and body: below 500, and an error has the protocol's body."""
    status, sent, content = send(method, f"/v2/{path}", query, headers, body)

    assert 200 <= status < 500
    assert sent[b"docker-distribution-api-version"] == b"registry/2.0"
    if status >= 400 and method != "HEAD":
        assert {"code", "message", "detail"} == json.loads(content)["errors"][0].keys()
        assert int(sent[b"content-length"]) == len(content)
    if method == "HEAD":
        assert content == b""


@settings(max_examples=300, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(BODIES, st.sampled_from([OCI_MANIFEST, "", "text/plain", "application/vnd.oci.image.index.v1+json"]))
def test_no_manifest_breaks_it(send: Send, body: bytes, media_type: str) -> None:
    """A manifest is kept byte for byte or refused by the protocol."""
    headers = [(b"content-type", media_type.encode())]

    status, _, _ = send("PUT", "/v2/a/manifests/fuzz", b"", headers, body)

    assert status in (201, 400, 404)
    if status == 201:
        assert send("GET", "/v2/a/manifests/fuzz")[2] == body
