"""The audit log of the whole hub, for administrators: filtered, page by page, and as JSON lines."""

from urllib.parse import urlencode

from starlette.responses import Response

from hythe.hub.access.actions import HubAction
from hythe.hub.errors import Invalid
from hythe.hub.routes.audit import json_lines
from hythe.web.routes.administration import administration_page
from hythe.web.routes.audit import ACTIONS, filters_of, form_of, query_of
from hythe.web.routes.navigation import page_link, paging_of
from hythe.web.routes.page_request import PageRequest
from hythe.web.routes.page_route import PageRoute

AUDIT = "/admin/audit"


async def hub_audit(page: PageRequest) -> Response:
    """Show the entries of the hub, or of a namespace."""
    form = form_of(page, "namespace")
    listing = None
    try:
        filters = filters_of(form, form["namespace"])
        listing = await page.site.hub.audit_log.entries(page.actor, filters, paging_of(page))
    except Invalid as error:
        form = form.with_errors(error.fields)
    return administration_page(
        page,
        "admin-audit.html",
        AUDIT,
        form,
        listing=listing,
        actions=ACTIONS,
        address=AUDIT,
        page_link=page_link(AUDIT, **query_of(form)),
        export=f"{AUDIT}/export?{urlencode(query_of(form))}",
    )


async def export_hub_audit(page: PageRequest) -> Response:
    """Send the entries as a file of JSON lines."""
    form = form_of(page, "namespace")
    return await json_lines(page.site.hub, page.actor, filters_of(form, form["namespace"]))


PAGES = (
    PageRoute(AUDIT, hub_audit, get=HubAction.VIEW_AUDIT_LOG),
    PageRoute(f"{AUDIT}/export", export_hub_audit, get=HubAction.VIEW_AUDIT_LOG),
)
