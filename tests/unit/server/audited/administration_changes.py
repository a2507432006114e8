"""Changes that administrators make, and reports to them."""

from datetime import UTC, datetime, timedelta

from tests.unit.server.audited.world import Steps, World, change

from hythe.builds.sql import workers as worker_rows
from hythe.builds.sql.workers import WorkerDescription
from hythe.hub.access.actions import HubAction
from hythe.hub.accounts.accounts import RolesChange
from hythe.hub.accounts.users import PlanChange
from hythe.hub.administration.abuse_reports import Category, NewReport, ReportClosing, ReportState
from hythe.hub.administration.blocked_digests import NewBlockedDigest
from hythe.hub.administration.blocked_names import NewBlockedName
from hythe.hub.administration.takedowns import TakedownReason
from hythe.hub.page import Paging
from hythe.hub.renaming.transfers import NewTransfer
from hythe.oci.digest import Digest
from hythe.replication.rule import Direction, NewReplicationRule, ReplicationRuleChange

DIGEST = str(Digest.of(b"forbidden"))
REASON = TakedownReason("it copies a trademark")


@change("users.set_plan", HubAction.SET_PLAN, "ann", namespace="ann", by="max")
async def set_plan(world: World) -> Steps:
    yield
    await world.hub.users.set_plan(world.max, "ann", PlanChange(repository_limit=7))


@change("emails.set", HubAction.SET_EMAIL, "ann", namespace="ann", by="max")
async def set_email(world: World) -> Steps:
    yield
    await world.hub.emails.set(world.max, "ann", "new@example.com")


@change("password_resets.link", HubAction.RESET_PASSWORD, "ann", namespace="ann", by="max")
async def password_link(world: World) -> Steps:
    yield
    await world.hub.password_resets.link(world.max, "ann")


@change("second_factors.reset", HubAction.RESET_SECOND_FACTORS, "ann", namespace="ann", by="max")
async def reset_second_factors(world: World) -> Steps:
    await world.app(world.ann)
    yield
    await world.hub.second_factors.reset(world.max, "ann")


@change("administration.block", HubAction.BLOCK_USER, "eve", by="max")
async def block_user(world: World) -> Steps:
    yield
    await world.hub.administration.block(world.max, "eve")


@change("administration.unblock", HubAction.UNBLOCK_USER, "eve", by="max")
async def unblock_user(world: World) -> Steps:
    await world.hub.administration.block(world.max, "eve")
    yield
    await world.hub.administration.unblock(world.max, "eve")


@change("administration.delete", HubAction.DELETE_USER, "eve", namespace="eve", by="max")
async def delete_user(world: World) -> Steps:
    yield
    await world.hub.administration.delete(world.max, "eve", "eve")


@change("administration.delete_organization", HubAction.DELETE_ORGANIZATION, "acme", namespace="acme")
async def delete_organization_with_everything(world: World) -> Steps:
    yield
    await world.hub.administration.delete_organization(world.ann, "acme", "acme")


@change("hub_administration.accounts.sign_out", HubAction.SIGN_OUT_USER, "ann", namespace="ann", by="max")
async def sign_out_user(world: World) -> Steps:
    yield
    await world.hub.hub_administration.accounts.sign_out(world.max, "ann")


@change("hub_administration.accounts.set_roles", HubAction.SET_HUB_ROLE, "ann", namespace="ann", by="max")
async def set_roles(world: World) -> Steps:
    yield
    await world.hub.hub_administration.accounts.set_roles(world.max, "ann", RolesChange(curator=True))


@change("hub_administration.access.open", HubAction.OPEN_REPOSITORY, "ann/app", namespace="ann", by="max")
async def open_repository(world: World) -> Steps:
    yield
    await world.hub.hub_administration.access.open(world.max, "ann/app", "a report")


@change("hub_administration.access.close", HubAction.OPEN_REPOSITORY, "ann/app", namespace="ann", by="max")
async def close_repository(world: World) -> Steps:
    await world.hub.hub_administration.access.open(world.max, "ann/app", "a report")
    yield
    await world.hub.hub_administration.access.close(world.max, "ann/app")


@change("hub_administration.takedowns.take_down", HubAction.TAKE_DOWN_REPOSITORY, "ann/app", namespace="ann", by="max")
async def take_down(world: World) -> Steps:
    yield
    await world.hub.hub_administration.takedowns.take_down(world.max, "ann/app", REASON)


@change("hub_administration.takedowns.restore", HubAction.RESTORE_REPOSITORY, "ann/app", namespace="ann", by="max")
async def restore_repository(world: World) -> Steps:
    await world.hub.hub_administration.takedowns.take_down(world.max, "ann/app", REASON)
    yield
    await world.hub.hub_administration.takedowns.restore(world.max, "ann/app")


@change("hub_administration.takedowns.delete", HubAction.REMOVE_REPOSITORY, "ann/app", namespace="ann", by="max")
async def remove_repository(world: World) -> Steps:
    yield
    await world.hub.hub_administration.takedowns.delete(world.max, "ann/app", REASON)


