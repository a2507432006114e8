"""Distribution specification 1.1, "Pull": manifests and blobs by GET, HEAD and Range."""

from __future__ import annotations

import json

import pytest
from tests.contracts.distribution import MANIFEST, Client, digest_of

CONTENT = bytes(range(256)) * 40


def test_base_says_that_this_is_a_registry(registry: Client) -> None:
    """ "Determining Support": GET /v2/ answers 200."""
    answer = registry("GET", "/v2/")

    assert answer.status == 200
    assert answer.headers["Docker-Distribution-Api-Version"] == "registry/2.0"


@pytest.mark.parametrize("by", ["tag", "digest"])
def test_manifest_comes_back_byte_for_byte(registry: Client, name: str, by: str) -> None:
    """ "Pulling manifests": 200 with the manifest, and its digest in Docker-Content-Digest."""
    content = json.dumps(registry.image(name, unknownField={"kept": [1, 2]}), indent=3).encode()
    digest = registry.push_manifest(name, "latest", content)

    answer = registry("GET", f"/v2/{name}/manifests/{'latest' if by == 'tag' else digest}")

    assert answer.status == 200
    assert answer.body == content
    assert answer.headers["Docker-Content-Digest"] == digest
    assert answer.headers["Content-Type"] == MANIFEST


@pytest.mark.parametrize("reference", ["absent", ".INVALID_MANIFEST_NAME", digest_of(b"absent")])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_absent_manifest_is_404(registry: Client, name: str, method: str, reference: str) -> None:
    """ "Pulling manifests": 404 when the manifest is not found in the repository."""
    registry.push_image(name)

    answer = registry(method, f"/v2/{name}/manifests/{reference}")

    assert answer.status == 404


def test_head_of_a_manifest_has_no_body(registry: Client, name: str) -> None:
    """ "Checking if content exists in the registry": 200, Content-Length and the digest, no body."""
    digest = registry.push_image(name)
    whole = registry("GET", f"/v2/{name}/manifests/latest").body

    answer = registry("HEAD", f"/v2/{name}/manifests/latest")

    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["Content-Length"] == str(len(whole))
    assert answer.headers["Docker-Content-Digest"] == digest


def test_unchanged_manifest_is_304(registry: Client, name: str) -> None:
    """RFC 9110, section 13.1.2: If-None-Match with the ETag that came before answers 304."""
    registry.push_image(name)
    etag = registry("GET", f"/v2/{name}/manifests/latest").headers["ETag"]

    answer = registry("GET", f"/v2/{name}/manifests/latest", If_None_Match=etag)

    assert (answer.status, answer.body) == (304, b"")


@pytest.mark.parametrize("content", [CONTENT, b""])
def test_blob_comes_back(registry: Client, name: str, content: bytes) -> None:
    """ "Pulling blobs": 200 with the blob; also when it has no byte."""
    digest = registry.push_blob(name, content)

    answer = registry("GET", f"/v2/{name}/blobs/{digest}")

    assert (answer.status, answer.body) == (200, content)
    assert answer.headers["Docker-Content-Digest"] == digest
    assert answer.headers["Content-Length"] == str(len(content))


def test_head_of_a_blob_tells_its_size(registry: Client, name: str) -> None:
    """ "Checking if content exists in the registry": 200 and the size in Content-Length."""
    digest = registry.push_blob(name, CONTENT)

    answer = registry("HEAD", f"/v2/{name}/blobs/{digest}")

    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["Content-Length"] == str(len(CONTENT))


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_absent_blob_is_404(registry: Client, name: str, method: str) -> None:
    """ "Pulling blobs": 404 when the blob is not found in the repository."""
    registry.push_blob(name, CONTENT)

    answer = registry(method, f"/v2/{name}/blobs/{digest_of(b'absent')}")

    assert answer.status == 404


def test_digest_opens_nothing_in_another_repository(registry: Client, name: str) -> None:
    """A blob is readable only through a repository that has it."""
    digest = registry.push_blob(name, CONTENT)
    registry.push_image(f"{name}/other")

    answer = registry("GET", f"/v2/{name}/other/blobs/{digest}")

    assert answer.status == 404
    assert answer.codes == ["BLOB_UNKNOWN"]


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=5-9", 5, 10),
        ("bytes=100-", 100, len(CONTENT)),
        ("bytes=-7", len(CONTENT) - 7, len(CONTENT)),
        ("bytes=10-99999999", 10, len(CONTENT)),
        ("bytes=-99999999", 0, len(CONTENT)),
    ],
)
def test_range_sends_these_bytes_alone(registry: Client, name: str, asked: str, start: int, stop: int) -> None:
    """ "Pulling blobs": the Range header, by RFC 9110; ends beyond the blob are clamped."""
    digest = registry.push_blob(name, CONTENT)

    answer = registry("GET", f"/v2/{name}/blobs/{digest}", Range=asked)

    assert (answer.status, answer.body) == (206, CONTENT[start:stop])
    assert answer.headers["Content-Range"] == f"bytes {start}-{stop - 1}/{len(CONTENT)}"
    assert answer.headers["Content-Length"] == str(stop - start)


