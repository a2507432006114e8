"""Invalid values at every address: the response has the right error format, and never status 500.

Every path parameter, query parameter and body field gets values that the databases cannot store: NUL characters,
lone surrogates, texts and numbers that are too large. The addresses come from the route tables, so that new ones are
covered automatically, unless they take a body.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from html import unescape
from typing import Any
from urllib.parse import urlencode

import httpx2
import pytest
from tests.parts.hub import HUB, HytheServer, server_factory
from tests.parts.postgresql import PostgresqlServer
from tests.unit.registry.depot import image

from hythe.builds.routes import application as build_routes
from hythe.hub.routes import application as hub_routes
from hythe.hub.routes import docker_hub
from hythe.notifications.routes.webhooks import CALLBACK_PATH
from hythe.oci.digest import Digest
from hythe.oci.manifest import OCI_MANIFEST
from hythe.web.routes.application import PAGES

PASSWORD = "correct horse"
WORKER_TOKEN = "workers alone"

RAW = (
    "%00",
    "a%00b",
    "%ED%A0%80",
    "%F0%9F%98%80",
    "%C2%B2",
    "%D9%A3",
    "x" * 4000,
    "2147483648",
    "9223372036854775808",
    "9" * 40,
    "-1",
)
"""For paths and queries, as sent; two are digits outside ASCII."""

WORST = ("%00", "%ED%A0%80", "x" * 4000, "9" * 40)
"""One of each kind, for addresses with many combinations."""

TEXTS = ("\0", "a\0b", "\ud800", "\udc00x", "x" * 4000, "😀" * 300)
HEADERS = (b"\xb2", b"\xff", b"x" * 4000, b"9" * 40, b"-1")
NUMBERS = (2**31, 2**63, 2**70, -(2**70), -1)

PLACES = {
    "namespace": "ann",
    "name": "app",
    "username": "ann",
    "tag": "latest",
    "repository": "ann/app",
    "reference": "ann/app",
    "id": "1",
    "number": "1",
    "webhook": "1",
    "delivery": "1",
    "secret": "S",
    "token": "1",
    "linked_account": "1",
    "rule": "1",
    "callback": "x",
}
"""The valid value of each path parameter, used while another one is tried."""

SOURCE = {"url": "https://git.example.com/team/app.git", "forge_repository": "team/app", "default_branch": "main"}
RULE = {
    "source": "/.*/",
    "tags": "t",
    "dockerfile": "Dockerfile",
    "context": "/",
    "target": "",
    "arguments": {"A": "b"},
}
PARAMETERS: dict[str, tuple[str, ...]] = {
    "/search": ("q", "page"),
    "/sign-in": ("next",),
    "/sign-up": ("next",),
    "/account/linked-accounts/begin": ("url",),
    "/account/linked-accounts/authorized": ("code", "state", "error"),
    "/new-build/rules": ("linked_account", "repository", "url"),
    "/new-build/{linked_account:int}": ("q",),
    "/{repository:path}/-/builds": ("before", "status", "source_name"),
    "/{repository:path}/-/builds/{number:int}/log": ("start",),
}
"""The query parameters of pages."""

BODIES: dict[tuple[str, str], Any] = {
    ("POST", "/users"): {"username": "zoe", "email": "zoe@example.com", "password": PASSWORD},
    ("PATCH", "/users/me"): {"email": "ann@example.com", "default_visibility": "public"},
    ("PATCH", "/users/{username}"): {"private_limit": 3},
    ("PUT", "/users/me/password"): {"current": "not mine", "password": PASSWORD},
    ("POST", "/tokens"): {"name": "t", "rights": ["repo:read"], "expires_in_days": 3},
    ("POST", "/repositories"): {"namespace": "ann", "name": "n", "description": "d", "full_description": "f"},
    ("PATCH", "/repositories/{namespace}/{name}"): {"description": "d", "full_description": "f"},
    ("POST", "/repositories/{namespace}/{name}/tags/{tag}/restore"): {"digest": str(Digest.of(b"none"))},
    ("PUT", "/repositories/{namespace}/{name}/immutable-tags"): {"patterns": ["v*"]},
    ("POST", "/linked-accounts"): {"url": "https://forge.example.com", "token": "t"},
    ("POST", "/build-preview"): {"rules": [RULE], "refs": [{"type": "branch", "name": "main", "commit": "0" * 40}]},
    ("PUT", "/repositories/{namespace}/{name}/build-configuration/secrets/{secret}"): {"value": "v"},
    ("POST", "/repositories/{namespace}/{name}/build-configuration/docker-hub"): {},
    ("POST", "/repositories/{namespace}/{name}/build-configuration"): {"source": SOURCE, "rules": [RULE]},
    ("PATCH", "/repositories/{namespace}/{name}/build-configuration"): {
        "source": {**SOURCE, "linked_account_id": None},
        "rules": [{**RULE, "id": 1, "timeout": 60}],
        "options": {"schedule": "daily 04:00"},
        "credentials": "user:secret",
    },
    ("POST", "/repositories/{namespace}/{name}/webhooks"): {"url": "https://example.com/x", "secret": "s"},
    ("POST", "/repositories/{namespace}/{name}/builds"): {"source_type": "branch", "source_name": "b", "commit": ""},
    ("POST", "/repositories/{namespace}/{name}/build-configuration/forge-webhook"): {
        "hub_url": "https://hub.example.com"
    },
}
"""A valid body for each address of the JSON API that takes one."""


@dataclass
class Tried:
    """A hub with Ann's repository, build configuration and build, and the failures found."""

    server: HytheServer
    client: httpx2.Client
    token: str = ""
    failures: list[str] = field(default_factory=list)

    def api(self, method: str, path: str, body: object = None) -> Any:
        """Call the JSON API as Ann; the call must succeed."""
        answer = self.client.request(method, f"/api/v1{path}", json=body)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    def send(self, method: str, path: str, form: Callable[[httpx2.Response], bool], **request: Any) -> httpx2.Response:
        """Send a request; record a server error, or an error in the wrong format."""
        answer = self.client.request(method, path, **request)
        if answer.status_code >= 500 or (answer.status_code >= 400 and not form(answer)):
            problem = f"{answer.status_code} {answer.headers.get('content-type')} {answer.text[:200]}"
            self.failures.append(f"{method} {path[:150]} {str(request)[:200]}: {problem}")
        return answer


