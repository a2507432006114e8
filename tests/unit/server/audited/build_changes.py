"""Changes of Trusted Builds, linked accounts and webhooks."""

from datetime import UTC, datetime
from urllib.parse import parse_qs, urlsplit

from tests.unit.server.audited.world import PARTY, Steps, World, change

from hythe.builds.configuration import BuildSource, ConfigurationChanges, NewBuildConfiguration
from hythe.hub.access.actions import HubAction
from hythe.hub.repositories.repositories import NewRepository
from hythe.notifications.event import EventKind
from hythe.notifications.sql import webhooks as webhook_rows
from hythe.notifications.webhook import NewWebhook, WebhookDelivery

CONFIGURED = "ann/built"


@change("builds.configurations.create", HubAction.CONFIGURE_BUILDS, CONFIGURED, namespace="ann")
async def create_configuration(world: World) -> Steps:
    await world.hub.repositories.create(world.ann, NewRepository("ann", "built"))
    new = NewBuildConfiguration(source=BuildSource(url="https://git.example.com/a/b", default_branch="main"))
    yield
    await world.services.builds.configurations.create(world.ann, CONFIGURED, new)


@change("builds.configurations.change", HubAction.CONFIGURE_BUILDS, CONFIGURED, namespace="ann")
async def change_configuration(world: World) -> Steps:
    await world.configured()
    yield
    await world.services.builds.configurations.change(world.ann, CONFIGURED, ConfigurationChanges(active=False))


@change("builds.configurations.remove", HubAction.CONFIGURE_BUILDS, CONFIGURED, namespace="ann")
async def remove_configuration(world: World) -> Steps:
    await world.configured()
    yield
    await world.services.builds.configurations.remove(world.ann, CONFIGURED)


@change("builds.configurations.set_secret", HubAction.CONFIGURE_BUILDS, CONFIGURED, namespace="ann")
async def set_secret(world: World) -> Steps:
    await world.configured()
    yield
    await world.services.builds.configurations.set_secret(world.ann, CONFIGURED, "KEY", "value")


@change("builds.configurations.remove_secret", HubAction.CONFIGURE_BUILDS, CONFIGURED, namespace="ann")
async def remove_secret(world: World) -> Steps:
    await world.configured()
    await world.services.builds.configurations.set_secret(world.ann, CONFIGURED, "KEY", "value")
    yield
    await world.services.builds.configurations.remove_secret(world.ann, CONFIGURED, "KEY")


@change("builds.builds.start", HubAction.START_BUILD, f"{CONFIGURED}#1", namespace="ann")
async def start_build(world: World) -> Steps:
    await world.configured()
    yield
    await world.services.builds.builds.start(world.ann, CONFIGURED)


@change("builds.builds.cancel", HubAction.CANCEL_BUILD, f"{CONFIGURED}#1", namespace="ann")
async def cancel_build(world: World) -> Steps:
    build = await world.build()
    yield
    await world.services.builds.builds.cancel(world.ann, CONFIGURED, build.number)


@change("builds.builds.retry", HubAction.START_BUILD, f"{CONFIGURED}#2", namespace="ann")
async def retry_build(world: World) -> Steps:
    build = await world.build()
    await world.services.builds.builds.cancel(world.ann, CONFIGURED, build.number)
    yield
    await world.services.builds.builds.retry(world.ann, CONFIGURED, build.number)


@change("builds.builds.trigger_token", HubAction.CONFIGURE_BUILDS, CONFIGURED, namespace="ann")
async def rotate_trigger_token(world: World) -> Steps:
    await world.configured()
    yield
    await world.services.builds.builds.trigger_token(world.ann, CONFIGURED, rotate=True)


@change(
    "builds.queue_administration.cancel", HubAction.CANCEL_QUEUED_BUILD, f"{CONFIGURED}#1", namespace="ann", by="max"
)
async def cancel_queued_build(world: World) -> Steps:
    build = await world.build()
    yield
    await world.services.builds.queue_administration.cancel(world.max, build.id)


