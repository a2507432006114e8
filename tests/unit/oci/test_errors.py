"""The errors of the wire."""

import json
from http import HTTPStatus

import pytest

from hythe.oci.errors import ErrorCode, ErrorEntry, WireError, decode_errors, encode_errors

STATUSES = {
    "BLOB_UNKNOWN": 404,
    "BLOB_UPLOAD_INVALID": 400,
    "BLOB_UPLOAD_UNKNOWN": 404,
    "DIGEST_INVALID": 400,
    "MANIFEST_BLOB_UNKNOWN": 404,
    "MANIFEST_INVALID": 400,
    "MANIFEST_UNKNOWN": 404,
    "NAME_INVALID": 400,
    "NAME_UNKNOWN": 404,
    "SIZE_INVALID": 400,
    "UNAUTHORIZED": 401,
    "DENIED": 403,
    "UNSUPPORTED": 405,
    "TOOMANYREQUESTS": 429,
}
"""The table of the specification (distribution 1.1, "Error Codes") with its usual statuses."""


@pytest.mark.parametrize(("name", "status"), STATUSES.items())
def test_the_codes_of_the_specification(name: str, status: int) -> None:
    """Every code of the specification is there, with its status and a sentence."""
    assert (ErrorCode[name].status, bool(ErrorCode[name].message)) == (status, True)


def test_every_code_is_one_of_its_own() -> None:
    """Codes with the same status and sentence would be one (Enum makes aliases)."""
    assert set(ErrorCode.__members__) == {code.name for code in ErrorCode}


def test_errors_survive_the_wire() -> None:
    """What is sent is what is read."""
    error = WireError(ErrorCode.DENIED, "no, because", detail={"name": "web"})
    body = encode_errors(error, WireError(ErrorCode.NAME_UNKNOWN))

    assert set(json.loads(body)) == {"errors"}
    assert decode_errors(body) == (
        ErrorEntry("DENIED", "no, because", {"name": "web"}),
        ErrorEntry("NAME_UNKNOWN", ErrorCode.NAME_UNKNOWN.message, None),
    )


def test_a_status_can_be_another() -> None:
    """A chunk out of order is 416, whatever the code's own status is."""
    error = WireError(ErrorCode.BLOB_UPLOAD_INVALID, status=HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)

    assert (error.status, str(error)) == (416, ErrorCode.BLOB_UPLOAD_INVALID.message)


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b'{"errors": 1}', b'{"errors": null}', b'{"errors": [null, 7, {}]}', b"\xff"]
)
def test_other_bodies_are_no_errors(body: bytes) -> None:
    """A proxy's page says nothing."""
    assert decode_errors(body) == ()


def test_docker_hubs_short_form() -> None:
    """Entries may lack message and detail."""
    assert decode_errors(b'{"errors":[{"code":"DENIED"}]}') == (ErrorEntry("DENIED"),)


@pytest.mark.parametrize(
    ("body", "entry"),
    [
        (b'{"errors": [{"message": "x"}]}', ErrorEntry("", "x")),
        (b'{"errors": [{"code": "DENIED", "message": null, "detail": null}]}', ErrorEntry("DENIED")),
        (b'{"errors": [{"code": 40101, "message": "no", "more": 1}], "status": 401}', ErrorEntry("40101", "no")),
        (b'{"errors": ["no"]}', ErrorEntry("", "no")),
    ],
)
def test_entries_of_other_servers(body: bytes, entry: ErrorEntry) -> None:
    """Their codes are numbers, or missing, and their fields are null."""
    assert decode_errors(body) == (entry,)
