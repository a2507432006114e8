"""Every exception becomes an answer of the protocol."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import pytest

from hythe.database import UnavailableError
from hythe.oci.challenge import Challenge
from hythe.oci.errors import ErrorCode, InvalidDigest, InvalidManifest, InvalidReference, WireError
from hythe.registry.anonymous import AnonymousAccess
from hythe.registry.routes.error_responses import error_response
from hythe.registry.routes.http import Response, Scope
from hythe.registry.routes.routing import RegistryRoute, Target
from hythe.registry.storage.disk import disk_errors
from hythe.registry.storage.port import BlobMissing, StorageUnavailable
from hythe.registry.uploads import BodyCut

TARGET = Target(RegistryRoute.MANIFEST, "a/b", "latest")


class TokenAccess(AnonymousAccess):
    """Offers tokens of the server that was asked."""

    def challenge(self, repository: str | None, actions: Any, error: str = "") -> Challenge:
        """See Access."""
        scope = f"repository:{repository}:{','.join(action.value for action in actions)}"
        return Challenge("bearer", {"realm": "/token", "service": "", "scope": scope})


def answer_to(error: Exception, method: str = "GET", target: Target = TARGET) -> Response:
    """The answer when a handler raises this."""
    scope: Scope = {"method": method, "scheme": "https", "headers": [(b"host", b"hub.example:5000")]}
    return error_response(error, TokenAccess(), scope, target)


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (WireError(ErrorCode.DENIED), 403, "DENIED"),
        (InvalidReference("x"), 400, "NAME_INVALID"),
        (InvalidDigest("x"), 400, "DIGEST_INVALID"),
        (InvalidManifest("x"), 400, "MANIFEST_INVALID"),
        (BodyCut("x"), 400, "SIZE_INVALID"),
        (BlobMissing("x"), 404, "BLOB_UNKNOWN"),
        (StorageUnavailable("x"), 503, "UNAVAILABLE"),
        (UnavailableError("x"), 503, "UNAVAILABLE"),
        (RuntimeError("a secret"), 503, "UNAVAILABLE"),
    ],
)
def test_status_and_code(error: Exception, status: int, code: str) -> None:
    """Never a 500, and never what an exception says inside."""
    make_response = answer_to(error)

    assert isinstance(make_response.body, bytes)
    assert (make_response.status, json.loads(make_response.body)["errors"][0]["code"]) == (status, code)
    assert b"secret" not in make_response.body


def test_a_full_disk_is_said_and_its_place_is_not() -> None:
    """Whoever pushes learns what is the matter, the operator alone where."""
    with pytest.raises(StorageUnavailable) as full, disk_errors(Path("/srv/secret")):
        raise OSError(errno.ENOSPC, "No space left on device")

    body = answer_to(full.value).body

    assert isinstance(body, bytes)
    assert b"the disk is full" in body
    assert b"secret" not in body


@pytest.mark.parametrize(("method", "actions"), [("GET", "pull"), ("PUT", "pull,push"), ("DELETE", "delete")])
def test_unauthorized_offers_what_the_request_needs(method: str, actions: str) -> None:
    """A 401 names realm, service and scope; the realm is on the server that the client asked."""
    headers = dict(answer_to(WireError(ErrorCode.UNAUTHORIZED), method).headers)

    assert headers[b"www-authenticate"].decode() == (
        f'Bearer realm="https://hub.example:5000/token",service="hub.example:5000",scope="repository:a/b:{actions}"'
    )


def test_unauthorized_catalog_names_its_scope() -> None:
    """Without it, clients would fetch a token that shows them public repositories alone."""
    headers = dict(answer_to(WireError(ErrorCode.UNAUTHORIZED), target=Target(RegistryRoute.CATALOG)).headers)

    assert b'scope="registry:catalog:*"' in headers[b"www-authenticate"]
