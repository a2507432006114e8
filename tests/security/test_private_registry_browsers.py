"""Web pages of strangers against a private registry on the machine of the person who opens them, in Chromium."""

from __future__ import annotations

import base64
import functools
import http.client
import http.server
import json
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page
from tests.contracts.distribution import Client, digest_of
from tests.parts.chromium import chromium
from tests.parts.docker_registry import htpasswd
from tests.parts.hub import REGISTRY, HytheServer, server_factory

DOMAINS = ("evil.test", "registry", "deep.evil.test", "registry.local", "evil.internal", "localhost.evil.test")
"""Names that an attacker could make resolve to loopback for a machine that visits their network."""

SECRET = b"the content of a layer"
BLOB = digest_of(SECRET)

READ = """async (path) => {
    const response = await fetch(path, {credentials: "include"});
    return `${response.status} ${await response.text()}`;
}"""

SEND = """async ([url, method, mode, type]) => {
    const headers = type ? {"Content-Type": type} : {};
    const body = method === "GET" ? undefined : "written by a page";
    try {
        const response = await fetch(url, {method, mode, headers, body, credentials: "include"});
        return `${response.status} ${await response.text()}`;
    } catch (error) {
        return "blocked";
    }
}"""

SUBMIT = """([url, encoding, target]) => {
    document.body.innerHTML = `<iframe name="frame"></iframe>
        <form method="post" enctype="${encoding}" target="${target}" action="${url}"><input name="a" value="b"></form>`;
    document.forms[0].submit();
}"""

SANDBOXED = """([url]) => {
    const frame = document.createElement("iframe");
    frame.sandbox = "allow-scripts allow-forms";
    frame.srcdoc = `<form method="post" action="${url}"></form><script>
        fetch("${url}", {method: "POST", mode: "no-cors", body: "x"}).finally(() => document.forms[0].submit());
    </script>`;
    document.body.append(frame);
}"""

BEACON = """([url]) => navigator.sendBeacon(url, new Blob(["x"], {type: "text/plain"}))"""

EMBED = """async ([url]) => {
    const loaded = (tag, attribute) => new Promise(done => {
        const element = document.createElement(tag);
        element.onload = () => done("loaded");
        element.onerror = () => done("failed");
        element[attribute] = url;
        if (tag === "link") element.rel = "stylesheet";
        document.head.append(element);
    });
    return [await loaded("img", "src"), await loaded("script", "src"), await loaded("link", "href")];
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A Chromium for which every attacker's name is this machine, as after DNS rebinding.

    Like other browsers, it does not ask before a page connects to the local network.
    """
    rules = ", ".join(f"MAP {name} 127.0.0.1" for name in (*DOMAINS, "evil.test."))
    with chromium(f"--host-resolver-rules={rules}", "--disable-features=LocalNetworkAccessChecks") as started:
        yield started


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of an attacker's web server."""
    folder = tmp_path_factory.mktemp("elsewhere")
    (folder / "index.html").write_text("<!doctype html><title>Cat pictures</title>")
    handler = functools.partial(QuietHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    """Serves files without a log."""

    def log_message(self, *_: Any) -> None:
        """Log nothing."""


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HytheServer]:
    """A registry without passwords that has one image; each test compares what is in it before and after."""
    with server_factory(tmp_path_factory.mktemp("registry"), REGISTRY) as start:
        server: HytheServer = start()
        fill(Client(server.port))
        yield server


def fill(client: Client) -> None:
    """Push an image."""
    client.push_blob("app", SECRET)
    config = client.push_blob("app", b"{}")
    layer = {"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": BLOB, "size": len(SECRET)}
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": 2},
        "layers": [layer],
    }
    pushed = client("PUT", "/v2/app/manifests/1", json.dumps(manifest).encode(), content_type=manifest["mediaType"])
    assert pushed.status == 201, pushed
    client.close()


def content(server: HytheServer) -> dict[str, int]:
    """What the registry's database contains, also unfinished uploads."""
    connection = sqlite3.connect(f"file:{server.data / 'hythe.db'}?mode=ro", uri=True)
    try:
        tables = ("tags", "manifests", "blobs", "uploads", "repositories")
        return {table: connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in tables}
    finally:
        connection.close()


def writes(url: str) -> list[tuple[str, str]]:
    """Return method and URL of each way to change the registry."""
    forged = digest_of(b"written by a page")
    return [
        ("POST", f"{url}/v2/app/blobs/uploads/"),
        ("POST", f"{url}/v2/new/blobs/uploads/?digest={forged}"),
        ("POST", f"{url}/v2/new/blobs/uploads/?mount={BLOB}&from=app"),
        ("PUT", f"{url}/v2/app/manifests/forged"),
        ("PATCH", f"{url}/v2/app/blobs/uploads/x"),
        ("DELETE", f"{url}/v2/app/manifests/1"),
        ("DELETE", f"{url}/v2/app/blobs/{BLOB}"),
    ]


def attack_from(page: Page, url: str) -> list[str]:
    """Try everything that a page of another site can do; return what it could read."""
    read = [str(page.evaluate(SEND, [f"{url}/v2/_catalog", "GET", mode, ""])) for mode in ("cors", "no-cors")]
    read += page.evaluate(EMBED, [f"{url}/v2/app/blobs/{BLOB}"])
    for method, target in writes(url):
        read.append(page.evaluate(SEND, [target, method, "cors", "application/json"]))
        if method == "POST":
            read.append(page.evaluate(SEND, [target, method, "no-cors", "text/plain"]))
            page.evaluate(BEACON, [target])
            page.evaluate(SANDBOXED, [target])
            for encoding in ("text/plain", "multipart/form-data"):
                page.evaluate(SUBMIT, [target, encoding, "frame"])
    page.wait_for_timeout(500)
    return read