def is_problem(answer: httpx2.Response) -> bool:
    """The JSON API's error format (RFC 9457)."""
    return answer.headers["content-type"] == "application/problem+json" and answer.json()["status"] >= 400


def is_docker_hub_failure(answer: httpx2.Response) -> bool:
    """Docker Hub's error format."""
    return answer.headers["content-type"] == "application/json" and {"message", "detail"} <= answer.json().keys()


def is_wire_error(answer: httpx2.Response) -> bool:
    """The registry's error format."""
    return not answer.content or {"code", "message", "detail"} == answer.json()["errors"][0].keys()


def is_token_failure(answer: httpx2.Response) -> bool:
    """The token server's error format."""
    return bool(answer.json()["error"] and answer.json()["details"])


def is_page(answer: httpx2.Response) -> bool:
    """An HTML page."""
    return answer.headers["content-type"].startswith("text/html") and "</html>" in answer.text


def is_anything(_answer: httpx2.Response) -> bool:
    """No specific format."""
    return True


def paths(template: str) -> Iterator[str]:
    """The address with an invalid value in each path parameter in turn."""
    names = re.findall(r"\{(\w+)(?::\w+)?\}", template)
    for bad_name in names:
        for bad in RAW:
            yield filled(template, {bad_name: bad})


def filled(template: str, places: Mapping[str, str] = {}) -> str:
    """The address with these path parameters, and valid ones for the others."""
    return re.sub(r"\{(\w+)(?::\w+)?\}", lambda found: places.get(found[1]) or PLACES[found[1]], template)


def queries(names: Iterable[str], values: tuple[str, ...] = RAW) -> Iterator[str]:
    """Queries with an invalid value for each of these parameters in turn."""
    return (f"{name}={bad}" for name in names for bad in values)


def invalid_variants(value: Any) -> Iterator[Any]:
    """The JSON value with each text and number replaced by an invalid one, in turn."""
    match value:
        case dict():
            for key, inner in value.items():
                yield from ({**value, key: bad} for bad in invalid_variants(inner))
            yield from ({**value, bad: "x"} for bad in TEXTS[:3])
        case list():
            for place, inner in enumerate(value):
                yield from ([*value[:place], bad, *value[place + 1 :]] for bad in invalid_variants(inner))
        case str():
            yield from TEXTS
        case bool():
            return
        case _:
            yield from NUMBERS


