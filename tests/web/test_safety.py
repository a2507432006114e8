"""What the pages refuse and hide: forged forms, other sites' redirects, stolen sessions, private repositories."""

from __future__ import annotations

import socket
from collections.abc import Callable

import httpx2
import pytest
from tests.parts.hub import HytheServer
from tests.web.browser import Raw
from tests.web.content import PASSWORD, Content

FORGED = 403

CROSS_SITE = [
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site", "Origin": "http://other.localhost"},
]


@pytest.mark.parametrize("headers", CROSS_SITE, ids=str)
def test_a_cross_site_form_is_refused(raw: Raw, content: Content, headers: dict[str, str]) -> None:
    """A request that the browser marks as cross-site is refused, even with the right token."""
    owner = content.account()
    raw.sign_in(owner)
    token = raw.token("/new")
    sent = raw.post("/new", headers=headers, form_token=token, namespace=owner, name="stolen", visibility="public")

    assert sent.status_code == FORGED
    assert raw.get(f"/{owner}/stolen").status_code == 404


def test_numbers_beyond_every_row(raw: Raw, content: Content) -> None:
    """A number that no database can store returns 404, not 500."""
    owner = content.account()
    raw.sign_in(owner)
    raw.send("/new", namespace=owner, name="x", visibility="public")

    for path in (f"/{owner}/x/-/builds/{10**30}", f"/account/linked-accounts/{2**63}/unlink"):
        assert raw.get(path).status_code == 404


@pytest.mark.parametrize("path", ["/new", "/account", "/account/password", "/account/tokens", "/sign-out"])
def test_a_form_without_its_token_is_refused(raw: Raw, content: Content, path: str) -> None:
    """The session cookie alone is not enough, and the session stays valid."""
    raw.sign_in(content.account())

    assert raw.post(path, nothing="").status_code == FORGED
    assert raw.post(path, form_token="0" * 64).status_code == FORGED
    assert raw.signed_in


@pytest.mark.parametrize("path", ["/", "//", "/-/tags/", "@evil.example/"])
def test_trailing_slashes_redirect(raw: Raw, content: Content, path: str) -> None:
    """An address with trailing slashes redirects to the one without, and never to another host."""
    owner = content.account()
    content.repository(owner, "dinghy")
    for start in (f"/{owner}", f"/{owner}/dinghy", "/search"):
        assert raw.get(start + path).headers["Location"] == (start + path).rstrip("/")
    assert raw.client.get(raw.url + "//evil.example/").headers["Location"] == "/"


def test_other_users_cannot_move_a_tag(raw: Raw, content: Content) -> None:
    """Another user can neither restore nor delete a tag, with any input."""
    name = content.repository(content.account(), "dinghy")
    before = content.image(name, "latest", steps=("ADD first",))["digest"]
    after = content.image(name, "latest", steps=("ADD second",))["digest"]
    raw.sign_in(content.account("stranger"))

    origin = {"Origin": raw.url}
    token = raw.token("/new")
    for path, fields in (("restore", {"digest": before}), ("restore", {"digest": "no digest"}), ("delete", {})):
        sent = raw.post(f"/{name}/-/tags/latest/{path}", headers=origin, form_token=token, **fields)
        assert sent.status_code in {403, 404}
    assert after in raw.get(f"/{name}:latest").text


def test_a_token_of_another_session_is_refused(raw: Raw, content: Content) -> None:
    """A CSRF token of an attacker's own session is invalid in another session."""
    victim, attacker = content.account(), Raw(content.url)
    raw.sign_in(victim)
    attacker.sign_in(content.account("attacker"))

    sent = raw.post("/new", form_token=attacker.token("/new"), namespace=victim, name="x", visibility="public")
    assert sent.status_code == FORGED


@pytest.mark.parametrize("path", ["/sign-in", "/sign-up"])
def test_forms_before_sign_in_have_tokens(raw: Raw, content: Content, path: str) -> None:
    """Another site cannot sign a user in to the attacker's account."""
    name = content.account()

    sent = raw.post(path, username=name, password=PASSWORD, email="x@example.com")
    assert sent.status_code == FORGED
    assert not raw.session


def test_signing_in_begins_a_fresh_session(raw: Raw, content: Content) -> None:
    """A cookie planted before signing in does not become the session (session fixation)."""
    raw.client.cookies.set("hythe_session", "planted", domain="127.0.0.1")
    raw.sign_in(content.account())
    planted = httpx2.get(f"{content.url}/account", cookies={"hythe_session": "planted"})

    assert raw.client.cookies.get("hythe_session", domain="127.0.0.1", path="/") != "planted"
    assert planted.status_code == 303


