"""Values that no database can store, and a hub whose every address gets them.

NUL characters, lone surrogates, texts and numbers that are too large: for each path parameter, query parameter and
body field. A response to one of them has the right error format, and never status 500.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx2
import pytest
from tests.parts.hub import HUB, HytheServer, server_factory
from tests.unit.registry.depot import image

from hythe.oci.digest import Digest
from hythe.oci.manifest import OCI_MANIFEST

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
    "username": "zed",
    "account": "zed",
    "organization": "acme",
    "member": "zed",
    "team": "crew",
    "collaborator": "zed",
    "tag": "latest",
    "repository": "ann/app",
    "reference": "ann/app",
    "former": "ann%2Fbefore",
    "robot": "ci",
    "pattern": "blocked",
    "digest": f"sha256:{64 * '0'}",
    "session": "0123456789abcdef",
    "provider": "none",
    "secret": "S",
    "callback": "x",
    "level": "0",
    "tile": "000",
    "build": "1",
    "delivery": "1",
    "id": "1",
    "identity": "1",
    "invitation": "1",
    "linked_account": "1",
    "number": "1",
    "offered": "1",
    "passkey": "1",
    "report": "1",
    "rule": "1",
    "token": "1",
    "webhook": "1",
    "worker": "1",
}
"""The valid value of each path parameter, used while another one is tried."""

OTHER_PLACES = {
    r"/api/v1/admin/repositories/\{namespace\}/\{name\}/([a-z-]+)": {"namespace": "zed", "name": r"\1"},
    r"/admin/repositories/\{repository:path\}/-/([a-z-]+)": {"repository": r"zed/\1"},
    r"/\{namespace\}/-/(?:people|teams|invitations|settings).*": {"namespace": "acme"},
    r"/api/v1/namespaces/\{namespace\}/rename": {"namespace": "acme"},
    r"/api/v1/namespaces/\{namespace\}/trust-rules/\{rule\}": {"rule": "job"},
    r"(?:/api/v1/admin/replications|/admin/replication/rules)/\{rule\}.*": {"rule": "copy"},
}
"""Other values by the pattern of an address: what it ends or renames is not what other addresses need."""

SOURCE = {"url": "https://git.example.com/team/app.git", "forge_repository": "team/app", "default_branch": "main"}
RULE = {
    "source": "/.*/",
    "tags": "t",
    "dockerfile": "Dockerfile",
    "context": "/",
    "target": "",
    "arguments": {"A": "b"},
}


@dataclass
class Tried:
    """A hub with something of each kind, which Ann, an administrator, owns, and the failures found."""

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
        limited = answer.status_code == 429 and "requests in a minute" in answer.text
        if limited or answer.status_code >= 500 or (answer.status_code >= 400 and not form(answer)):
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
    known = path_values(template) | dict(places)
    return re.sub(r"\{(\w+)(?::\w+)?\}", lambda found: known[found[1]], template)


def path_values(template: str) -> dict[str, str]:
    """The valid value of each path parameter of an address, as it is sent."""
    known = PLACES | _other_places(template)
    return {name: known[name] for name in re.findall(r"\{(\w+)(?::\w+)?\}", template)}


def _other_places(template: str) -> dict[str, str]:
    for pattern, others in OTHER_PLACES.items():
        if found := re.fullmatch(pattern, template):
            return {name: found.expand(value) for name, value in others.items()}
    return {}


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
    """The hub for a file, on each database, called with a session of Ann's."""
    url = request.getfixturevalue("new_postgresql_url")() if request.param == "postgresql" else None
    env = {
        "HYTHE_WORKER_TOKEN": WORKER_TOKEN,
        "HYTHE_BUILDS_WORKERS": "0",
        "HYTHE_API_REQUESTS_PER_MINUTE": "0",
    }
    with server_factory(tmp_path_factory.mktemp("bad"), HUB) as start:
        server = start(database_url=url, env=env)
        server.create_user("ann", PASSWORD, admin=True)
        server.create_user("zed", PASSWORD)
        with httpx2.Client(base_url=server.url, timeout=60) as client:
            tried = Tried(server, client)
            session = tried.api("POST", "/sessions", {"username": "ann", "password": PASSWORD})["token"]
            client.headers["Authorization"] = f"Bearer {session}"
            _furnish(tried)
            yield tried


