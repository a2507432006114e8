"""What a mirror answers when its upstream fails: the reason for what is not stored, and stored content for the rest."""

from __future__ import annotations

from datetime import UTC, timedelta
from email.utils import format_datetime

import pytest
from tests.unit.registry.mirror.upstream_stand_in import HTML, JSON, PORTAL, Fault, MirrorDepot, refusal

from hythe.oci.digest import Digest
from hythe.oci.errors import ErrorCode
from hythe.oci.manifest import OCI_MANIFEST

PAST_FRESHNESS = timedelta(seconds=31)
SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

CHUNKED = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n"

FAULTS: dict[str, tuple[Fault, int, str]] = {
    "captive portal": (
        Fault("", 200, HTML, PORTAL),
        502,
        "sent a web page instead of registry content: Sign in to Hotel",
    ),
    "portal as json": (Fault("", 200, JSON, PORTAL), 502, "sent no manifest: Sign in to Hotel"),
    "login page": (Fault("/v2/", 302, {"Location": "/login"}), 502, "web page"),
    "forbidden": (refusal(403, "DENIED", "not for \x1b[31myou"), 502, "status 403): DENIED: not for \\x1b[31myou"),
    "unauthorized": (refusal(401, "UNAUTHORIZED", "who are you"), 502, "status 401): UNAUTHORIZED: who are you"),
    "wrong credentials": (
        refusal(401, "UNAUTHORIZED", "no", **{"WWW-Authenticate": 'Basic realm="x"'}),
        502,
        "requires credentials",
    ),
    "no known scheme": (
        Fault("", 401, {"WWW-Authenticate": "Negotiate"}),
        502,
        "unsupported authentication: negotiate",
    ),
    "internal error": (Fault("", 500, {"Content-Type": "text/plain"}, b"oh\nno"), 503, "returned status 500: oh no"),
    "bad gateway": (
        Fault("", 502, HTML, b"<h1>502 Bad Gateway</h1>" + b"x" * 5000),
        503,
        "status 502: 502 Bad Gateway",
    ),
    "truncated": (Fault("GET", 200, {"Content-Type": OCI_MANIFEST}, b"{", cut=True), 503, "does not respond"),
    "empty": (Fault("", 200, {"Content-Type": OCI_MANIFEST}), 502, "sent no manifest"),
    "list instead of object": (Fault("", 200, {"Content-Type": OCI_MANIFEST}, b"[1]"), 502, "sent no manifest: [1]"),
    "other type": (Fault("", 200, {"Content-Type": "image/png"}, b"{}"), 502, "sent no manifest"),
    "other digest": (
        Fault("", 200, {"Content-Type": OCI_MANIFEST, "Docker-Content-Digest": str(Digest.of(b"other"))}, b"%(image)s"),
        502,
        "does not match its digest",
    ),
    "too many redirects": (Fault("", 307, {"Location": "/v2/app/manifests/1"}), 502, "redirects in a circle"),
    "strange redirect": (Fault("/v2/", 307, {"Location": "gopher://x/"}), 502, "redirects to an invalid address"),
    "no HTTP": (
        Fault("", 200, {"Content-Length": "x"}, raw=b"SSH-2.0-OpenSSH_9.2\r\n\r\n"),
        502,
        "no valid HTTP response",
    ),
    "redirect without a place": (Fault("", 307), 502, "returned status 307"),
    "teapot": (Fault("", 418, {}, b"short and stout"), 502, "returned status 418: short and stout"),
    "missing": (refusal(404, "MANIFEST_UNKNOWN", "no such tag"), 404, "does not have this: MANIFEST_UNKNOWN: no such"),
    "missing as a page": (
        Fault("", 404, HTML, b"<title>404 Not Found</title>"),
        404,
        "does not have this: 404 Not Found",
    ),
}


@SQLITE
@pytest.mark.parametrize("name", FAULTS)
def test_the_client_learns_what_the_upstream_said(mirror: MirrorDepot, name: str) -> None:
    """The error names the upstream and what it sent, escaped and bounded; only a missing image is 404."""
    fault, status, text = FAULTS[name]
    mirror.upstream.put_image("app", "1", b"layer")
    fault.body = fault.body.replace(b"%(image)s", mirror.upstream.manifests["app:1"][0])
    login = Fault("/login", 200, HTML, PORTAL)
    mirror.upstream.faults = [login, fault]

    failure = mirror.failure(mirror.pull, "app", "1")

    assert (int(failure.status), text in failure.message) == (status, True), failure.message
    assert mirror.upstream.host in failure.message
    assert len(failure.message) < 400
    assert failure.message.isprintable()
    assert ("Retry-After" in failure.headers) == (status == 503)