def test_a_session_is_renewed_with_the_password(raw: Raw, content: Content) -> None:
    """The session cookie from before a password change is invalid."""
    raw.sign_in(content.account())
    first = raw.session
    raw.send("/account/password", current=PASSWORD, password=PASSWORD)

    assert raw.session != first
    assert httpx2.get(f"{content.url}/account", cookies={"hythe_session": first}).status_code == 303


def test_signing_out_ends_the_session_on_the_server(raw: Raw, content: Content) -> None:
    """A stolen cookie is invalid after its owner has signed out."""
    raw.sign_in(content.account())
    copied = raw.session
    raw.post("/sign-out", form_token=raw.token("/account"))

    assert httpx2.get(f"{content.url}/account", cookies={"hythe_session": copied}).status_code == 303


def test_a_new_password_ends_the_other_sessions(raw: Raw, content: Content) -> None:
    """A password change signs out every other browser."""
    name, other = content.account(), Raw(content.url)
    other.sign_in(name)
    raw.sign_in(name)
    raw.send("/account/password", current=PASSWORD, password="a new long password")

    assert raw.signed_in
    assert not other.signed_in


TARGETS = [
    "https://evil.example/",
    "//evil.example",
    "/\\evil.example",
    "\\\\evil.example",
    "/\t/evil.example",
    "javascript:alert(1)",
    "/%0d%0aSet-Cookie:x=1",
    "evil.example",
    "",
]


@pytest.mark.parametrize("target", TARGETS)
def test_sign_in_never_redirects_to_another_site(raw: Raw, content: Content, target: str) -> None:
    """Any redirect target in the form leads to this hub."""
    answer = raw.sign_in(content.account(), target=target)

    location = answer.headers["Location"]
    assert answer.status_code == 303
    assert httpx2.URL(content.url).join(location).netloc == httpx2.URL(content.url).netloc
    assert location.startswith("/")
    assert not location.startswith(("//", "/\\", "/\t"))


@pytest.mark.parametrize("page", ["", "/-/tags", "/-/settings", "/-/delete", ":latest", "@sha256:" + "0" * 64])
def test_a_private_repository_looks_absent(raw: Raw, content: Content, page: str) -> None:
    """For anonymous and other users, its pages are byte for byte those of a name that does not exist."""
    owner = content.account()
    content.repository(owner, "secret", "private")
    content.image(f"{owner}/secret", "latest")
    for signed_in in (False, True):
        if signed_in:
            raw.sign_in(content.account("stranger"))
        private, absent = raw.get(f"/{owner}/secret{page}"), raw.get(f"/{owner}/absent{page}")

        assert private.status_code == absent.status_code == 404
        assert private.text.replace("secret", "absent") == absent.text


def test_other_users_cannot_change_a_repository(raw: Raw, content: Content) -> None:
    """A public repository hides its settings from other users, and refuses their forms."""
    repository = content.repository(content.account(), "public")
    assert raw.get(f"/{repository}/-/settings").headers["Location"].startswith("/sign-in?next=")
    raw.sign_in(content.account("stranger"))

    assert "/-/settings" not in raw.get(f"/{repository}").text
    assert raw.get(f"/{repository}/-/settings").status_code == 403
    token = raw.token("/new")
    assert raw.post(f"/{repository}/-/settings", form_token=token, visibility="private").status_code == 403
    assert raw.post(f"/{repository}/-/delete", form_token=token, confirm=repository).status_code == 403
    assert raw.get(f"/{repository}").status_code == 200


def test_too_many_wrong_passwords_are_throttled(raw: Raw, content: Content) -> None:
    """After ten wrong passwords, even the right one is refused for a while."""
    name = content.account()
    for _ in range(10):
        assert raw.sign_in(name, "wrong").status_code == 401

    answer = raw.sign_in(name)
    assert answer.status_code == 429
    assert "again in" in answer.text


@pytest.mark.parametrize("path", ["/", "/sign-in", "/absent/absent", "/static/absent.css"])
def test_every_response_has_security_headers(raw: Raw, path: str) -> None:
    """Scripts and styles only from this hub, no framing, no sniffing, no caching."""
    headers = raw.get(path).headers
    policy = dict(part.strip().split(" ", 1) for part in headers["Content-Security-Policy"].split(";"))

    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["form-action"] == "'self'"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "same-origin"
    assert headers["Cache-Control"] == "no-store"


