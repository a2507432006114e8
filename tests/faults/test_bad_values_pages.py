"""Invalid values in every page: its path, its parameters, and each field of its forms."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from html import unescape
from typing import NamedTuple
from urllib.parse import urlencode

import httpx2
from tests.faults.bad_values import PASSWORD, WORST, Tried, filled, is_page, paths, queries, tried, whole

from hythe.web.routes.application import PAGES

__all__ = ["tried", "whole"]

PARAMETERS: dict[str, tuple[str, ...]] = {
    "/search": ("q", "page", "cursor"),
    "/sign-in": ("next",),
    "/sign-up": ("next",),
    "/sign-in/second-factor": ("next",),
    "/sign-in/with/{provider}": ("next",),
    "/sign-in/with/{provider}/authorized": ("code", "state", "error"),
    "/reset-password": ("token",),
    "/confirm-email": ("token",),
    "/confirm-email/undo": ("token",),
    "/invitations/link": ("token",),
    "/account/confirm": ("next",),
    "/account/audit": ("action", "actor", "since", "until", "cursor"),
    "/account/audit/export": ("action", "actor", "since", "until"),
    "/account/robots": ("namespace",),
    "/account/trust-rules": ("namespace",),
    "/account/organizations": ("page", "cursor"),
    "/account/linked-accounts/begin": ("url", "private"),
    "/account/linked-accounts/authorized": ("code", "state", "error"),
    "/new": ("namespace",),
    "/new-build/rules": ("linked_account", "repository", "url"),
    "/new-build/{linked_account:int}": ("q",),
    "/admin/accounts": ("q", "kind", "page", "cursor"),
    "/admin/repositories": ("q", "show", "page", "cursor"),
    "/admin/reports": ("state", "page", "cursor"),
    "/admin/mail": ("page", "cursor"),
    "/admin/audit": ("namespace", "action", "actor", "since", "until", "cursor"),
    "/admin/audit/export": ("namespace", "action", "actor", "since", "until"),
    "/{namespace}": ("page", "cursor"),
    "/{namespace}/-/audit": ("action", "actor", "since", "until", "cursor"),
    "/{namespace}/-/audit/export": ("action", "actor", "since", "until"),
    "/{namespace}/-/people": ("page", "cursor"),
    "/{namespace}/-/teams": ("page", "cursor"),
    "/{namespace}/-/teams/{team}": ("page", "cursor", "grants"),
    "/{repository:path}/-/tags": ("q", "page", "cursor"),
    "/{repository:path}/-/builds": ("before", "status", "source_name"),
    "/{repository:path}/-/builds/{number:int}/log": ("start",),
}
"""The query parameters of pages."""

ENDING = ("delete", "remove", "unlink", "leave", "end", "end-others", "sign-out", "deactivate", "block", "take-down")
"""What a form ends, by the last part of its address or by its action: it is sent without its CSRF token."""


class Form(NamedTuple):
    """A form of a page: where it is sent, and the values of its fields."""

    address: str
    fields: tuple[tuple[str, str], ...]
    actions: tuple[str, ...]


def test_pages(tried: Tried) -> None:
    """Every page that Ann, an administrator, can open, and every form on it."""
    browser = httpx2.Client(base_url=tried.server.url, timeout=60)
    sign_in = browser.get("/sign-in").text
    fields = {"username": "ann", "password": PASSWORD, "form_token": _form_token(sign_in)}
    assert browser.post("/sign-in", data=fields).status_code == 303
    as_ann = Tried(tried.server, browser, failures=tried.failures)
    assert PARAMETERS.keys() <= {route.path for route in PAGES}
    forms: dict[Form, None] = {}
    for route in PAGES:
        if route.path.endswith("/events"):
            continue
        for method, bad in itertools.product(route.actions, paths(route.path)):
            as_ann.send(method, bad, is_page)
        for query in queries(PARAMETERS.get(route.path, ())):
            as_ann.send("GET", f"{filled(route.path)}?{query}", is_page)
        if "GET" in route.actions and route.path not in ("/sign-out", "/sign-in"):
            forms |= dict.fromkeys(_forms(filled(route.path), browser.get(filled(route.path)).text))
    assert len(forms) > 50
    token = _form_token(browser.get("/new").text)
    for form in forms:
        _send(as_ann, form, token)
    assert browser.get("/account").status_code == 200


def _forms(address: str, page: str) -> Iterator[Form]:
    """Yield the forms of a page that change something."""
    for opening, content in re.findall(r"<form([^>]*)>(.*?)</form>", page, re.DOTALL):
        if 'method="post"' not in opening:
            continue
        action = re.search(r' action="([^"]*)"', opening)
        values = dict(re.findall(r'<input[^>]* name="(\w+)"[^>]* value="([^"]*)"', content))
        names = dict.fromkeys(re.findall(r'<(?:input|textarea|select)[^>]* name="(\w+)"', content))
        names.pop("form_token", None)
        fields = tuple((name, unescape(values.get(name, "x"))) for name in names)
        actions = tuple(re.findall(r'name="action" value="(\w[\w -]*)"', content)) or ("",)
        yield Form(unescape(action[1]) if action and action[1] else address, fields, actions)


def _send(as_ann: Tried, form: Form, token: str) -> None:
    """Send a form with an invalid value in each field in turn."""
    for action, (name, _), bad in itertools.product(form.actions, form.fields, (*WORST, "%FF")):
        ending = {form.address.partition("?")[0].rpartition("/")[2], action} & set(ENDING)
        others = {key: value for key, value in form.fields if key != name}
        content = urlencode({**others, "form_token": "none" if ending else token, "action": action})
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        as_ann.send("POST", form.address, is_page, content=f"{content}&{name}={bad}", headers=headers)


def _form_token(page: str) -> str:
    found = re.search(r'name="form_token" value="([^"]+)"', page)
    return found[1] if found else ""
