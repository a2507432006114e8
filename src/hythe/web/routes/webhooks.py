"""Who is told of a repository's builds: addresses that get a webhook, what was sent there, and sending it again."""

from starlette.responses import Response

from hythe.hub.errors import Invalid, NotFound
from hythe.hub.repository import Repository
from hythe.notifications.errors import InvalidWebhook
from hythe.notifications.event import EventKind
from hythe.notifications.webhook import NewWebhook
from hythe.web.notices import Notice
from hythe.web.routes.build_configuration import managed_setup
from hythe.web.routes.form import Form, converted
from hythe.web.routes.page_request import PageRequest
from hythe.web.routes.repositories import repository_tabs
from hythe.web.templates import repository_address

SHOWN = 5
"""Deliveries of one address that the page shows."""

EVENTS = (
    (EventKind.SUCCESS.value, "Success", "Every build that ended well."),
    (EventKind.FAILURE.value, "Failure", ""),
    (EventKind.FIXED.value, "Fixed", "The first success after a failure."),
)


async def notices(visit: PageRequest) -> Response:
    """List who is told; add and remove an address, or send a delivery again."""
    found, _ = await managed_setup(visit)
    if visit.request.method != "POST":
        return await _page(visit, found, Form({"events": (EventKind.SUCCESS.value,)}))
    form = await visit.form()
    try:
        said = await _changed(visit, found.full_name, form)
    except Invalid as error:
        return await _page(visit, found, form.wrong(error.fields))
    except InvalidWebhook as error:
        return await _page(visit, found, form.wrong({"": str(error)}))
    return visit.redirect(f"{repository_address(found)}/-/webhooks", said)


async def _changed(visit: PageRequest, repository: str, form: Form) -> Notice:
    service = visit.site.notifications.webhooks
    match form["action"]:
        case "remove":
            await service.remove(visit.actor, repository, _number(form["notice"]))
        case "again":
            await service.redeliver(visit.actor, repository, form["delivery"][:36])
            return Notice.NOTICE_SENT_AGAIN
        case _:
            await service.add(visit.actor, repository, _new_notice(form))
    return Notice.BUILDS_SAVED


def _new_notice(form: Form) -> NewWebhook:
    texts = {"url": form["url"].strip(), "secret": form["secret"]}
    return converted({**texts, "events": form.all("events"), "chained": form["chained"] == "yes"}, NewWebhook)


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise NotFound("there is no such notice")
    return int(text)


async def _page(visit: PageRequest, found: Repository, form: Form) -> Response:
    service = visit.site.notifications.webhooks
    listed = await service.of_repository(visit.actor, found.full_name)
    sent = {each.id: await service.deliveries(visit.actor, found.full_name, each.id) for each in listed}
    return visit.page(
        "webhooks.html",
        422 if form.errors else 200,
        repository=found,
        form=form,
        notices=listed,
        sent={number: deliveries[:SHOWN] for number, deliveries in sent.items()},
        events=EVENTS,
        tabs=await repository_tabs(visit, found, f"{repository_address(found)}/-/builds"),
    )