def _furnish(tried: Tried) -> None:
    """Create something of each kind: the first token is only there to be changed."""
    rights = ["repo:read", "repo:write", "repo:delete", "builds", "repo:admin", "account"]
    tokens = [tried.api("POST", "/tokens", {"name": name, "rights": rights}) for name in ("first", "all")]
    tried.token = tokens[1]["token"]
    _push(tried)
    tried.api("POST", "/repositories", {"namespace": "ann", "name": "other"})
    tried.api("POST", "/repositories/ann/app/build-configuration", {"source": SOURCE, "rules": [RULE]})
    tried.api("PUT", "/repositories/ann/app/build-configuration/secrets/S", {"value": "v"})
    tried.api("POST", "/repositories/ann/app/webhooks", {"url": "https://example.com/x"})
    tried.api("POST", "/repositories/ann/app/builds", {"source_name": "main"})
    tried.api("POST", "/repositories", {"namespace": "ann", "name": "before"})
    tried.api("POST", "/repositories/ann/before/rename", {"name": "after"})
    tried.api("POST", "/namespaces/ann/robots", {"name": "ci", "rights": ["repo:read"]})
    rule = {"name": "job", "issuer": "https://ci.example.com", "subject": "repo:*", "rights": ["repo:read"]}
    tried.api("POST", "/namespaces/ann/trust-rules", rule)
    _create_acme(tried)
    _administer(tried)


def _push(tried: Tried) -> None:
    content = b"{}"
    put = {"digest": str(Digest.of(content))}
    own = {"Authorization": f"Bearer {tried.token}"}
    pushed = tried.client.post("/v2/ann/app/blobs/uploads/", params=put, content=content, headers=own)
    assert pushed.status_code == 201
    manifest = json.dumps(image(content)).encode()
    headers = own | {"Content-Type": OCI_MANIFEST}
    assert tried.client.put("/v2/ann/app/manifests/latest", content=manifest, headers=headers).status_code == 201


def _create_acme(tried: Tried) -> None:
    """Create an organization with a team, a member and an invitation."""
    tried.api("POST", "/organizations", {"name": "acme"})
    tried.api("POST", "/organizations/acme/teams", {"name": "crew"})
    tried.api("PUT", "/organizations/acme/teams/crew/grants", {"repositories": "app-*", "role": "read"})
    tried.api("POST", "/organizations/acme/invitations", {"username": "zed", "team": "crew"})
    as_zed = httpx2.Client(base_url=tried.server.url, timeout=60, auth=("zed", PASSWORD))
    assert as_zed.post("/api/v1/invitations/1/accept").is_success
    tried.api("POST", "/organizations/acme/invitations", {"email": "eve@example.com"})
    tried.api("POST", "/repositories/ann/app/collaborators", {"username": "zed"})
    for name in ("access", "open", "close", "take-down", "restore", "delete", "hand-over", "official"):
        assert as_zed.post("/api/v1/repositories", json={"namespace": "zed", "name": name}).is_success


def _administer(tried: Tried) -> None:
    """Create a report, a blocked name, a blocked digest, and a worker."""
    tried.api("POST", "/repositories/zed/official/reports", {"category": "spam", "text": "x"})
    tried.api("POST", "/admin/blocked-names", {"pattern": "blocked"})
    tried.api("POST", "/admin/blocked-digests", {"digest": f"sha256:{64 * '0'}"})
    tried.api("POST", "/admin/replications", {"name": "copy", "direction": "push", "url": "http://127.0.0.1:9"})


@pytest.fixture
def tried(whole: Tried) -> Iterator[Tried]:
    """The hub of this module; the test fails if it recorded a failure, or if Ann's session ended early."""
    whole.failures.clear()
    yield whole
    assert not whole.failures, "\n".join([*whole.failures[:20], whole.server.log[-3000:]])
    assert whole.api("GET", "/users/me")["username"] == "ann"