@change("hub_administration.takedowns.hand_over", HubAction.HAND_OVER_REPOSITORY, "ann/app", namespace="ann", by="max")
async def hand_over(world: World) -> Steps:
    yield
    await world.hub.hub_administration.takedowns.hand_over(world.max, "ann/app", NewTransfer("ben"))


@change("hub_administration.takedowns.set_official", HubAction.SET_OFFICIAL, "ann/app", namespace="ann", by="max")
async def set_official(world: World) -> Steps:
    yield
    await world.hub.hub_administration.takedowns.set_official(world.max, "ann/app", official=True)


async def report(world: World) -> int:
    """Report a repository; return the number of the report."""
    reports = world.hub.hub_administration.reports
    await reports.report(world.eve, "ann/app", NewReport(Category.MALWARE, "it mines coins"))
    (found,) = (await reports.list(world.max, ReportState.OPEN, Paging())).items
    return int(found.id)


@change("hub_administration.reports.report", HubAction.REPORT_REPOSITORY, "ann/app", by="eve")
async def report_repository(world: World) -> Steps:
    yield
    await report(world)


@change("hub_administration.reports.close", HubAction.CLOSE_REPORT, "ann/app", by="max")
async def close_report(world: World) -> Steps:
    number = await report(world)
    yield
    await world.hub.hub_administration.reports.close(world.max, number, ReportClosing(ReportState.DISMISSED))


@change("hub_administration.blocked_names.block", HubAction.BLOCK_NAME, "evil-*", by="max")
async def block_name(world: World) -> Steps:
    yield
    await world.hub.hub_administration.blocked_names.block(world.max, NewBlockedName("evil-*"))


@change("hub_administration.blocked_names.unblock", HubAction.UNBLOCK_NAME, "evil-*", by="max")
async def unblock_name(world: World) -> Steps:
    await world.hub.hub_administration.blocked_names.block(world.max, NewBlockedName("evil-*"))
    yield
    await world.hub.hub_administration.blocked_names.unblock(world.max, "evil-*")


@change("hub_administration.blocked_digests.block", HubAction.BLOCK_DIGEST, DIGEST, by="max")
async def block_digest(world: World) -> Steps:
    yield
    await world.hub.hub_administration.blocked_digests.block(world.max, NewBlockedDigest(DIGEST))


@change("hub_administration.blocked_digests.unblock", HubAction.UNBLOCK_DIGEST, DIGEST, by="max")
async def unblock_digest(world: World) -> Steps:
    await world.hub.hub_administration.blocked_digests.block(world.max, NewBlockedDigest(DIGEST))
    yield
    await world.hub.hub_administration.blocked_digests.unblock(world.max, DIGEST)


@change("hub_administration.garbage.start", HubAction.COLLECT_GARBAGE, "garbage", by="max")
async def collect_garbage(world: World) -> Steps:
    yield
    await world.hub.hub_administration.garbage.start(world.max)


async def worker(world: World) -> int:
    """Return the id of a worker that was seen an hour ago."""
    described = WorkerDescription(
        name="builder-1", version="", platform="", builder="", isolation="", concurrency=1, address="192.0.2.9"
    )
    async with world.services.database.writing() as session:
        await worker_rows.put(session, described, datetime.now(UTC) - timedelta(hours=1))
    (found,) = await world.services.builds.worker_administration.list(world.max)
    return found.id


@change("builds.worker_administration.drain", HubAction.DRAIN_WORKER, "builder-1", by="max")
async def drain_worker(world: World) -> Steps:
    worker_id = await worker(world)
    yield
    await world.services.builds.worker_administration.drain(world.max, worker_id, draining=True)


@change("builds.worker_administration.remove", HubAction.REMOVE_WORKER, "builder-1", by="max")
async def remove_worker(world: World) -> Steps:
    worker_id = await worker(world)
    yield
    await world.services.builds.worker_administration.remove(world.max, worker_id)


RULE = NewReplicationRule("second-site", Direction.PUSH, "https://hub2.example.com")


@change("replication.rules.add", HubAction.ADD_REPLICATION, "second-site", by="max")
async def add_replication(world: World) -> Steps:
    yield
    await world.services.replication.rules.add(world.max, RULE)


@change("replication.rules.change", HubAction.CHANGE_REPLICATION, "second-site", by="max")
async def change_replication(world: World) -> Steps:
    await world.services.replication.rules.add(world.max, RULE)
    yield
    await world.services.replication.rules.change(world.max, "second-site", ReplicationRuleChange(enabled=False))


@change("replication.rules.remove", HubAction.REMOVE_REPLICATION, "second-site", by="max")
async def remove_replication(world: World) -> Steps:
    await world.services.replication.rules.add(world.max, RULE)
    yield
    await world.services.replication.rules.remove(world.max, "second-site")


@change("replication.rules.start", HubAction.RUN_REPLICATION, "second-site", by="max")
async def run_replication(world: World) -> Steps:
    await world.services.replication.rules.add(world.max, RULE)
    yield
    await world.services.replication.rules.start(world.max, "second-site")