def sent(body: Any) -> dict[str, Any]:
    """A JSON body, which may contain text that other encoders refuse."""
    return {"content": json.dumps(body).encode(), "headers": {"Content-Type": "application/json"}}


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def whole(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tried]:
    """The hub for this file, on each database."""
    postgresql: PostgresqlServer | None = None
    if request.param == "postgresql":
        postgresql = request.getfixturevalue("postgresql")
    env = {"HYTHE_WORKER_TOKEN": WORKER_TOKEN, "HYTHE_BUILDS_WORKERS": "0"}
    with server_factory(tmp_path_factory.mktemp("bad"), HUB) as start:
        server = start(database_url=postgresql.create() if postgresql else None, env=env)
        server.create_user("ann", PASSWORD)
        with httpx2.Client(base_url=server.url, timeout=60) as client:
            client.auth = ("ann", PASSWORD)
            tried = Tried(server, client)
            rights = ["repo:read", "repo:write", "repo:delete", "builds", "repo:admin", "account"]
            tried.token = tried.api("POST", "/tokens", {"name": "all", "rights": rights})["token"]
            client.auth = None
            client.headers["Authorization"] = f"Bearer {tried.token}"
            _furnish(tried)
            yield tried


def _furnish(tried: Tried) -> None:
    """Create a tagged image, a build configuration with a secret, a webhook, and a queued build."""
    content = b"{}"
    put = {"digest": str(Digest.of(content))}
    assert tried.client.post("/v2/ann/app/blobs/uploads/", params=put, content=content).status_code == 201
    manifest = json.dumps(image(content)).encode()
    headers = {"Content-Type": OCI_MANIFEST}
    assert tried.client.put("/v2/ann/app/manifests/latest", content=manifest, headers=headers).status_code == 201
    tried.api("POST", "/repositories", {"namespace": "ann", "name": "other"})
    tried.api("POST", "/repositories/ann/app/build-configuration", {"source": SOURCE, "rules": [RULE]})
    tried.api("PUT", "/repositories/ann/app/build-configuration/secrets/S", {"value": "v"})
    tried.api("POST", "/repositories/ann/app/webhooks", {"url": "https://example.com/x"})
    tried.api("POST", "/repositories/ann/app/builds", {"source_name": "main"})


@pytest.fixture
def tried(whole: Tried) -> Iterator[Tried]:
    """The hub of this module; the test fails if it recorded a failure."""
    whole.failures.clear()
    yield whole
    assert not whole.failures, "\n".join([*whole.failures, whole.server.log[-3000:]])


def test_json_api(tried: Tried) -> None:
    """Every operation in the OpenAPI description: its path, parameters and body."""
    described = tried.client.get("/api/openapi.json").json()["paths"]
    for path, method in [(path, method) for path, methods in described.items() for method in methods]:
        operation = described[path][method]
        parameters = [each["name"] for each in operation["parameters"] if each["in"] == "query"]
        body = BODIES[method.upper(), path.removeprefix("/api/v1")] if "requestBody" in operation else None
        for bad in paths(path):
            tried.send(method.upper(), bad, is_problem, **(sent(body) if body is not None else {}))
        for query in queries(parameters):
            tried.send(method.upper(), f"{filled(path)}?{query}", is_problem)
        for bad in invalid_variants(body) if body is not None else ():
            tried.send(method.upper(), filled(path), is_problem, **sent(bad))


def test_docker_hubs_api(tried: Tried) -> None:
    """The endpoints of Docker Hub's API, such as ``/v2/users/``."""
    for endpoint in docker_hub.ENDPOINTS:
        for bad in paths(endpoint.path):
            tried.send(endpoint.method, bad, is_docker_hub_failure)
        for query in queries(endpoint.query.__struct_fields__):
            tried.send(endpoint.method, f"{filled(endpoint.path)}?{query}", is_docker_hub_failure)
        for bad in invalid_variants(dict.fromkeys(endpoint.body.__struct_fields__, "zed")):
            tried.send(endpoint.method, endpoint.path, is_docker_hub_failure, **sent(bad))


def test_original_index(tried: Tried) -> None:
    """``/v1/``: docker prints the body, so errors are sentences."""
    own = {path for _, path, *_ in hub_routes.PLAIN if not path.startswith("/api/v1/tag-log/")}
    assert own == {"/token", "/v1/_ping", "/v1/users/", "/v1/search"}
    for query in queries(["q", "n", "page"]):
        tried.send("GET", f"/v1/search?{query}", is_anything)
    for bad in invalid_variants({"username": "zed", "email": "zed@example.com", "password": PASSWORD}):
        tried.send("POST", "/v1/users/", is_anything, **sent(bad))
    for name, password in itertools.product(("ann", "\0", "a\0b", "x" * 4000), ("\0", "hythe_\0", "x" * 4000)):
        tried.send("GET", "/v1/users/", is_anything, headers={"Authorization": _basic(name, password)})


