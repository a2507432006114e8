"""Every route of the JSON API refuses every kind of actor whom the table of actions does not allow."""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import urlencode

import msgspec
import pytest
from tests.parts.process import ROOT
from tests.unit.hub.routes.kinds import KINDS, RolesHub
from tests.unit.hub.routes.walked import API

from hythe.hub.access.actions import HubAction
from hythe.hub.access.table import OF_REGISTRY, TABLE
from hythe.hub.roles import Everyone, RepositoryRole


class Call(NamedTuple):
    """A request to one endpoint, and what it does."""

    method: str
    path: str
    body: Any
    action: HubAction


VALUES: dict[str, Any] = {
    "username": "zed",
    "direction": "push",
    "url": "https://hooks.example.com/x",
    "reason": "x",
    "official": True,
    "draining": True,
    "category": "spam",
    "text": "x",
    "outcome": "dismissed",
    "pattern": "zed",
    "digest": f"sha256:{64 * '0'}",
    "email": "zed@example.com",
    "password": "a long enough passphrase",
    "current": "not the password",
    "token": "x",
    "account": "zed",
    "name": "other",
    "rights": ["repo:read"],
    "tokens": [],
    "state": "x",
    "code": "123456",
    "credential": {},
    "issuer": "https://ci.example.com",
    "subject": "repo:acme/app:*",
    "subject_token": "x",
    "otp": "123456",
    "owner": "zed",
    "confirm": "no",
    "repositories": "app-*",
    "to": "zed",
    "patterns": ["v*"],
    "namespace": "acme",
    "value": "x",
    "build_settings": [{"source_type": "Branch", "source_name": "main", "tag": "latest"}],
    "source": {"url": "https://git.example.com/a/b.git", "default_branch": "main"},
}
MORE = {
    "/api/v1/repositories/acme/app/build-configuration/docker-hub": {
        "provider": "github",
        "owner": "a",
        "repository": "b",
    },
    "/api/v1/organizations/acme/invitations": {"username": "zed"},
    "/api/v1/users/me/confirmation": {"otp": "123456"},
}
"""What bodies need besides their required fields, by the path."""

QUERY = {"size": 1, "url": "https://git.example.com/a/b.git", "repository": "a/b"}
PATH = {"namespace": "acme", "organization": "acme", "tag": "latest", "username": "zed", "user": "zed"}


def _body(kind: type[Any]) -> dict[str, Any]:
    filled = {}
    for field in msgspec.structs.fields(kind):
        if field.required:
            value = VALUES.get(field.encode_name)
            if field.encode_name == "role":
                value = "member" if "Member" in str(field.type) else "read"
            filled[field.encode_name] = value
    return filled


def _path(template: str, query: type[Any]) -> str:
    """Fill in the parameters of a path, and the required ones of its query; what is about one namespace is of acme."""
    path = template.replace("{name:path}", "app")
    filled = re.sub(r"\{(\w+)(?::\w+)?\}", lambda found: PATH.get(found[1], "1"), path)
    names = [field.encode_name for field in msgspec.structs.fields(query) if field.required]
    if "audit" in path:
        names = ["namespace"]
    return f"{filled}?{urlencode({name: QUERY.get(name, VALUES.get(name)) for name in names})}" if names else filled


def _calls() -> Iterator[Call]:
    for endpoint in API:
        path = _path(endpoint.path, endpoint.query)
        yield Call(endpoint.method, path, _body(endpoint.body) | MORE.get(path, {}), endpoint.action)


CALLS = tuple(_calls())


DENIED = {"anonymous": {401, 404}, "blocked owner": {401, 403, 404}}
"""Statuses of refusals: 401 or 404 without credentials, and 403 or 404 with credentials."""


@pytest.mark.parametrize("kind", KINDS)
def test_every_route_refuses_whom_the_table_does_not_allow(kind: str, roles_hub: RolesHub) -> None:
    """Reading is never refused to whom the table allows it.

    Changes that are allowed are not made here: they would change what the next request finds. Who may create
    repositories learns that a name is taken.
    """
    wrong = []
    denied = DENIED.get(kind, {403, 404}) | ({409} if KINDS[kind].allowed(HubAction.CREATE_REPOSITORY) else set())
    with roles_hub.client(kind) as client:
        for call in CALLS:
            allowed = KINDS[kind].allowed(call.action)
            if allowed and TABLE[call.action].changes:
                continue
            if call.path == "/api/v1/users/me/email/confirmation" and kind == "administrator":
                continue  # 403: the operator confirmed the address
            reply = client.request(call.method, call.path, json=call.body or None)
            status = reply.status_code
            # 502: there is no forge at the URL that is asked for.
            fine = status not in {401, 403} and (status < 500 or status == 502) if allowed else status in denied
            if not fine:
                wrong.append((call.method, call.path, call.action.value, status, reply.text[:120]))

    assert not wrong, "\n".join(map(str, wrong))


@pytest.mark.parametrize("kind", ["anonymous", "stranger", "invited", "curator"])
def test_what_is_hidden_looks_as_if_it_did_not_exist(kind: str, roles_hub: RolesHub) -> None:
    """Every route on a private repository answers whom it is hidden from as for a name that does not exist.

    Members may create repositories, and so learn that a name is taken; administrators learn how to open it.
    """
    differences = []
    with roles_hub.client(kind) as client:
        for call in CALLS:
            if "/acme/app" not in call.path or not isinstance(TABLE[call.action].needs, RepositoryRole):
                continue
            absent = call.path.replace("/acme/app", "/acme/absent")
            replies = [client.request(call.method, path, json=call.body or None) for path in (call.path, absent)]
            there, missing = ((reply.status_code, reply.text.replace("absent", "app")) for reply in replies)
            if there != missing:
                differences.append((call.method, call.path, there, missing))

    assert differences == []


def test_every_action_has_a_rule_and_a_use() -> None:
    """Each member of HubAction has a row in the table, and services ask for each row that does not allow anyone."""
    declaring = {"table.py", "routes"}
    sources = [path for path in (ROOT / "src").rglob("*.py") if not declaring.intersection(path.parts)]
    source = "\n".join(path.read_text() for path in sources)

    assert set(TABLE) == set(HubAction)
    unused = {action for action in HubAction if f"HubAction.{action.name}" not in source}
    assert unused <= {*OF_REGISTRY.values(), *(action for action in TABLE if TABLE[action].needs is Everyone.ANYONE)}
