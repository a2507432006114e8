"""Distribution specification 1.1, "Pushing a blob in chunks": sessions, their order, their state and their end."""

from __future__ import annotations

import socket
import time

import pytest
from tests.contracts.distribution import Client, digest_of, with_digest

FIRST, SECOND = b"first chunk ", b"and the second"
WHOLE = FIRST + SECOND
NOTICE_TIMEOUT = 30.0
"""Seconds in which a server notices that a client has gone."""


@pytest.mark.parametrize("form", ["{}-{}", "bytes={}-{}", "bytes {}-{}/*", "bytes {}-{}/26"])
def test_chunks_in_order(registry: Client, name: str, form: str) -> None:
    """202 with Location and Range after each chunk; Content-Range is understood with and without its unit."""
    first = registry("PATCH", registry.start_upload(name), FIRST, Content_Range=form.format(0, len(FIRST) - 1))
    place = form.format(len(FIRST), len(WHOLE) - 1)
    second = registry("PATCH", first.location, SECOND, Content_Range=place)
    finished = registry("PUT", with_digest(second.location, digest_of(WHOLE)))

    assert [first.status, second.status, finished.status] == [202, 202, 201]
    assert first.headers["Range"] == f"0-{len(FIRST) - 1}"
    assert second.headers["Range"] == f"0-{len(WHOLE) - 1}"
    assert registry("GET", finished.location).body == WHOLE


def test_last_chunk_in_put(registry: Client, name: str) -> None:
    """The closing PUT may carry the last chunk."""
    location = registry("PATCH", registry.start_upload(name), FIRST, Content_Range=f"0-{len(FIRST) - 1}").location

    answer = registry(
        "PUT", with_digest(location, digest_of(WHOLE)), SECOND, Content_Range=f"{len(FIRST)}-{len(WHOLE) - 1}"
    )

    assert answer.status == 201
    assert registry("GET", answer.location).body == WHOLE


@pytest.mark.parametrize("start", [0, 5, 99])
def test_chunk_out_of_order_is_416_and_the_session_goes_on(registry: Client, name: str, start: int) -> None:
    """A chunk out of order is answered by 416; the session stays as it was, and can be finished."""
    location = registry("PATCH", registry.start_upload(name), FIRST, Content_Range=f"0-{len(FIRST) - 1}").location

    refused = registry("PATCH", location, SECOND, Content_Range=f"{start}-{start + len(SECOND) - 1}")
    status = registry("GET", location)
    finished = registry("PUT", with_digest(location, digest_of(WHOLE)), SECOND)

    assert (refused.status, refused.headers["Range"]) == (416, f"0-{len(FIRST) - 1}")
    assert refused.headers["Location"].endswith(f"/blobs/uploads/{refused.headers['Docker-Upload-UUID']}")
    assert (status.status, status.headers["Range"]) == (204, f"0-{len(FIRST) - 1}")
    assert finished.status == 201


def test_first_chunk_that_is_not_the_first_is_416(registry: Client, name: str) -> None:
    """A session that has nothing yet takes a chunk from byte 0 alone."""
    location = registry.start_upload(name)

    answer = registry("PATCH", location, SECOND, Content_Range=f"{len(FIRST)}-{len(WHOLE) - 1}")

    assert answer.status == 416
    assert registry("PATCH", location, FIRST, Content_Range=f"0-{len(FIRST) - 1}").status == 202


def test_put_out_of_order_is_416(registry: Client, name: str) -> None:
    """The closing PUT is held to the same order."""
    location = registry("PATCH", registry.start_upload(name), FIRST).location

    refused = registry("PUT", with_digest(location, digest_of(WHOLE)), SECOND, Content_Range="40-53")
    finished = registry("PUT", with_digest(location, digest_of(WHOLE)), SECOND)

    assert (refused.status, finished.status) == (416, 201)


@pytest.mark.parametrize("place", ["x-y", "5", "bytes", "10-3", "-5"])
def test_malformed_content_range(registry: Client, name: str, place: str) -> None:
    """A Content-Range that is none is refused, and the session goes on."""
    location = registry.start_upload(name)

    refused = registry("PATCH", location, FIRST, Content_Range=place)

    assert refused.status in (400, 416)
    assert registry("PATCH", location, FIRST).status == 202