@SQLITE
@pytest.mark.parametrize("name", [name for name in FAULTS if not name.startswith("missing")])
def test_stored_images_are_served_whatever_the_upstream_says(mirror: MirrorDepot, name: str) -> None:
    """Long after the last check: manifests by tag and digest, their headers, blobs and the list of tags."""
    digest = mirror.upstream.put_image("app", "1", b"layer")
    assert mirror.pull("app", "1") == digest
    assert mirror.blob("app", Digest.of(b"layer")) == b"layer"
    mirror.clock.forward(PAST_FRESHNESS)
    mirror.upstream.faults = [Fault("/login", 200, HTML, PORTAL), FAULTS[name][0]]

    assert mirror.pull("app", "1") == mirror.pull("app", digest) == digest
    mirror.clock.forward(PAST_FRESHNESS)
    if name != "other digest":  # which says that the tag moved
        assert mirror.head("app", "1") == (str(digest), OCI_MANIFEST)
    assert mirror.blob("app", Digest.of(b"layer")) == b"layer"
    assert mirror.tags("app") == (["1"], False)


def test_stored_images_are_served_while_no_one_answers(mirror: MirrorDepot) -> None:
    """The upstream's port is closed: what is stored is served, what is not gets 503 with the reason."""
    digest = mirror.upstream.put_image("app", "1", b"layer")
    assert mirror.pull("app", "1") == digest
    mirror.clock.forward(PAST_FRESHNESS)
    mirror.run(mirror.stop_upstream())

    assert mirror.pull("app", "1") == digest
    assert mirror.tags("app") == (["1"], False)
    for failure in (mirror.failure(mirror.pull, "app", "2"), mirror.failure(mirror.tags, "other")):
        assert (int(failure.status), failure.headers) == (503, {"Retry-After": "10"})
        assert f"{mirror.upstream.host} does not respond" in failure.message


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_too_many_requests_are_passed_on_and_the_upstream_is_left_alone(mirror: MirrorDepot, form: str) -> None:
    """429 with the remaining time for every kind of request, and not one further request until it has passed."""
    stored = mirror.upstream.put_image("app", "1", b"layer")
    mirror.pull("app", "1")
    other = mirror.upstream.put_image("app", "2", b"other")
    mirror.clock.forward(PAST_FRESHNESS)
    wait = (
        "60" if form == "seconds" else format_datetime((mirror.clock() + timedelta(seconds=60)).astimezone(UTC), True)
    )
    mirror.upstream.faults = [refusal(429, "TOOMANYREQUESTS", "pull rate limit", **{"Retry-After": wait})]
    mirror.asked()

    failure = mirror.failure(mirror.pull, "app", "2")
    assert len(mirror.asked()) == 1
    assert failure.code is ErrorCode.TOOMANYREQUESTS
    assert "got too many requests: TOOMANYREQUESTS: pull rate limit" in failure.message
    assert int(failure.headers["Retry-After"]) in (59, 60)

    mirror.upstream.faults.clear()
    mirror.clock.forward(timedelta(seconds=50))
    for work, arguments in (
        (mirror.pull, ("app", "2")),
        (mirror.head, ("app", other)),
        (mirror.blob, ("app", Digest.of(b"other"))),
        (mirror.tags, ("other",)),
        (mirror.pull, ("elsewhere", "1")),
    ):
        failure = mirror.failure(work, *arguments)
        assert (int(failure.status), int(failure.headers["Retry-After"]) in (9, 10)) == (429, True)
    assert mirror.pull("app", "1") == stored
    assert mirror.tags("app") == (["1"], False)
    assert mirror.asked() == []

    mirror.clock.forward(timedelta(seconds=11))
    assert mirror.pull("app", "2") == other


@SQLITE
@pytest.mark.parametrize(
    ("headers", "seconds"),
    [({}, 30), ({"Retry-After": "soon"}, 30), ({"Retry-After": "0"}, 1), ({"Retry-After": "9" * 400}, 3600)],
)
def test_an_unusable_retry_after_is_bounded(mirror: MirrorDepot, headers: dict[str, str], seconds: int) -> None:
    """A missing, malformed or endless delay does not let the mirror ask at once, nor never again."""
    mirror.upstream.faults = [refusal(429, "TOOMANYREQUESTS", "no", **headers)]

    assert mirror.failure(mirror.pull, "app", "1").headers == {"Retry-After": str(seconds)}


@SQLITE
def test_an_unavailable_upstream_that_names_a_time_is_left_alone(mirror: MirrorDepot) -> None:
    """503 with Retry-After: the same, but it stays 503; without, the next request asks again."""
    mirror.upstream.faults = [refusal(503, "UNAVAILABLE", "maintenance", **{"Retry-After": "120"})]

    failures = [mirror.failure(mirror.pull, "app", "1") for _ in range(3)]

    assert [(int(failure.status), failure.headers["Retry-After"]) for failure in failures] == [(503, "120")] * 3
    assert len(mirror.asked()) == 1