@pytest.mark.parametrize("attacker", ["evil.test", "localhost"])
def test_pages_elsewhere_change_and_read_nothing(
    registry: HytheServer, elsewhere: int, page: Page, attacker: str
) -> None:
    """From another site, and from another port of the same host (which is the same site for cookies)."""
    before = content(registry)
    page.goto(f"http://{attacker}:{elsewhere}/")

    read = attack_from(page, f"http://localhost:{registry.port}")

    assert content(registry) == before
    assert [text for text in read if "app" in text or SECRET.decode() in text or "loaded" in text] == []


def test_a_form_that_opens_in_a_new_tab_changes_nothing(registry: HytheServer, elsewhere: int, page: Page) -> None:
    """The user sees why, and the browser shows no image of the registry."""
    before = content(registry)
    page.goto(f"http://evil.test:{elsewhere}/")

    with page.expect_popup() as opened:
        page.evaluate(SUBMIT, [f"http://127.0.0.1:{registry.port}/v2/app/blobs/uploads/", "text/plain", "_blank"])
    opened.value.wait_for_load_state()

    assert "a page of another web site sent this request" in opened.value.content()
    assert content(registry) == before


@pytest.mark.parametrize("name", DOMAINS)
def test_a_rebound_name_reaches_nothing(registry: HytheServer, page: Page, name: str) -> None:
    """A page whose name now leads to the registry is of one site with it for the browser: only Host betrays it."""
    before = content(registry)
    url = f"http://{name}:{registry.port}"
    page.route(f"{url}/", lambda route: route.fulfill(body="<!doctype html>", content_type="text/html"))
    page.goto(f"{url}/")

    read = [page.evaluate(READ, path) for path in ("/v2", "/v2/_catalog", "/v2/app/tags/list", f"/v2/app/blobs/{BLOB}")]
    sent = [page.evaluate(SEND, [target, method, "cors", "application/json"]) for method, target in writes(url)]

    assert content(registry) == before
    for text in read + sent:
        assert text.startswith("403 ")
        assert f"--allowed-hosts {name}" in text


def test_an_absolute_name_is_no_way_around(registry: HytheServer, page: Page) -> None:
    """The dot at the end of a name, and capitals, make no other name of it."""
    page.route("**/start", lambda route: route.fulfill(body="<!doctype html>", content_type="text/html"))
    page.goto(f"http://EVIL.test.:{registry.port}/start")

    assert page.evaluate(READ, "/v2/_catalog").startswith("403 ")


def test_remembered_passwords_are_not_misused(
    start_private_registry: Callable[..., HytheServer], browser: Browser, elsewhere: int, tmp_path: Path
) -> None:
    """A browser that knows the password of a registry sends it with the requests of pages on another port."""
    users = tmp_path / "users"
    users.write_text(htpasswd({"ann": "secret"}))
    registry = start_private_registry(["--htpasswd", str(users)])
    login = base64.b64encode(b"ann:secret").decode()
    fill(Client(registry.port, {"Authorization": f"Basic {login}"}))
    before = content(registry)
    url = f"http://localhost:{registry.port}"
    context = browser.new_context(http_credentials={"username": "ann", "password": "secret", "origin": url})
    page = context.new_page()
    page.goto(f"{url}/v2/_catalog")
    assert "app" in page.content()

    page.goto(f"http://localhost:{elsewhere}/")
    read = attack_from(page, url)
    context.close()

    assert content(registry) == before
    assert [text for text in read if "app" in text or "loaded" in text] == []


def test_the_registrys_own_address_works_in_a_browser(registry: HytheServer, page: Page) -> None:
    """A typed address shows the catalog, and a page of the registry itself can send requests."""
    page.goto(f"http://localhost:{registry.port}/v2/_catalog")

    assert '"app"' in page.content()
    assert page.evaluate(READ, "/v2/app/tags/list").startswith("200 ")
    assert page.evaluate(SEND, ["/v2/app/blobs/uploads/", "POST", "cors", "application/json"]).startswith("202 ")


@pytest.mark.parametrize("host", ["hub.example.com", "hub.example.com:8080", "10.0.0.7", "hub"])
def test_a_hub_answers_to_every_name(shared_hub: HytheServer, host: str) -> None:
    """Accounts and tokens protect a hub, so that any name and any proxy in front of it work without a setting."""
    assert status(shared_hub, host, "/sign-in") == 200


@pytest.mark.parametrize(
    ("host", "flags"),
    [
        ("registry.example.com", ("--allowed-hosts", "registry.example.com")),
        ("REGISTRY.example.com.:5000", ("--allowed-hosts", "other registry.EXAMPLE.com")),
        ("a.b.example.com", ("--allowed-hosts", "*.example.com")),
        ("anything.example", ("--allowed-hosts", "*")),
    ],
)
def test_allowed_names(start_private_registry: Callable[..., HytheServer], host: str, flags: tuple[str, ...]) -> None:
    """An operator adds names, also all names of a domain."""
    assert status(start_private_registry(flags), host) == 200


def test_names_need_no_setting_with_tls_or_a_password(
    start_private_registry: Callable[..., HytheServer], tmp_path: Path
) -> None:
    """A rebound page gets no password from the browser."""
    users = tmp_path / "users"
    users.write_text(htpasswd({"ann": "secret"}))

    assert status(start_private_registry(["--htpasswd", str(users)]), "registry.example.com") == 401


def status(server: HytheServer, host: str, path: str = "/v2/_catalog") -> int:
    """The status of a request with this Host header."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    try:
        connection.request("GET", path, headers={"Host": host})
        return connection.getresponse().status
    finally:
        connection.close()