def test_static_files_are_cached_without_expiry(raw: Raw) -> None:
    """Their names contain a content hash, and they are compressed if the client accepts it."""
    path = raw.get("/").text.partition('rel="stylesheet" href="')[2].partition('"')[0]
    answer = raw.get(path)

    assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert answer.headers["Content-Type"] == "text/css; charset=utf-8"
    assert answer.headers["Content-Encoding"] == "gzip"
    plain = raw.client.get(path, headers={"Accept-Encoding": "identity"})
    assert plain.text == answer.text


def test_session_cookies_are_protected(raw: Raw, content: Content) -> None:
    """Scripts cannot read them, and cross-site requests do not send them."""
    cookies = raw.sign_in(content.account()).headers.get_list("set-cookie")

    session = next(cookie for cookie in cookies if cookie.startswith("hythe_session="))
    assert "HttpOnly" in session
    assert "SameSite=lax" in session
    assert "Secure" not in session


def test_cookies_are_secure_with_https(start_hub: Callable[..., HytheServer]) -> None:
    """With an https public URL, cookies are Secure and bound to this host."""
    hub = start_hub(["--public-url", "https://hub.example"])
    cookie = httpx2.get(f"{hub.url}/sign-in", timeout=60).headers["set-cookie"]

    assert cookie.startswith("__Host-hythe_visitor=")
    assert "; Secure" in cookie


def test_a_closed_hub_offers_no_sign_up(start_hub: Callable[..., HytheServer]) -> None:
    """If sign-up is off, no page links to it, and the form explains why."""
    hub = start_hub(env={"HYTHE_SIGN_UP": "off"})

    assert "/sign-up" not in httpx2.get(hub.url, timeout=60).text
    assert "/sign-up" not in httpx2.get(f"{hub.url}/sign-in", timeout=60).text
    closed = httpx2.get(f"{hub.url}/sign-up", timeout=60)
    assert closed.status_code == 403
    assert "ask an administrator" in closed.text


BAD = [
    ("POST", "/new", b"\xff\xfe", "application/x-www-form-urlencoded", 400),
    ("POST", "/sign-in", b"username=x", "application/json", 400),
    ("POST", "/sign-in", b"a=" + b"x" * 600_000, "application/x-www-form-urlencoded", 400),
    ("POST", "/sign-in", b"&".join(b"a=b" for _ in range(100)), "application/x-www-form-urlencoded", 400),
    ("POST", "/", b"", "application/x-www-form-urlencoded", 405),
    ("GET", "/search?page=0", b"", "", 200),
    ("GET", "/search?page=99999999999999999999", b"", "", 200),
    ("GET", "/search?page=-1&q=%00", b"", "", 200),
    ("GET", "/search?q=" + "%F0%9F%9A%A2" * 200, b"", "", 200),
    ("GET", "/search?q=%22%27*()%20OR%20NEAR", b"", "", 200),
    ("GET", "/search?q=%ff%fe", b"", "", 200),
    ("GET", "/NOT/A/NAME", b"", "", 404),
    ("GET", "/a//b", b"", "", 404),
    ("GET", "/alice/app:", b"", "", 404),
    ("GET", "/alice/app@sha256:short", b"", "", 404),
    ("GET", "/%00", b"", "", 404),
    ("GET", "/" + "a" * 4000, b"", "", 404),
    ("GET", "/static/../assets.py", b"", "", 404),
    ("GET", "/static/%2e%2e/assets.py", b"", "", 404),
]


@pytest.mark.parametrize(("method", "path", "body", "media_type", "status"), BAD, ids=lambda value: str(value)[:40])
def test_invalid_requests_get_an_error_page(
    raw: Raw, content: Content, method: str, path: str, body: bytes, media_type: str, status: int
) -> None:
    """Any input returns a page with the right status, never 500."""
    if path == "/new":
        raw.sign_in(content.account())
    headers = {"Content-Type": media_type} if media_type else {}
    answer = raw.client.request(method, path, content=body, headers=headers)

    assert answer.status_code == status
    assert "<h1" in answer.text


def test_an_incomplete_form_has_no_effect(content: Content) -> None:
    """A disconnect in the middle of a form creates no account and logs no error."""
    hub, name = content.server, f"half-{next(content.numbers)}"
    headers = (f"Host: {hub.host}", "Content-Type: application/x-www-form-urlencoded", "Content-Length: 1000")
    head = "\r\n".join(("POST /sign-up HTTP/1.1", *headers, "", ""))
    with socket.create_connection(("127.0.0.1", hub.port)) as connection:
        connection.sendall(f"{head}username={name}&email=h@example.com&password=".encode())

    assert httpx2.get(f"{hub.url}/{name}", timeout=60).status_code == 404
    assert "Traceback" not in hub.log
