"""The registry and the routes outside the JSON API refuse every kind of actor that the table does not allow."""

import re

import httpx2
import pytest
from tests.unit.hub.routes.kinds import KINDS, OF_SCOPES, REPOSITORY, RolesHub
from tests.unit.hub.routes.walked import MACHINES

from hythe.hub.access.actions import HubAction
from hythe.hub.access.route_rules import RouteRule
from hythe.hub.access.table import OF_REGISTRY
from hythe.registry.access import Action
from hythe.registry.routes.application import OPERATIONS
from hythe.registry.routes.routing import RegistryRoute

UNKNOWN = f"sha256:{64 * '0'}"

REGISTRY_PATHS = {
    RegistryRoute.BASE: "/v2/",
    RegistryRoute.CATALOG: "/v2/_catalog",
    RegistryRoute.TAGS: f"/v2/{REPOSITORY}/tags/list",
    RegistryRoute.REFERRERS: f"/v2/{REPOSITORY}/referrers/{UNKNOWN}",
    RegistryRoute.MANIFEST: f"/v2/{REPOSITORY}/manifests/{UNKNOWN}",
    RegistryRoute.BLOB: f"/v2/{REPOSITORY}/blobs/{UNKNOWN}",
    RegistryRoute.UPLOADS: f"/v2/{REPOSITORY}/blobs/uploads/",
    RegistryRoute.UPLOAD: f"/v2/{REPOSITORY}/blobs/uploads/0",
}
"""A path of each route. Nothing has the digest, and there is no such upload, so what is allowed changes nothing."""

PATH = {"namespace": "acme", "name": "app", "number": "1", "level": "0", "tile": "000"}


@pytest.mark.parametrize("kind", [name for name, kind in KINDS.items() if not kind.blocked])
def test_the_registry_refuses_whom_the_table_does_not_allow(kind: str, roles_hub: RolesHub) -> None:
    """With an access token for as much as the actor gets; what it may not is refused, and so it learns nothing."""
    who, wrong = KINDS[kind], []
    token = roles_hub.access_token(kind, who.scopes or tuple(OF_SCOPES))
    with httpx2.Client(
        base_url=roles_hub.server.url, timeout=60, headers={"Authorization": f"Bearer {token}"}
    ) as client:
        for route, operations in OPERATIONS.items():
            for method, operation in operations.items():
                action = HubAction.BROWSE if operation.action is None else OF_REGISTRY[operation.action]
                query = {"digest": UNKNOWN} if method == "PUT" else None
                reply = client.request(method, REGISTRY_PATHS[route], params=query)
                if (reply.status_code in {401, 403}) is who.allowed(action) or reply.status_code >= 500:
                    wrong.append((method, REGISTRY_PATHS[route], reply.status_code, reply.text[:120]))

    assert wrong == []


@pytest.mark.parametrize("kind", [name for name, kind in KINDS.items() if not kind.blocked])
def test_the_token_server_grants_what_the_table_allows(kind: str, roles_hub: RolesHub) -> None:
    """Of pull, push and delete, an access token contains those that the actor may, and no others."""
    who = KINDS[kind]
    query = {"service": roles_hub.server.host, "scope": f"repository:{REPOSITORY}:{','.join(OF_SCOPES)}"}
    granted = httpx2.get(f"{roles_hub.server.url}/token", params=query, auth=roles_hub.credentials(kind)).json()
    may = {each.value for each in Action if KINDS[kind]._replace(scopes=None).allowed(OF_REGISTRY[each])}

    if who.scopes is None:
        assert set(filter(None, granted["scope"].rpartition(":")[2].split(","))) == may


def test_a_blocked_account_gets_no_token(roles_hub: RolesHub) -> None:
    """Neither does its password open the registry."""
    reply = httpx2.get(f"{roles_hub.server.url}/token", auth=roles_hub.credentials("blocked owner"))

    assert reply.status_code in {401, 403}


@pytest.mark.parametrize("kind", [name for name, kind in KINDS.items() if not kind.blocked])
def test_machines_are_let_in_by_their_own_credentials_alone(kind: str, roles_hub: RolesHub) -> None:
    """No role opens the routes of workers, forges and receivers of webhooks; public routes are open to all."""
    wrong = []
    with roles_hub.client(kind) as client:
        for method, template, declared in MACHINES:
            path = re.sub(r"\{(\w+)(?::\w+)?\}", lambda found: PATH.get(found[1], "1"), template)
            if path in ("/v1/users/", "/token") or path.startswith("/badge/"):
                continue  # tested below, and in test_token_server.py and test_index_v1.py
            reply = client.request(method, path, json={"state": "success"} if method == "POST" else None)
            opens = declared is RouteRule.PUBLIC or (isinstance(declared, HubAction) and KINDS[kind].allowed(declared))
            # There is neither a build nor a full tile.
            fine = reply.status_code < 500 and reply.status_code not in {401, 403}
            if not (fine if opens else reply.status_code in {401, 403, 404}):
                wrong.append((method, path, declared, reply.status_code, reply.text[:120]))

    assert wrong == []


@pytest.mark.parametrize("kind", ["anonymous", "stranger", "invited", "curator"])
def test_badges_reveal_nothing(kind: str, roles_hub: RolesHub) -> None:
    """The badge of a private repository is that of a name that does not exist."""
    with roles_hub.client(kind) as client:
        there, missing = (client.get(f"/badge/acme/{name}.svg") for name in ("app", "absent"))

    assert (there.status_code, there.text) == (missing.status_code, missing.text)
