"""The audit log of a namespace: filtered, page by page, and as JSON lines."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from urllib.parse import quote, urlencode

from starlette.responses import Response

from hythe.hub.access.actions import HubAction
from hythe.hub.access.table import TABLE
from hythe.hub.errors import Invalid
from hythe.hub.logs.audit_log import AuditFilter
from hythe.hub.routes.audit import json_lines
from hythe.web.routes.account import account_tabs
from hythe.web.routes.form import Form, prefilled
from hythe.web.routes.navigation import page_link, paging_of
from hythe.web.routes.organizations import organization_name, organization_tabs
from hythe.web.routes.page_request import PageRequest

OWN = "/account/audit"

FIELDS = ("action", "actor", "repository", "since", "until")
"""The filters of the form, by which the query calls them."""

ACTIONS = tuple(
    (action.value, action.value) for action in sorted(TABLE, key=lambda each: each.value) if TABLE[action].changes
)
"""The actions to choose from: those that leave an entry."""


async def audit(page: PageRequest) -> Response:
    """Show the entries of a namespace, for its owners."""
    name, address = await _account(page)
    form = form_of(page)
    listing = None
    try:
        filters = filters_of(form, name)
        listing = await page.site.hub.audit_log.entries(page.actor, filters, paging_of(page))
    except Invalid as error:
        form = form.with_errors(error.fields)
    shown = {
        "form": form,
        "actions": ACTIONS,
        "listing": listing,
        "address": address,
        "page_link": page_link(address, **query_of(form)),
        "export": f"{address}/export?{urlencode(query_of(form))}",
    }
    status = 422 if form.errors else 200
    if name == page.name:
        return page.render("account-audit.html", status, **shown, tabs=account_tabs(OWN))
    tabs = await organization_tabs(page, name, "/-/audit")
    return page.render("organization-audit.html", status, **shown, namespace=name, tabs=tabs)


async def export(page: PageRequest) -> Response:
    """Send the entries of a namespace as a file of JSON lines, for its owners."""
    name, _ = await _account(page)
    return await json_lines(page.site.hub, page.actor, filters_of(form_of(page), name))


async def _account(page: PageRequest) -> tuple[str, str]:
    """Return the account that the page is about, the user's own or the one in the address, and the page's path."""
    if "namespace" not in page.request.path_params:
        return page.name, OWN
    name = organization_name(page)
    if name != page.name:
        await page.site.hub.access.require_organization(page.actor, name, HubAction.VIEW_NAMESPACE_AUDIT_LOG)
    return name, f"/{quote(name)}/-/audit"


def form_of(page: PageRequest, *more: str) -> Form:
    """Return the filters in the query, and other fields."""
    query = page.request.query_params
    return prefilled(**{name: query.get(name, "").strip()[:300] for name in (*FIELDS, *more)})


def query_of(form: Form) -> Mapping[str, str]:
    """Return the filters as a query."""
    return {name: form[name] for name in form.fields if form[name]}


def filters_of(form: Form, namespace: str) -> AuditFilter:
    """Return the filters of a form; both days are included, in UTC. Raises Invalid.

    A repository without a namespace is one of ``namespace``.
    """
    errors, days = {}, {}
    for name in ("since", "until"):
        try:
            days[name] = date.fromisoformat(form[name]) if form[name] else None
        except ValueError:
            errors[name] = "must be a day such as 2026-11-30"
    if errors:
        raise Invalid(errors)
    repository = form["repository"]
    if repository and namespace and "/" not in repository:
        repository = f"{namespace}/{repository}"
    until = days["until"]
    return AuditFilter(
        namespace=namespace,
        repository=repository,
        actor=form["actor"],
        action=form["action"],
        since=_midnight(days["since"]),
        until=_midnight(until + timedelta(days=1) if until is not None and until < date.max else None),
    )


def _midnight(day: date | None) -> datetime | None:
    return datetime.combine(day, time(), UTC) if day is not None else None
