"""Makes the hub on which every kind of actor has its roles."""

from collections.abc import Callable
from typing import Any

import httpx2
from tests.parts.hub import HytheServer
from tests.unit.hub.routes.kinds import KINDS, REPOSITORY, ROBOT_RIGHTS, RolesHub
from tests.unit.hub.routes.people import PASSWORD

from hythe.oci.manifest import OCI_INDEX

EMPTY_INDEX = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}

Request = Callable[..., Any]


def make_roles_hub(server: HytheServer) -> RolesHub:
    """Give every kind of actor its roles on a hub that has the accounts ``curator`` (an administrator), Ann and Ben.

    The repository has a tag and a collaborator's invitation; the organization a team, robots, a trust rule and an
    invitation.
    """
    clients: dict[str, httpx2.Client] = {}

    def call(account: str, method: str, path: str, **body: Any) -> Any:
        client = clients.setdefault(account, httpx2.Client(base_url=server.url, timeout=30))
        client.auth = (account, PASSWORD) if account else None
        reply = client.request(method, f"/api/v1{path}", json=body or None)
        assert reply.status_code < 300, (path, reply.text)
        return reply.json() if reply.content else None

    people = sorted({kind.account for kind in KINDS.values() if kind.account and not kind.robot})
    for name in set(people) - {"ann", "ben", "curator"}:
        call("", "POST", "/users", username=name, email=f"{name}@example.com", password=PASSWORD)
    _organization(call)
    _repository(call)
    call("curator", "PATCH", "/admin/accounts/cora/roles", curator=True)
    call("curator", "POST", "/admin/replications", name="1", direction="push", url="http://127.0.0.1:9", interval=0)
    token = call("ann", "POST", "/tokens", name="pull", rights=["repo:read"])["token"]
    robots = {
        name: call("ann", "POST", "/namespaces/acme/robots", name=name, rights=sorted(rights))["token"]
        for name, rights in (("ci", {each.value for each in ROBOT_RIGHTS}), ("reader", {"repo:read"}))
    }
    secrets = {
        name: robots[kind.account.partition("+")[2]]
        if kind.robot
        else token
        if name == "owner's pull token"
        else PASSWORD
        for name, kind in KINDS.items()
    }
    browsers = {name: _browser(server, kind.account) for name, kind in KINDS.items() if kind.browses}
    call("curator", "POST", "/users/bob/block", reason="spam")
    browsers["blocked owner"].get("/sign-in")  # for another CSRF token: the session has ended
    for client in clients.values():
        client.close()
    made = RolesHub(server, secrets, browsers)
    _push(made)
    return made


def _organization(call: Request) -> None:
    call("ann", "POST", "/organizations", name="acme")
    call("ann", "PATCH", "/organizations/acme", member_role="none")
    for name, role in (("max", "member"), ("tim", "member"), ("bob", "owner"), ("ivy", "member")):
        call("ann", "POST", "/organizations/acme/invitations", username=name, role=role)
    for name in ("max", "tim", "bob"):
        _accept(call, name)
    call("ann", "POST", "/organizations/acme/teams", name="pushers")
    call("ann", "PUT", "/organizations/acme/teams/pushers/members/tim")
    rule = {"name": "deploy", "issuer": "https://ci.example.com", "subject": "repo:acme/app:*", "rights": ["repo:read"]}
    call("ann", "POST", "/namespaces/acme/trust-rules", **rule)


def _repository(call: Request) -> None:
    call("ann", "POST", "/repositories", namespace="acme", name="app", visibility="private")
    for name, role in (("rita", "read"), ("will", "write"), ("ada", "admin"), ("ivy", "admin")):
        call("ann", "POST", f"/repositories/{REPOSITORY}/collaborators", username=name, role=role)
    for name in ("rita", "will", "ada"):
        _accept(call, name)
    call("ann", "PUT", "/organizations/acme/teams/pushers/grants", repositories="app", role="write")


def _accept(call: Request, name: str) -> None:
    (invitation,) = call(name, "GET", "/invitations")["items"]
    call(name, "POST", f"/invitations/{invitation['id']}/accept")


def _browser(server: HytheServer, account: str) -> httpx2.Client:
    """Return a browser in which the user is signed in; ``account`` empty: as no user."""
    browser = httpx2.Client(base_url=server.url, timeout=30)
    page = browser.get("/sign-in").text
    token = page.partition('name="form_token" value="')[2].partition('"')[0]
    if account:
        fields = {"username": account, "password": PASSWORD, "form_token": token}
        reply = browser.post("/sign-in", data=fields)
        assert reply.status_code == 303, reply.text
    return browser


def _push(hub: RolesHub) -> None:
    headers = {
        "Authorization": f"Bearer {hub.access_token('owner', ('pull', 'push'))}",
        "Content-Type": OCI_INDEX,
    }
    reply = httpx2.put(f"{hub.server.url}/v2/{REPOSITORY}/manifests/latest", json=EMPTY_INDEX, headers=headers)
    assert reply.status_code == 201, reply.text
