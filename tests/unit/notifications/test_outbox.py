"""The outbox, on each database: who gets a delivery of an event, and in which order."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.parts.database import Run

from hythe.database import Database
from hythe.database.port import insert
from hythe.database.tables.hub import hub_repositories, namespaces
from hythe.hub.actor import HubActor
from hythe.notifications.event import EventKind, NotificationEvent
from hythe.notifications.outbox import Outbox
from hythe.notifications.registry_listener import NotificationRegistryListener
from hythe.notifications.sql import webhooks as rows
from hythe.notifications.webhook import NewWebhook, WebhookDelivery
from hythe.oci.digest import Digest
from hythe.registry.events import TagMove
from hythe.registry.sql import repositories as repository_rows
from hythe.worker.layer_tags import layer_tag

NOW = datetime.now(UTC)
DIGEST = Digest.of(b"image")
HUB_URL = "https://hub.example"


async def add_repository(database: Database, *webhooks: NewWebhook) -> int:
    """Create alice/app with these webhooks, return its id."""
    async with database.writing() as session:
        namespace = await session.row(
            insert(session, namespaces).values(name="alice", kind="user").returning(namespaces.c.id)
        )
        await repository_rows.create(session, "alice/app", NOW)
        repository = await repository_rows.find(session, "alice/app")
        assert namespace is not None
        assert repository is not None
        values = {"repository_id": repository.id, "namespace_id": namespace.id, "name": "app", "visibility": "public"}
        values |= {"official": False, "listed": True, "description": "", "full_description": "", "stars": 0, "pulls": 0}
        await session.run(insert(session, hub_repositories).values(values | {"created_at": NOW, "updated_at": NOW}))
        for webhook in webhooks:
            await rows.add(session, repository.id, webhook, "", NOW)
    return repository.id


async def deliveries(database: Database) -> list[WebhookDelivery]:
    """All deliveries, in the order of their webhooks."""
    async with database.reading() as session:
        repository = await repository_rows.find(session, "alice/app")
        assert repository is not None
        webhooks = await rows.of_repository(session, repository.id)
        return [each for webhook in webhooks for each in await rows.deliveries(session, webhook.id)]


def webhook(url: str, *events: EventKind, chained: bool = False) -> NewWebhook:
    """A webhook for these events."""
    return NewWebhook(url=url, events=events, chained=chained)


def test_a_push_is_delivered_to_its_subscribers(database: Database, run: Run[Any]) -> None:
    """Each pushed tag causes one delivery in Docker Hub's form; deleted tags and shared layers cause none."""

    async def push() -> list[WebhookDelivery]:
        await add_repository(
            database,
            webhook("https://one.example", EventKind.PUSH),
            webhook("https://two.example", EventKind.SUCCESS),
        )
        listener = NotificationRegistryListener(Outbox(HUB_URL))
        layers = layer_tag("main", "", "Dockerfile", "", {}, "linux/amd64")
        moves = (
            TagMove("latest", DIGEST, None, NOW),
            TagMove("old", None, DIGEST, NOW),
            TagMove(layers, DIGEST, None, NOW),
        )
        async with database.writing() as session:
            repository = await repository_rows.find(session, "alice/app")
            assert repository is not None
            await listener.tags_moved(session, repository, moves, HubActor("alice"))
        return await deliveries(database)

    [delivery] = run(push())

    body = json.loads(delivery.body)
    assert delivery.event is EventKind.PUSH
    assert (body["push_data"]["tag"], body["push_data"]["pusher"]) == ("latest", "alice")
    assert body["repository"]["repo_url"] == f"{HUB_URL}/alice/app"
    assert "build" not in body


@pytest.mark.parametrize(("mail", "receivers"), [(False, 1), (True, 2)])
def test_e_mail_is_sent_only_on_request(database: Database, run: Run[Any], mail: bool, receivers: int) -> None:
    """E-mail addresses get a delivery only if the event asks for e-mail."""

    async def fail() -> list[WebhookDelivery]:
        failure = EventKind.FAILURE
        repository_id = await add_repository(
            database, webhook("mailto:alice@example.com", failure), webhook("https://one.example", failure)
        )
        event = NotificationEvent(kinds=(failure,), repository_id=repository_id, at=NOW, pusher="alice")
        async with database.writing() as session:
            await Outbox(HUB_URL).add(session, event, mail=mail)
        return await deliveries(database)

    assert len(run(fail())) == receivers


def test_chained_deliveries_wait_for_the_one_before(database: Database, run: Run[Any]) -> None:
    """The first delivery of a chain is due, the next one follows it, and deliveries of other events do not count."""

    async def succeed() -> tuple[list[bool], list[str | None]]:
        success = EventKind.SUCCESS
        repository_id = await add_repository(
            database, *(webhook(f"https://{name}.example", success, chained=True) for name in ("one", "two", "three"))
        )
        event = NotificationEvent(kinds=(success,), repository_id=repository_id, at=NOW, pusher="alice")
        outbox = Outbox(HUB_URL)
        async with database.writing() as session:
            await outbox.add(session, event)
        first = await deliveries(database)
        async with database.writing() as session:
            await outbox.add(session, event)
            following = [await rows.next_in_chain(session, each) for each in first]
        return [each.due_at is not None for each in first], [each.event_id if each else None for each in following]

    due, following = run(succeed())

    assert due == [True, False, False]
    assert following[0] == following[1] != following[2]
    assert following[2] is None


def test_a_delivery_is_claimed_once(database: Database, run: Run[Any]) -> None:
    """Of two servers that claim the same delivery, one gets it, and it is due again only after its outcome."""

    async def claim() -> tuple[list[bool], int, int]:
        success = EventKind.SUCCESS
        repository_id = await add_repository(database, webhook("https://one.example", success))
        event = NotificationEvent(kinds=(success,), repository_id=repository_id, at=NOW, pusher="alice")
        later = datetime.now(UTC) + timedelta(minutes=1)
        async with database.writing() as session:
            await Outbox(HUB_URL).add(session, event)
        async with database.writing() as session:
            [delivery] = await rows.due(session, later, 10)
            claims = [await rows.claim(session, delivery, later + timedelta(minutes=1)) for _ in range(2)]
            claimed = len(await rows.due(session, later, 10))
            await rows.set_outcome(session, delivery.id, 1, 503, "503", later)
            return claims, claimed, len(await rows.due(session, later, 10))

    assert run(claim()) == ([True, False], 0, 1)