@SQLITE
def test_a_blob_is_not_requested_again_while_the_upstream_asks_to_wait(mirror: MirrorDepot) -> None:
    """One request, not five with growing pauses."""
    mirror.upstream.put_image("app", "1", b"layer")
    mirror.pull("app", "1")
    mirror.upstream.faults = [refusal(429, "TOOMANYREQUESTS", "no", **{"Retry-After": "60"})]
    mirror.asked()

    failure = mirror.failure(mirror.blob, "app", Digest.of(b"layer"))

    assert (int(failure.status), failure.headers) == (429, {"Retry-After": "60"})
    assert len(mirror.asked()) == 1


@SQLITE
@pytest.mark.parametrize("headers", [HTML, {"Content-Type": "application/octet-stream"}])
def test_wrong_bytes_of_a_blob_are_an_error_with_a_reason(mirror: MirrorDepot, headers: dict[str, str]) -> None:
    """A small blob, or one that is a web page, is verified before its first byte is sent, and is not stored."""
    mirror.upstream.put_image("app", "1", b"layer")
    mirror.pull("app", "1")
    mirror.upstream.faults = [Fault("blobs", 200, headers, PORTAL)]

    failure = mirror.failure(mirror.blob, "app", Digest.of(b"layer"))

    assert int(failure.status) == 502
    assert "does not match sha256:" in failure.message
    assert "Sign in to Hotel WiFi" in failure.message
    mirror.upstream.faults.clear()
    assert mirror.blob("app", Digest.of(b"layer")) == b"layer"


@SQLITE
def test_a_blob_may_be_a_web_page_or_come_without_its_size(mirror: MirrorDepot) -> None:
    """What has the right digest is served, whatever the upstream calls it."""
    mirror.upstream.put_image("app", "1", PORTAL)
    mirror.pull("app", "1")
    mirror.upstream.faults = [Fault("blobs", 200, HTML, PORTAL, raw=CHUNKED % (len(PORTAL), PORTAL))]

    assert mirror.blob("app", Digest.of(PORTAL)) == PORTAL


@SQLITE
@pytest.mark.parametrize("credentials", ["ann:wrong-one@"])
def test_wrong_credentials_are_named_without_them(mirror: MirrorDepot) -> None:
    """The token server refuses the mirror's account: its operator has to look, and no secret is in the message."""
    challenge = f'Bearer realm="http://{mirror.upstream.host}/token",service="x"'
    mirror.upstream.faults = [
        refusal(401, "UNAUTHORIZED", "incorrect password", "/token"),
        refusal(401, "UNAUTHORIZED", "x", **{"WWW-Authenticate": challenge}),
    ]

    failure = mirror.failure(mirror.pull, "app", "1")

    assert int(failure.status) == 502
    assert "rejected the credentials: UNAUTHORIZED: incorrect password" in failure.message
    assert "wrong-one" not in failure.message


@SQLITE
def test_a_token_that_does_not_open_a_repository_means_missing(mirror: MirrorDepot) -> None:
    """Docker Hub answers so for what does not exist: 404, and what is stored stays."""
    stored = mirror.upstream.put_image("app", "1", b"layer")
    mirror.pull("app", "1")
    mirror.clock.forward(PAST_FRESHNESS)
    challenge = f'Bearer realm="http://{mirror.upstream.host}/token",service="x",scope="aws"'
    mirror.upstream.faults = [
        Fault("/token", 200, JSON, b'{"access_token": "t", "expires_in": "3e9"}'),
        refusal(401, "UNAUTHORIZED", "x", **{"WWW-Authenticate": challenge}),
    ]

    assert mirror.pull("app", "1") == stored
    failure = mirror.failure(mirror.pull, "absent", "1")
    assert failure.code is ErrorCode.MANIFEST_UNKNOWN
    assert "requires credentials" in failure.message
    assert any("/token?service=x&scope=aws" in request for request in mirror.asked())


@SQLITE
@pytest.mark.parametrize("reply", [b"{}", b"[]", b'{"token": null}', b'{"token": "a\\r\\nX: y"}', PORTAL])
def test_a_token_server_that_sends_no_token_is_named(mirror: MirrorDepot, reply: bytes) -> None:
    """Also one behind a captive portal, or one that would smuggle a header."""
    challenge = f'Bearer realm="http://{mirror.upstream.host}/token",service="x"'
    mirror.upstream.faults = [
        Fault("/token", 200, JSON, reply),
        refusal(401, "UNAUTHORIZED", "x", **{"WWW-Authenticate": challenge}),
    ]

    failure = mirror.failure(mirror.pull, "app", "1")

    assert int(failure.status) == 502
    assert f"the token server {mirror.upstream.host} sent" in failure.message