@change("forges.linked_accounts.add_token", HubAction.LINK_ACCOUNT, "ann", namespace="ann")
async def link_account_by_token(world: World) -> Steps:
    yield
    await world.services.forges.linked_accounts.add_token(world.ann, world.forge.url, world.forge.token())


@change("forges.linked_accounts.complete_authorization", HubAction.LINK_ACCOUNT, "ann", namespace="ann")
async def link_account(world: World) -> Steps:
    accounts = world.services.forges.linked_accounts
    url = accounts.authorization_url(world.ann, world.forge.url, PARTY.origin, private=True)
    world.forge.redirect_uris.update(parse_qs(urlsplit(url).query)["redirect_uri"])
    approved = parse_qs(urlsplit(world.forge.approve(url)).query)
    yield
    await accounts.complete_authorization(world.ann, PARTY.origin, approved["state"][0], approved["code"][0])


@change("forges.webhooks.unlink", HubAction.UNLINK_ACCOUNT, "ann", namespace="ann")
async def unlink_account(world: World) -> Steps:
    linked = await world.services.forges.linked_accounts.add_token(world.ann, world.forge.url, world.forge.token())
    yield
    await world.services.forges.webhooks.unlink(world.ann, linked.id)


@change("forges.linked_accounts.delete", HubAction.UNLINK_ACCOUNT, "ann", namespace="ann")
async def delete_linked_account(world: World) -> Steps:
    linked = await world.services.forges.linked_accounts.add_token(world.ann, world.forge.url, world.forge.token())
    yield
    await world.services.forges.linked_accounts.delete(linked, world.ann)


@change("forges.webhooks.install", HubAction.CONFIGURE_BUILDS, CONFIGURED, namespace="ann")
async def install_webhook(world: World) -> Steps:
    await world.configured()
    yield
    await world.services.forges.webhooks.install(world.ann, CONFIGURED, PARTY.origin)


@change("forges.webhooks.remove", HubAction.CONFIGURE_BUILDS, CONFIGURED, namespace="ann")
async def remove_webhook_of_forge(world: World) -> Steps:
    await world.configured()
    await world.services.forges.webhooks.install(world.ann, CONFIGURED, PARTY.origin)
    yield
    await world.services.forges.webhooks.remove(world.ann, CONFIGURED)


@change("forges.webhooks.delete_configuration", HubAction.CONFIGURE_BUILDS, CONFIGURED, namespace="ann")
async def delete_configuration(world: World) -> Steps:
    await world.configured()
    yield
    await world.services.forges.webhooks.delete_configuration(world.ann, CONFIGURED)


NEW = NewWebhook(url="https://receiver.example.com/", events=(EventKind.FAILURE,))


@change("notifications.webhooks.add", HubAction.CONFIGURE_WEBHOOKS, CONFIGURED, namespace="ann")
async def add_webhook(world: World) -> Steps:
    await world.configured()
    yield
    await world.services.notifications.webhooks.add(world.ann, CONFIGURED, NEW)


@change("notifications.webhooks.remove", HubAction.CONFIGURE_WEBHOOKS, CONFIGURED, namespace="ann")
async def remove_webhook(world: World) -> Steps:
    await world.configured()
    added = await world.services.notifications.webhooks.add(world.ann, CONFIGURED, NEW)
    yield
    await world.services.notifications.webhooks.remove(world.ann, CONFIGURED, added.id)


@change("notifications.webhooks.redeliver", HubAction.CONFIGURE_WEBHOOKS, CONFIGURED, namespace="ann")
async def redeliver(world: World) -> Steps:
    await world.configured()
    webhooks = world.services.notifications.webhooks
    added = await webhooks.add(world.ann, CONFIGURED, NEW)
    delivery = WebhookDelivery(
        id="delivery",
        webhook_id=added.id,
        event_id="event",
        event=EventKind.FAILURE,
        body="{}",
        callback="callback",
        callback_state="",
        attempts=1,
        due_at=None,
        status=200,
        outcome="delivered",
        created_at=datetime.now(UTC),
    )
    async with world.services.database.writing() as session:
        await webhook_rows.add_delivery(session, delivery)
    yield
    await webhooks.redeliver(world.ann, CONFIGURED, delivery.id)
