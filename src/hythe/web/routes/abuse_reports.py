"""Reports of abuse: users report a repository on a form, and administrators close reports."""

from contextlib import suppress

from starlette.responses import Response

from hythe.hub.access.actions import HubAction
from hythe.hub.administration.abuse_reports import (
    MAX_TEXT,
    AbuseReport,
    Category,
    NewReport,
    ReportClosing,
    ReportState,
)
from hythe.hub.errors import Invalid
from hythe.web.flashes import Flash
from hythe.web.routes.admin_repositories import administered_address
from hythe.web.routes.administration import administration_page
from hythe.web.routes.form import Form, FormRejected, parse_form, prefilled, submitted
from hythe.web.routes.navigation import page_link, paging_of
from hythe.web.routes.page_request import PageRequest
from hythe.web.routes.page_route import PageRoute
from hythe.web.routes.repositories import repository_of, repository_tabs
from hythe.web.templates import repository_address

REPORTS = "/admin/reports"

CATEGORIES = (
    (Category.MALWARE.value, "Malware", "It attacks those who run it, or others."),
    (Category.SECRETS.value, "Secrets", "It contains passwords, keys or personal data."),
    (Category.COPYRIGHT.value, "Copyright", "Its owner may not distribute what it contains."),
    (Category.SPAM.value, "Spam", "It advertises, or pretends to be something else."),
    (Category.OTHER.value, "Other", ""),
)


async def report(page: PageRequest) -> Response:
    """Show the form, or report a repository."""
    found = await repository_of(page)
    form = Form()
    if page.request.method == "POST":
        form = await page.form()
        try:
            new = parse_form(form, NewReport, "category", "text")
            await submitted(form, page.site.hub.hub_administration.reports.report(page.actor, found.full_name, new))
        except Invalid as error:
            form = form.with_errors(error.fields)
        except FormRejected as rejected:
            form = rejected.form
        else:
            return page.redirect(repository_address(found), Flash.REPORTED)
    return page.render(
        "repository-report.html",
        422 if form.errors else 200,
        repository=found,
        form=form,
        categories=CATEGORIES,
        max_text=MAX_TEXT,
        tabs=await repository_tabs(page, found, ""),
    )


async def reports(page: PageRequest) -> Response:
    """List the reports in a state, newest first."""
    state = ReportState.OPEN
    with suppress(ValueError):
        state = ReportState(page.request.query_params.get("state", ""))
    return administration_page(
        page,
        "admin-reports.html",
        REPORTS,
        listing=await page.site.hub.hub_administration.reports.list(page.actor, state, paging_of(page)),
        state=state,
        states=[(each.value, each.value.capitalize()) for each in ReportState],
        page_link=page_link(REPORTS, state=state.value),
    )


async def close_report(page: PageRequest) -> Response:
    """Show a report, or close it."""
    service = page.site.hub.hub_administration.reports
    found = await service.get(page.actor, page.request.path_params["report"])
    if page.request.method != "POST":
        return _report_page(page, found, prefilled(outcome=ReportState.RESOLVED.value))
    form = await page.form()
    try:
        closing = parse_form(form, ReportClosing, "outcome", "note", "take_down")
        await submitted(form, service.close(page.actor, found.id, closing))
    except Invalid as error:
        return _report_page(page, found, form.with_errors(error.fields))
    except FormRejected as rejected:
        # The reason of a take-down has another name in this form.
        errors = {{"reason": "take_down"}.get(name, name): text for name, text in rejected.form.errors.items()}
        return _report_page(page, found, form.with_errors(errors))
    return page.redirect(REPORTS, Flash.REPORT_CLOSED)


def _report_page(page: PageRequest, found: AbuseReport, form: Form) -> Response:
    return administration_page(
        page,
        "admin-report.html",
        REPORTS,
        form,
        report=found,
        repository_link=administered_address(found.repository),
        max_text=MAX_TEXT,
    )


PAGES = (
    PageRoute(REPORTS, reports, get=HubAction.VIEW_REPORTS),
    PageRoute(f"{REPORTS}/{{report:int}}", close_report, get=HubAction.VIEW_REPORTS, post=HubAction.CLOSE_REPORT),
)
"""The pages of administrators; the form of users is among those of repositories."""