@pytest.mark.parametrize("asked", ["bytes=9-5", f"bytes={len(CONTENT)}-", "bytes=99999999-", "bytes=-0"])
def test_range_that_has_no_byte_is_416(registry: Client, name: str, asked: str) -> None:
    """RFC 9110, section 15.5.17: inverted, past the end, or an empty suffix."""
    digest = registry.push_blob(name, CONTENT)

    answer = registry("GET", f"/v2/{name}/blobs/{digest}", Range=asked)

    assert answer.status == 416
    assert answer.headers["Content-Range"] == f"bytes */{len(CONTENT)}"


LARGE = CONTENT * 40

SEVERAL = {
    "bytes=0-9,20-29": [(0, 10), (20, 30)],
    "bytes=300000-,0-0": [(300000, len(LARGE)), (0, 1)],
    f"bytes={','.join(f'{start}-{start + 9}' for start in range(0, 20480, 20))}": [
        (start, start + 10) for start in range(0, 20480, 20)
    ],
    "bytes=0-99999,150000-299999,-1000": [(0, 100000), (150000, 300000), (len(LARGE) - 1000, len(LARGE))],
}


@pytest.mark.parametrize("asked", SEVERAL, ids=lambda asked: asked[:30])
def test_several_ranges_come_as_parts(registry: Client, name: str, asked: str) -> None:
    """RFC 9110, section 15.3.7.2: 206 with a part for each, in the order in which podman reads them."""
    digest = registry.push_blob(name, LARGE)

    answer = registry("GET", f"/v2/{name}/blobs/{digest}", Range=asked)
    after = registry("HEAD", f"/v2/{name}/blobs/{digest}", Range=asked)

    media_type, _, boundary = answer.headers["Content-Type"].partition("; boundary=")
    first, *parts, last = (b"\r\n" + answer.body).split(f"\r\n--{boundary}".encode())
    assert (answer.status, media_type, first, last) == (206, "multipart/byteranges", b"", b"--\r\n")
    assert answer.headers["Content-Range"] is None
    assert answer.headers["Docker-Content-Digest"] == digest
    for part, (start, stop) in zip(parts, SEVERAL[asked], strict=True):
        head, _, content = part.partition(b"\r\n\r\n")
        assert f"Content-Range: bytes {start}-{stop - 1}/{len(LARGE)}".encode() in head.split(b"\r\n")
        assert content == LARGE[start:stop]
    assert (after.status, after.headers["Content-Length"]) == (200, str(len(LARGE)))


@pytest.mark.parametrize("asked", ["bytes=0-,0-,0-", "bytes=0-9,5-,99999999-"])
def test_no_byte_is_sent_twice(registry: Client, name: str, asked: str) -> None:
    """RFC 9110, section 14.2: overlapping ranges are united, so that no short request gets an endless body."""
    digest = registry.push_blob(name, CONTENT)

    answer = registry("GET", f"/v2/{name}/blobs/{digest}", Range=asked)

    assert (answer.status, answer.body) == (206, CONTENT)
    assert answer.headers["Content-Range"] == f"bytes 0-{len(CONTENT) - 1}/{len(CONTENT)}"


@pytest.mark.parametrize("asked", ["bytes=0-1", "bytes=0-1,4-5"])
@pytest.mark.parametrize("condition", ['"other"', 'W/"{}"', "Thu, 26 Nov 2026 10:00:00 GMT", '"{}"'])
def test_range_of_another_content_sends_all(registry: Client, name: str, asked: str, condition: str) -> None:
    """RFC 9110, section 13.1.5: ranges complete only what the client has from the same content."""
    digest = registry.push_blob(name, CONTENT)

    condition = condition.replace("{}", digest)
    answer = registry("GET", f"/v2/{name}/blobs/{digest}", Range=asked, If_Range=condition)

    assert answer.status == (206 if condition == f'"{digest}"' else 200)


@pytest.mark.parametrize(
    "asked", ["lines=1-2", "bytes=-", "bytes=x-y", "bytes=0-1,x", f"bytes={','.join(['0-0'] * 2000)}"]
)
def test_range_that_is_not_understood_sends_all(registry: Client, name: str, asked: str) -> None:
    """RFC 9110, section 14.2: a server may ignore a Range header."""
    digest = registry.push_blob(name, CONTENT)

    answer = registry("GET", f"/v2/{name}/blobs/{digest}", Range=asked)

    assert (answer.status, answer.body) == (200, CONTENT)


def test_sha512_manifest_and_blob(registry: Client, name: str) -> None:
    """Image specification, "Registered Algorithms": sha512 is served under the digest that was asked for."""
    manifest = json.dumps(registry.image(name)).encode()
    blob = registry.push_blob(name, CONTENT, "sha512")
    reference = digest_of(manifest, "sha512")
    registry.push_manifest(name, reference, manifest)

    manifest_answer = registry("GET", f"/v2/{name}/manifests/{reference}")
    blob_answer = registry("GET", f"/v2/{name}/blobs/{blob}")

    assert (manifest_answer.body, manifest_answer.headers["Docker-Content-Digest"]) == (manifest, reference)
    assert (blob_answer.body, blob_answer.headers["Docker-Content-Digest"]) == (CONTENT, blob)