def test_token_server(tried: Tried) -> None:
    """``/token`` with query and form, anonymous and signed in."""
    names = ("service", "scope", "client_id", "offline_token", "account")
    ours = {"scope": "repository:ann/app:pull", "offline_token": "true", "client_id": "docker", "service": "here"}
    headers = {"Authorization": _basic("ann", tried.token)}
    for query in (*queries(names), *(f"scope=repository:{bad}:pull" for bad in RAW)):
        tried.send("GET", f"/token?{query}", is_token_failure, headers={"Authorization": ""})
        name = query.partition("=")[0]
        rest = urlencode({key: value for key, value in ours.items() if key != name})
        tried.send("GET", f"/token?{query}&{rest}", is_token_failure, headers=headers)
    form = {"service": "here", "client_id": "docker", "access_type": "offline", "scope": ours["scope"]}
    password = {"grant_type": "password", "username": "ann", "password": tried.token, **form}
    renewal = {"grant_type": "refresh_token", "refresh_token": "x", **form}
    for good, name in [(password, name) for name in password] + [(renewal, name) for name in renewal]:
        # Too many wrong passwords of Ann's would lock her out of the other tests.
        others = good | ({"username": "zed"} if name == "password" else {})
        rest = urlencode({key: value for key, value in others.items() if key != name})
        for bad in RAW:
            request = {"content": f"{name}={bad}&{rest}", "headers": {"Authorization": ""}}
            tried.send("POST", "/token", is_token_failure, **request)


def _basic(name: str, password: str) -> str:
    return httpx2.BasicAuth(name, password)._auth_header


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


def test_plain_addresses_of_builds(tried: Tried) -> None:
    """Logs, badges, the trigger URL, callbacks of webhooks."""
    plain = [(method, path) for method, path, *_ in build_routes.PLAIN]
    for method, path in (*plain, ("POST", CALLBACK_PATH)):
        if path.endswith("/events"):
            continue
        for bad in (filled(path), *paths(path)):
            tried.send(method, bad, is_problem if path.startswith("/api/") else is_anything)
            tried.send(method, bad, is_anything, **sent({"state": "success"}))
        for query in queries(("start", "branch")):
            tried.send(method, f"{filled(path)}?{query}", is_anything)
    trigger = tried.api("GET", "/repositories/ann/app/build-configuration/trigger")["path"]
    for bad in invalid_variants({"source_type": "branch", "source_name": "b", "docker_tag": "t"}):
        tried.send("POST", trigger, is_problem, **sent(bad))
        tried.send("POST", trigger, is_problem, **sent({"source_name": "b"} | bad))


def test_webhooks_of_forges(tried: Tried) -> None:
    """A delivery is accepted with any text in its commits, because it is sent only once."""
    hook = tried.api(
        "POST", "/repositories/ann/app/build-configuration/forge-webhook", {"hub_url": "https://hub.example.com"}
    )
    address = hook["url"].removeprefix("https://hub.example.com")
    commit = {"id": "1" * 40, "message": "m", "author": {"name": "a", "email": "e"}}
    push = {
        "ref": "refs/heads/main",
        "before": "0" * 40,
        "after": "1" * 40,
        "checkout_sha": "1" * 40,
        "user_username": "u",
        "project": {"path_with_namespace": "team/app"},
        "commits": [commit],
    }
    for number, bad in enumerate(invalid_variants(push)):
        headers = {"X-Gitlab-Event": "Push Hook", "X-Gitlab-Token": hook["secret"], "Idempotency-Key": str(number)}
        request = sent(bad)
        request["headers"] |= headers
        tried.send("POST", address, is_anything, **request)
    new = {"checkout_sha": "2" * 40, "after": "2" * 40, "before": "1" * 40}
    odd_commit = {**commit, "id": "2" * 40, "message": "a\0b \\u0000"}
    named = json.dumps({**push, **new, "commits": [odd_commit]}).encode()
    signed = {"X-Gitlab-Event": "Push Hook", "X-Gitlab-Token": hook["secret"], "Idempotency-Key": "last"}
    assert tried.client.post(address, content=named, headers=signed).status_code == 202
    newest = tried.api("GET", "/repositories/ann/app/builds?limit=1")["items"][0]
    assert newest["commit"]["message"] == "a\ufffdb \\u0000"
    for bad in RAW:
        tried.send("POST", f"/hooks/{bad}", is_problem)
    for bad in HEADERS:
        for name in ("X-Gitlab-Event", "Idempotency-Key", "X-Github-Event", "X-Gitlab-Token", "X-Event-Key"):
            tried.send("POST", address, is_anything, headers=signed | {name: bad}, content=named)


