"""The webhooks of a repository: list, add, delete, and redeliver."""

from starlette.responses import Response

from hythe.hub.errors import Invalid, NotFound
from hythe.hub.repositories.repository import Repository
from hythe.notifications.errors import InvalidWebhook
from hythe.notifications.event import EventKind
from hythe.notifications.webhook import NewWebhook
from hythe.web.flashes import Flash
from hythe.web.routes.build_configuration import managed_configuration
from hythe.web.routes.form import Form, parse_values, row_id
from hythe.web.routes.page_request import PageRequest
from hythe.web.routes.repositories import repository_tabs
from hythe.web.templates import repository_address

SHOWN_DELIVERIES = 5
"""Deliveries shown per webhook."""

EVENTS = (
    (EventKind.SUCCESS.value, "Success", "A build succeeded."),
    (EventKind.FAILURE.value, "Failure", "A build failed."),
    (EventKind.FIXED.value, "Fixed", "A build succeeded after one that failed."),
)


async def webhooks(page: PageRequest) -> Response:
    """List the webhooks; add or delete one, or redeliver."""
    repository, _ = await managed_configuration(page)
    if page.request.method != "POST":
        return await _render(page, repository, Form({"events": (EventKind.SUCCESS.value,)}))
    form = await page.form()
    try:
        flash = await _apply(page, repository.full_name, form)
    except Invalid as error:
        return await _render(page, repository, form.with_errors(error.fields))
    except InvalidWebhook as error:
        return await _render(page, repository, form.with_errors({"": str(error)}))
    return page.redirect(f"{repository_address(repository)}/-/webhooks", flash)


async def _apply(page: PageRequest, repository: str, form: Form) -> Flash:
    service = page.site.notifications.webhooks
    match form["action"]:
        case "remove":
            await service.remove(page.actor, repository, _number(form["webhook"]))
            return Flash.WEBHOOK_DELETED
        case "redeliver":
            await service.redeliver(page.actor, repository, form["delivery"][:36])
            return Flash.WEBHOOK_RESENT
        case _:
            await service.add(page.actor, repository, _new_webhook(form))
            return Flash.WEBHOOK_ADDED


def _new_webhook(form: Form) -> NewWebhook:
    texts = {"url": form["url"].strip(), "secret": form["secret"]}
    return parse_values({**texts, "events": form.all("events"), "chained": form["chained"] == "yes"}, NewWebhook)


def _number(text: str) -> int:
    number = row_id(text)
    if number is None:
        raise NotFound("webhook not found")
    return number


async def _render(page: PageRequest, repository: Repository, form: Form) -> Response:
    service = page.site.notifications.webhooks
    webhooks = await service.of_repository(page.actor, repository.full_name)
    deliveries = {each.id: await service.deliveries(page.actor, repository.full_name, each.id) for each in webhooks}
    return page.render(
        "webhooks.html",
        422 if form.errors else 200,
        repository=repository,
        form=form,
        webhooks=webhooks,
        deliveries={number: latest[:SHOWN_DELIVERIES] for number, latest in deliveries.items()},
        events=EVENTS,
        tabs=await repository_tabs(page, repository, f"{repository_address(repository)}/-/builds"),
    )