def test_content_range_must_agree_with_length(registry: Client, name: str) -> None:
    """ "Error Codes", SIZE_INVALID: the header and the body have different lengths."""
    location = registry.start_upload(name)

    refused = registry("PATCH", location, FIRST, Content_Range="0-3")
    streamed = registry("PATCH", location, iter([FIRST]), Content_Range="0-3")

    assert (refused.status, refused.codes) == (400, ["SIZE_INVALID"])
    assert (streamed.status, streamed.codes) == (400, ["SIZE_INVALID"])


def test_state_of_a_session(registry: Client, name: str) -> None:
    """GET on a session is 204 with its Location and Range."""
    location = registry("PATCH", registry.start_upload(name), FIRST).location

    answer = registry("GET", location)

    assert (answer.status, answer.body) == (204, b"")
    assert (answer.location, answer.headers["Range"]) == (location, f"0-{len(FIRST) - 1}")


def test_cancelled_session_is_gone(registry: Client, name: str) -> None:
    """Development version, "Canceling a blob upload": DELETE is 204, and the session is unknown afterwards."""
    location = registry("PATCH", registry.start_upload(name), FIRST).location

    answer = registry("DELETE", location)

    assert answer.status == 204
    assert [registry(method, location).status for method in ("GET", "PATCH", "DELETE")] == [404, 404, 404]
    assert registry("PUT", with_digest(location, digest_of(FIRST))).codes == ["BLOB_UPLOAD_UNKNOWN"]


def test_session_belongs_to_its_repository(registry: Client, name: str) -> None:
    """A session is unknown under another repository's name."""
    location = registry.start_upload(name)

    answer = registry("PATCH", location.replace(name, f"{name}/other"), FIRST)

    assert (answer.status, answer.codes) == (404, ["BLOB_UPLOAD_UNKNOWN"])


def test_finished_session_is_gone(registry: Client, name: str) -> None:
    """What became a blob is no session any more."""
    location = registry.start_upload(name)
    registry("PUT", with_digest(location, digest_of(WHOLE)), WHOLE)

    answer = registry("GET", location)

    assert (answer.status, answer.codes) == (404, ["BLOB_UPLOAD_UNKNOWN"])


def _send_half(port: int, method: str, path: str, body: bytes) -> None:
    head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {2 * len(body)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(head.encode() + body)


def test_cut_put_stores_nothing(registry: Client, name: str) -> None:
    """A body that ends before its Content-Length is never taken for a whole blob; the session can be used again."""
    location = registry.start_upload(name)

    _send_half(registry.port, "PUT", with_digest(location, digest_of(WHOLE)), WHOLE)

    assert registry("HEAD", f"/v2/{name}/blobs/{digest_of(WHOLE)}").status == 404
    deadline = time.monotonic() + NOTICE_TIMEOUT
    while (again := registry("PUT", with_digest(location, digest_of(WHOLE)), WHOLE)).status == 409:
        assert time.monotonic() < deadline
    assert again.status == 201


def test_cut_patch_goes_on_where_it_was_cut(registry: Client, name: str) -> None:
    """After a cut, the session's state tells how much came, and the rest completes the blob.

    The server may notice the cut late: until then it says that the session is busy, or that the rest is out of order.
    """
    location = registry.start_upload(name)
    _send_half(registry.port, "PATCH", location, FIRST)

    deadline = time.monotonic() + NOTICE_TIMEOUT
    came, finished = 0, None
    while finished is None or finished.status in (409, 416):
        assert time.monotonic() < deadline
        status = registry("GET", location)
        if status.status != 409:
            came = int(status.headers["Range"].split("-")[1]) + 1 if status.headers["Range"] != "0-0" else 0
            place = f"{came}-{len(WHOLE) - 1}"
            finished = registry("PUT", with_digest(location, digest_of(WHOLE)), WHOLE[came:], Content_Range=place)

    assert came in (0, len(FIRST))
    assert finished.status == 201
    assert registry("GET", finished.location).body == WHOLE


def test_cut_manifest_is_not_kept(registry: Client, name: str) -> None:
    """A manifest that was cut off leaves neither a manifest nor a tag."""
    registry.push_image(name)

    _send_half(registry.port, "PUT", f"/v2/{name}/manifests/cut", b'{"schemaVersion": 2')

    assert registry("GET", f"/v2/{name}/manifests/cut").status == 404