def test_workers(tried: Tried) -> None:
    """Workers send third-party text: commit messages, reasons, results."""
    worker = {"Authorization": f"Bearer {WORKER_TOKEN}"}
    calls = {
        "progress": {"steps": [{"name": "s", "status": "running"}]},
        "commit": {"commit": "2" * 40, "message": "m", "author": "a"},
        "token": ["ann/app"],
        "sign": {"payload": "{}"},
    }
    path, lease = _claimed(tried, worker)
    tried.send("POST", f"{path}/log?offset=0", is_problem, content=b"\0\xff\n", headers=lease)
    for what, bad in [(what, bad) for what, body in calls.items() for bad in (body, *invalid_variants(body))]:
        tried.send("POST", f"{path}/{what}", is_problem, **sent(bad) | {"headers": lease})
    end = {"status": "failed", "reason": "r", "digest": "d", "result": {"readme": "r", "dockerfile": "f"}}
    for bad in invalid_variants(end):
        tried.send("POST", f"{path}/finish", is_problem, **sent(bad) | {"headers": lease})
        if not tried.client.post(f"{path}/progress", headers=lease).is_success:
            path, lease = _claimed(tried, worker)
    for bad in invalid_variants({"worker": "w", "wait": 0}):
        tried.send("POST", "/api/v1/workers/claim", is_problem, **sent(bad) | {"headers": worker})
    for bad in RAW:
        for path in (f"{bad}/progress", f"1/{bad}", f"1/log?offset={bad}"):
            tried.send("POST", f"/api/v1/workers/builds/{path}", is_problem, headers=worker)
    for odd in HEADERS:
        shown = worker | {"Hythe-Build-Fence": odd, "Hythe-Build-Key": odd}
        tried.send("POST", "/api/v1/workers/builds/1/progress", is_problem, headers=shown)


def _claimed(tried: Tried, worker: dict[str, str]) -> tuple[str, dict[str, str]]:
    """Claim a build; return its path in the worker API and the headers that prove the lease."""
    while True:
        claim = tried.client.post("/api/v1/workers/claim", json={"worker": "w", "wait": 0}, headers=worker)
        if claim.status_code == 200:
            job = claim.json()
            shown = {"Hythe-Build-Key": job["key"], "Hythe-Build-Fence": str(job["fence"])}
            return f"/api/v1/workers/builds/{job['build_id']}", worker | shown
        tried.api("POST", "/repositories/ann/app/builds", {"source_name": "main"})


def test_pages(tried: Tried) -> None:
    """Every page: its path, its parameters, and each field of its forms."""
    browser = httpx2.Client(base_url=tried.server.url, timeout=60)
    sign_in = browser.get("/sign-in").text
    fields = {"username": "ann", "password": PASSWORD, "form_token": _form_token(sign_in)}
    assert browser.post("/sign-in", data=fields).status_code == 303
    as_ann = Tried(tried.server, browser, failures=tried.failures)
    for route in PAGES:
        path, methods = route.path, tuple(route.actions)
        if path.endswith("/events"):
            continue
        for method, bad in itertools.product(methods, paths(path)):
            as_ann.send(method, bad, is_page)
        for query in queries(PARAMETERS.get(path, ())):
            as_ann.send("GET", f"{filled(path)}?{query}", is_page)
        if "POST" in methods and path not in ("/sign-out", "/sign-in"):
            _forms(as_ann, filled(path))


def _forms(as_ann: Tried, address: str) -> None:
    page = as_ann.client.get(address).text
    token = _form_token(page)
    values = dict(re.findall(r'<input[^>]* name="(\w+)"[^>]* value="([^"]*)"', page))
    names = set(re.findall(r'<(?:input|textarea|select|button)[^>]* name="(\w+)"', page)) - {"form_token"}
    actions = re.findall(r'name="action" value="(\w[\w ]*)"', page) or [""]
    for action, name, bad in itertools.product(actions, sorted(names), (*WORST, "%FF")):
        others = {key: values.get(key, "x") for key in names if key != name}
        form = urlencode({"form_token": token, "action": action, **{k: unescape(v) for k, v in others.items()}})
        if address.endswith("/delete") or action in ("remove", "delete", "deactivate"):
            form = form.replace("form_token", "none")
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        as_ann.send("POST", address, is_page, content=f"{form}&{name}={bad}", headers=headers)


def _form_token(page: str) -> str:
    found = re.search(r'name="form_token" value="([^"]+)"', page)
    return found[1] if found else ""
