"""Every page, opened and submitted, refuses every kind of user that the table of actions does not allow."""

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

import httpx2
import msgspec
import pytest
from tests.unit.hub.routes.kinds import KINDS, Kind, RolesHub

from hythe.hub.access.actions import HubAction
from hythe.hub.access.table import TABLE
from hythe.hub.roles import RepositoryRole
from hythe.web.csrf import form_token
from hythe.web.routes.application import PAGES
from hythe.web.routes.errors import CSRF_FAILED

PATH = {
    "namespace": "acme",
    "repository": "acme/app",
    "reference": "acme/app",
    "organization": "acme",
    "tag": "latest",
    "team": "pushers",
    "member": "max",
    "collaborator": "rita",
    "robot": "ci",
    "rule": "1",
    "account": "ben",
    "username": "ben",
}
NAMED = ("/account/robots", "/account/trust-rules")
"""Pages of a namespace that the query names."""

FIELDS = {
    "namespace": "acme",
    "name": "other",
    "username": "zed",
    "invited": "zed",
    "user": "max",
    "repositories": "app",
    "rights": "repo:read",
    "visibility": "private",
    "issuer": "https://ci.example.com",
    "subject": "repo:acme/app:*",
    "lifetime_minutes": "15",
    "default_visibility": "private",
    "member_role": "none",
    "direction": "push",
    "destination": "{repository}",
    "url": "http://127.0.0.1:9/a.git",
    "source_type": "branch",
    "source": "main",
    "tags": "latest",
    "dockerfile": "Dockerfile",
    "context": "/",
    "to": "ben",
    "digest": f"sha256:{64 * '0'}",
    "patterns": "v*",
    "events": "push",
    "settings": msgspec.json.encode(
        {
            "provider": "github",
            "owner": "a",
            "repository": "b",
            "build_settings": [{"source_type": "Branch", "source_name": "main", "tag": "latest"}],
        }
    ).decode(),
}
"""A value for each field that a form requires; more fields than a form has are ignored."""

WITH_STATE = frozenset(
    {
        *("/sign-in/second-factor", "/sign-in/new-account", "/sign-in/with/1", "/sign-in/with/1/authorized"),
        *("/reset-password", "/confirm-email", "/confirm-email/undo"),
    }
)
"""Pages that only continue what the user began, or that a link in an e-mail opens: they lead to the sign-in page, or
refuse what is not begun, whatever the user's roles are.
"""


class Visit(NamedTuple):
    """A page that is opened, or a form that is submitted, and what that does."""

    method: str
    path: str
    fields: Mapping[str, str]
    action: HubAction

    @property
    def own(self) -> bool:
        """Whether it is about the user's own namespace: it names no other."""
        return "acme" not in (self.path + self.fields.get("namespace", ""))


def _visits() -> Iterator[Visit]:
    for page in PAGES:
        path = re.sub(r"\{(\w+)(?::\w+)?\}", lambda found: PATH.get(found[1], "1"), page.path)
        path += "?namespace=acme" if path.startswith(NAMED) else ""
        if page.get is not None:
            yield Visit("GET", path, {}, page.get)
        for value, action in page.submits.items():
            in_path = "/acme" in path or path.startswith("/account")
            fields = {name: text for name, text in FIELDS.items() if name != "namespace" or not in_path}
            named = {"name": "app"} if path.startswith("/new-build") else {}
            yield Visit("POST", path, fields | named | {"action": value or "x", "role": _role(path)}, action)


def _role(path: str) -> str:
    return "member" if "/people/" in path or path.endswith("/invitations") else "read"


VISITS = tuple(_visits())


def send(browser: httpx2.Client, visit: Visit) -> httpx2.Response:
    """Open a page, or submit a form with the CSRF token that the browser would send with it, which is accepted."""
    if visit.method == "GET":
        with browser.stream("GET", visit.path) as reply:
            if "text/event-stream" not in reply.headers.get("Content-Type", ""):
                reply.read()
            return reply
    secret = browser.cookies.get("hythe_visitor") or browser.cookies.get("hythe_session") or ""
    fields = {**visit.fields, "form_token": form_token(secret)}
    reply = browser.post(visit.path, data=fields)
    assert CSRF_FAILED not in reply.text, visit.path
    return reply


def refused(reply: httpx2.Response, who: Kind) -> bool:
    """Return whether the response is what a user gets who may not do it."""
    if not who.account:
        return reply.status_code == 404 or leads_to_sign_in(reply)
    return reply.status_code in {403, 404} | ({409} if who.allowed(HubAction.CREATE_REPOSITORY) else set())


def leads_to_sign_in(reply: httpx2.Response) -> bool:
    """Return whether the page redirects to the sign-in page."""
    return reply.status_code == 303 and urlsplit(reply.headers["Location"]).path == "/sign-in"


@pytest.mark.parametrize("kind", [name for name, kind in KINDS.items() if kind.browses])
def test_every_page_refuses_whom_the_table_does_not_allow(kind: str, roles_hub: RolesHub) -> None:
    """Pages that only show something are never refused to whom the table allows them.

    Changes that are allowed are not made here. The session of a blocked user has ended, so no user is signed in. Users
    who may create repositories learn that a name is taken.
    """
    browser, who = roles_hub.browsers[kind], KINDS["anonymous"] if KINDS[kind].blocked else KINDS[kind]
    wrong = []
    for visit in VISITS:
        allowed = who.allowed(visit.action, own=visit.own)
        if allowed and TABLE[visit.action].changes and visit.method == "POST":
            continue
        if visit.path in WITH_STATE:
            continue
        reply = send(browser, visit)
        if allowed:
            fine = reply.status_code not in {401, 403} and reply.status_code < 500 and not leads_to_sign_in(reply)
        else:
            fine = refused(reply, who)
        if not fine:
            wrong.append((*visit[:2], visit.fields.get("action"), visit.action.value, reply.status_code))

    assert not wrong, "\n".join(map(str, wrong))


@pytest.mark.parametrize("kind", ["anonymous", "stranger", "invited", "curator"])
def test_what_is_hidden_looks_as_if_it_did_not_exist(kind: str, roles_hub: RolesHub) -> None:
    """Users whom a private repository is hidden from get, for each of its pages, that of a name that does not exist."""
    browser, differences = roles_hub.browsers[kind], []
    for visit in VISITS:
        if "/acme/app" not in visit.path or not isinstance(TABLE[visit.action].needs, RepositoryRole):
            continue
        pages = [
            (reply.status_code, reply.headers.get("Location", ""), _text(reply))
            for reply in (send(browser, visit), send(browser, visit._replace(path=visit.path.replace("app", "absent"))))
        ]
        there, missing = (tuple(str(part).replace("absent", "app") for part in page) for page in pages)
        if there != missing:
            differences.append((*visit[:2], there, missing))

    assert differences == []


def _text(reply: httpx2.Response) -> str:
    """Return a page without the CSRF tokens."""
    return re.sub(r'name="form_token" value="\w+"', "", reply.text)
