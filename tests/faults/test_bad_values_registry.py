"""Invalid values in the distribution protocol of the hub, and in the headers of every kind of address."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator

import httpx2
import pytest
from tests.faults.bad_values import (
    HEADERS,
    RAW,
    Tried,
    invalid_variants,
    is_page,
    is_problem,
    is_token_failure,
    is_wire_error,
    queries,
    sent,
    tried,
    whole,
)
from tests.unit.registry.depot import image

from hythe.oci.digest import Digest
from hythe.oci.manifest import OCI_MANIFEST

__all__ = ["tried", "whole"]


@pytest.fixture(autouse=True)
def by_token(whole: Tried) -> Iterator[None]:
    """Call the registry with a personal token, which it takes."""
    session = whole.client.headers["Authorization"]
    whole.client.headers["Authorization"] = f"Bearer {whole.token}"
    yield
    whole.client.headers["Authorization"] = session


def test_registry(tried: Tried) -> None:
    """Names and references in the distribution protocol of the hub."""
    whole = ("{}/manifests/latest", "ann/{}/manifests/latest", "ann/other/manifests/{}")
    parts = ("blobs/{}", "blobs/sha256:{}", "blobs/uploads/{}", "referrers/{}")
    for path, bad in itertools.product((*whole, *(f"ann/other/{part}" for part in parts)), RAW):
        for method in ("GET", "PUT", "DELETE", "POST", "PATCH"):
            tried.send(method, f"/v2/{path.format(bad)}", is_wire_error)


def test_registrys_parameters(tried: Tried) -> None:
    """Every parameter of the protocol and its extensions."""
    digest = str(Digest.of(b"{}"))
    for path, names in (
        ("_catalog", ("n", "last", "ns")),
        ("ann/app/tags/list", ("n", "last", "ns")),
        ("ann/app/manifests/latest", ("ns",)),
        (f"ann/app/referrers/{digest}", ("n", "last", "artifactType")),
    ):
        for query in queries(names):
            tried.send("GET", f"/v2/{path}?{query}", is_wire_error)
    for query in queries(("mount", "from", "digest")):
        tried.send("POST", f"/v2/ann/other/blobs/uploads/?mount={digest}&{query}", is_wire_error)
        tried.send("POST", f"/v2/ann/other/blobs/uploads/?{query}", is_wire_error)


def test_manifests(tried: Tried) -> None:
    """Each field of a manifest, and tags as a parameter."""
    mounted = tried.client.post(f"/v2/ann/other/blobs/uploads/?mount={Digest.of(b'{}')}&from=ann/app")
    assert mounted.status_code == 201
    good = json.loads(json.dumps(image(b"{}", artifactType="application/x", annotations={"a": "b"})))
    media_type = {"headers": {"Content-Type": OCI_MANIFEST}}
    for bad in invalid_variants(good):
        tried.send("PUT", "/v2/ann/other/manifests/bad", is_wire_error, **sent(bad) | media_type)
    for query in queries(("tag",)):
        tried.send("PUT", f"/v2/ann/other/manifests/bad?{query}", is_wire_error, **sent(good) | media_type)


def test_headers(tried: Tried) -> None:
    """Invalid Latin-1 text in every header that the hub reads."""
    names = (
        "Authorization",
        "Range",
        "Content-Range",
        "If-None-Match",
        "Content-Type",
        "Last-Event-ID",
        "Host",
        "Cookie",
    )
    targets: tuple[tuple[str, str, Callable[[httpx2.Response], bool]], ...] = (
        ("GET", "/api/v1/users/me", is_problem),
        ("GET", "/api/v1/repositories/ann/app/builds/1/log", is_problem),
        ("POST", "/api/v1/repositories", is_problem),
        ("GET", "/v2/ann/app/manifests/latest", is_wire_error),
        ("GET", f"/v2/ann/app/blobs/{Digest.of(b'{}')}", is_wire_error),
        ("POST", "/v2/ann/other/blobs/uploads/", is_wire_error),
        ("GET", "/token", is_token_failure),
        ("GET", "/sign-in", is_page),
    )
    for name, bad, (method, path, form) in itertools.product(names, HEADERS, targets):
        tried.send(method, path, form, headers={name: bad})
    for scheme, bad, (method, path, form) in itertools.product((b"Basic ", b"Bearer ", b"JWT "), HEADERS, targets):
        tried.send(method, path, form, headers={"Authorization": scheme + bad})
        tried.send(method, path, form, headers={"Authorization": scheme + bad + b"." + bad + b"." + bad})
