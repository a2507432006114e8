"""Builds: start them (pushes, triggers, users, schedules, base images), list, follow, cancel and retry them."""

import hmac
import secrets
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from hythe.builds.build import Build, Cause, QueuePosition, SourceCommit
from hythe.builds.configuration import BuildConfiguration
from hythe.builds.configurations import TRIGGER_TOKEN
from hythe.builds.errors import BuildConflict, InvalidBuildConfiguration
from hythe.builds.queue import BuildQueue
from hythe.builds.rules import MAX_SOURCE_LENGTH, Rule, RuleMatch, docker_tags, without_values
from hythe.builds.sql import builds as rows
from hythe.builds.sql import configurations as configuration_rows
from hythe.builds.sql import forge_deliveries, logs
from hythe.builds.sql.builds import BuildFilter, NewBuild
from hythe.builds.sql.configurations import TriggerCall
from hythe.database import Database, Session
from hythe.forges.source_ref import SourceRef, SourceType
from hythe.hub.access.actions import HubAction
from hythe.hub.access.decision import HubAccess
from hythe.hub.accounts.namespaces import short_name
from hythe.hub.actor import HubActor
from hythe.hub.errors import NotFound
from hythe.hub.logs import audit
from hythe.hub.secret_box import SecretBox
from hythe.hub.sql import former_names

_REFUSED_AT_ONCE = (Cause.MANUAL, Cause.RETRY, Cause.TRIGGER)
"""Causes of builds that a request starts: its sender gets an error if they cannot be queued."""
MAX_REBUILT_REFS = 20
"""Maximum number of branches and tags that a schedule or a base image rebuilds."""


class BuildRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A request for builds: its cause, who made it, and of which commit."""

    cause: Cause
    by: str
    commit: SourceCommit = SourceCommit()
    trusted: bool = True


class TriggerBody(msgspec.Struct, frozen=True, omit_defaults=True):
    """The body of a call of the trigger URL, as Docker Hub had it: empty, a Docker tag, or a branch or tag."""

    docker_tag: str = ""
    source_type: str = ""
    source_name: Annotated[str, Meta(max_length=MAX_SOURCE_LENGTH)] = ""


class BuildService:
    """What users can do with builds. Calls with an actor raise NotFound, SignInNeeded or Refused by ``hub.access``."""

    def __init__(self, database: Database, access: HubAccess, secret_box: SecretBox, queue: BuildQueue) -> None:
        self._database = database
        self._access = access
        self._secret_box = secret_box
        self._queue = queue

    async def queue_ref(
        self, session: Session, configuration: BuildConfiguration, ref: SourceRef, request: BuildRequest
    ) -> list[int]:
        """Queue the builds of ``ref`` in the caller's transaction; call ``BuildQueue.wake`` once it is committed."""
        if not configuration.active or configuration.account_blocked:
            return []
        pushed = request.cause is Cause.PUSH
        rules = [rule for rule in configuration.rules if rule.autobuild or not pushed]
        return await self._queue_rules(session, configuration, rules, ref, request)

    async def _queue_rules(
        self,
        session: Session,
        configuration: BuildConfiguration,
        rules: Iterable[Rule],
        ref: SourceRef,
        request: BuildRequest,
    ) -> list[int]:
        queued = []
        problem = await self._queue.minutes_problem(session, configuration.account)
        if problem and request.cause in _REFUSED_AT_ONCE:
            raise BuildConflict(problem, "wait until older builds no longer count, or ask an administrator for more")
        for rule in rules:
            match = rule.match(ref)
            if match is None:
                continue
            new = NewBuild(
                configuration_id=configuration.id,
                account=configuration.account,
                ref=ref,
                commit=SourceCommit(request.commit.message[:2000], request.commit.author[:250]),
                cause=request.cause,
                started_by=request.by,
                rule=rule,
                tags=_tags_so_far(rule, ref, match),
                trusted=request.trusted,
            )
            queued.append(await self._queue.add(session, configuration, new))
        if problem and queued:
            # No user waits for a response, so the list of builds says what happened.
            await self._queue.refuse_all(session, configuration.account, problem)
        return queued

    async def start(self, actor: HubActor, repository: str, ref: SourceRef | None = None) -> list[Build]:
        """Start builds of ``ref``, or of every branch and tag that a rule names.

        Raises InvalidBuildConfiguration, BuildConflict.
        """
        async with self._database.writing() as session:
            configuration = await self._allowed(session, actor, repository, HubAction.START_BUILD)
            _require_active(configuration)
            queued = await self._queue_manual(
                session, configuration, ref, BuildRequest(cause=Cause.MANUAL, by=actor.name)
            )
            started = [await _build(session, build_id) for build_id in queued]
            await _record(session, actor, HubAction.START_BUILD, repository, started)
        self._queue.wake()
        return started

    async def _queue_manual(
        self, session: Session, configuration: BuildConfiguration, ref: SourceRef | None, request: BuildRequest
    ) -> list[int]:
        refs = [ref] if ref else _named_refs(configuration)
        queued: list[int] = []
        for each in refs:
            queued += await self.queue_ref(session, configuration, each, request)
        if not queued:
            if ref is None:
                raise InvalidBuildConfiguration("every rule is a regular expression", "choose a branch or tag to build")
            raise InvalidBuildConfiguration(f"{ref.type.value} {ref.name!r} matches no rule", "add a rule for it")
        return queued

    async def rebuild(self, session: Session, configuration: BuildConfiguration, request: BuildRequest) -> list[int]:
        """Queue the branches and tags that were built before; call ``BuildQueue.wake`` after the commit."""
        built = await rows.find(
            session, BuildFilter(repository=configuration.repository, status="succeeded", limit=200)
        )
        refs = dict.fromkeys([*_named_refs(configuration), *(SourceRef(b.ref.type, b.ref.name) for b in built)])
        gone = await forge_deliveries.deleted_refs(session, configuration.id)
        queued: list[int] = []
        for ref in [ref for ref in refs if ref not in gone][:MAX_REBUILT_REFS]:
            queued += await self.queue_ref(session, configuration, ref, request)
        return queued

    async def trigger(self, repository: str, token: str, call: TriggerBody, address: str) -> list[Build]:
        """Start builds for a call of the trigger URL.

        Raises NotFound if the token or the repository is wrong, InvalidBuildConfiguration, BuildConflict.
        """
        async with self._database.writing() as session:
            configuration = await configuration_rows.by_repository(session, repository)
            if configuration is None and (renamed := await former_names.successor(session, *_parts(repository))):
                configuration = await configuration_rows.by_repository(session, renamed.repository or "")
            if configuration is None or not await self._is_token(session, configuration, token):
                raise NotFound("unknown trigger URL", "copy the current one from the build configuration")
            queued, outcome = await self._queue_triggered(session, configuration, call)
            await configuration_rows.add_trigger_call(
                session, configuration.id, TriggerCall(datetime.now(UTC), address[:64], outcome)
            )
            started = [await _build(session, build_id) for build_id in queued]
        self._queue.wake()
        if not started:
            raise BuildConflict(outcome, "check the build rules")
        return started

    async def _queue_triggered(
        self, session: Session, configuration: BuildConfiguration, call: TriggerBody
    ) -> tuple[list[int], str]:
        if not configuration.active:
            return [], "builds of this repository are disabled"
        if configuration.account_blocked:
            return [], blocked_account(configuration)
        request = BuildRequest(cause=Cause.TRIGGER, by="trigger")
        queued: list[int] = []
        try:
            for ref, rules in _refs_and_rules(configuration, call):
                queued += await self._queue_rules(session, configuration, rules, ref, request)
        except BuildConflict as error:
            return [], error.message
        return queued, f"{len(queued)} builds" if queued else "no build rule matches the request"

    async def trigger_token(self, actor: HubActor, repository: str, *, rotate: bool = False) -> str:
        """Return the token of the trigger URL; ``rotate`` replaces it first."""
        async with self._database.writing() as session:
            action = HubAction.CONFIGURE_BUILDS if rotate else HubAction.VIEW_BUILD_SETTINGS
            configuration = await self._allowed(session, actor, repository, action)
            if rotate:
                sealed = self._secret_box.seal(TRIGGER_TOKEN, secrets.token_urlsafe(24))
                await configuration_rows.set_trigger_token(session, configuration.id, sealed)
                await audit.record_repository(
                    session, actor, action, repository, change="trigger URL", at=datetime.now(UTC)
                )
            return self._secret_box.unseal(
                TRIGGER_TOKEN, (await configuration_rows.sealed(session, configuration.id))[1]
            )

    async def trigger_calls(self, actor: HubActor, repository: str) -> list[TriggerCall]:
        """Return the last ten calls of the trigger URL, newest first."""
        async with self._database.reading() as session:
            configuration = await self._allowed(session, actor, repository, HubAction.VIEW_BUILD_SETTINGS)
            return await configuration_rows.trigger_calls(session, configuration.id)

    async def _is_token(self, session: Session, configuration: BuildConfiguration, token: str) -> bool:
        sealed = (await configuration_rows.sealed(session, configuration.id))[1]
        return hmac.compare_digest(self._secret_box.unseal(TRIGGER_TOKEN, sealed).encode(), token.encode())

    async def find(self, actor: HubActor, filters: BuildFilter) -> list[Build]:
        """Return builds of repositories that the actor can read, newest first, without values of build arguments."""
        async with self._database.reading() as session:
            if filters.repository:
                await self._access.require_repository(actor, filters.repository, HubAction.VIEW_REPOSITORY, session)
            if filters.repository or actor.operating:
                found = await rows.find(session, filters)
            else:
                found = await rows.find_readable(session, filters, self._access.reader(actor))
        return list(map(_without_values, found))

    async def get(self, actor: HubActor, repository: str, number: int) -> tuple[Build, QueuePosition | None]:
        """Return a build and, while it is queued, its position in the queue.

        Only who may write to the repository sees the values of build arguments.
        """
        async with self._database.reading() as session:
            build = await self._readable(session, actor, repository, number)
            return build, await self._queue.position(session, build)

    async def badge(self, actor: HubActor, repository: str, source_name: str = "") -> Build | None:
        """Return the build that the badge shows."""
        async with self._database.reading() as session:
            configuration = await self._allowed(session, actor, repository, HubAction.VIEW_REPOSITORY)
            return await rows.last_finished(session, configuration.id, source_name)

    async def log(self, actor: HubActor, repository: str, number: int, start: int = 0) -> tuple[Build, bytes]:
        """Return a build, and about a megabyte of its log from byte ``start`` on."""
        async with self._database.reading() as session:
            build = await self._readable(session, actor, repository, number)
            return build, await logs.read(session, build.id, start)

    async def cancel(self, actor: HubActor, repository: str, number: int) -> Build:
        """Cancel a queued build, or stop a running one. Raises BuildConflict if it has finished."""
        async with self._database.writing() as session:
            await self._access.require_repository(actor, repository, HubAction.CANCEL_BUILD, session)
            build = await self._readable(session, actor, repository, number)
            if not await self._queue.cancel(session, build, actor.name):
                raise BuildConflict(f"build {number} has already finished: {build.status.value}", "start a new one")
            await _record(session, actor, HubAction.CANCEL_BUILD, repository, [build])
            return await _build(session, build.id)

    async def retry(self, actor: HubActor, repository: str, number: int) -> Build:
        """Build the same commit by the same rule again. Raises BuildConflict until the build has finished."""
        async with self._database.writing() as session:
            configuration = await self._allowed(session, actor, repository, HubAction.START_BUILD)
            build = await self._readable(session, actor, repository, number)
            _require_active(configuration)
            if not build.status.is_over:
                raise BuildConflict(f"build {number} has not finished yet", "cancel it first")
            if build.reproduces is not None:
                raise BuildConflict(
                    f"build {number} only checks that {build.started_by} is reproducible",
                    f"retry {build.started_by} instead",
                )
            request = BuildRequest(cause=Cause.RETRY, by=actor.name, commit=build.commit, trusted=build.trusted)
            queued = await self._queue_rules(session, configuration, [build.rule], build.ref, request)
            again = await _build(session, queued[0])
            await _record(session, actor, HubAction.START_BUILD, repository, [again])
        self._queue.wake()
        return again

    async def _readable(self, session: Session, actor: HubActor, repository: str, number: int) -> Build:
        await self._access.require_repository(actor, repository, HubAction.VIEW_REPOSITORY, session)
        build = await rows.by_number(session, repository, number)
        if build is None:
            raise NotFound(f"{short_name(repository)} has no build {number}")
        return (
            build
            if await self._access.may(actor, repository, HubAction.VIEW_BUILD_VALUES, session)
            else _without_values(build)
        )

    async def _allowed(
        self, session: Session, actor: HubActor, repository: str, action: HubAction
    ) -> BuildConfiguration:
        await self._access.require_repository(actor, repository, action, session)
        configuration = await configuration_rows.by_repository(session, repository)
        if configuration is None:
            raise NotFound(f"{short_name(repository)} has no Trusted Builds", "create a build configuration first")
        return configuration


def _parts(repository: str) -> tuple[str, str]:
    namespace, _, name = repository.partition("/")
    return namespace, name


def blocked_account(configuration: BuildConfiguration) -> str:
    """Return why nothing starts builds of a blocked account."""
    return f"the account {configuration.account} is blocked"


def _require_active(configuration: BuildConfiguration) -> None:
    if configuration.account_blocked:
        raise BuildConflict(blocked_account(configuration), "an administrator can unblock it")
    if not configuration.active:
        raise BuildConflict(f"builds of {short_name(configuration.repository)} are disabled", "enable them first")


def _without_values(build: Build) -> Build:
    return msgspec.structs.replace(build, rule=without_values(build.rule))


async def _record(
    session: Session, actor: HubActor, action: HubAction, repository: str, builds: Iterable[Build]
) -> None:
    now = datetime.now(UTC)
    for build in builds:
        part = f"#{build.number}"
        await audit.record_repository(session, actor, action, repository, part, at=now, source=build.ref.name)


async def _build(session: Session, build_id: int) -> Build:
    build = await rows.by_id(session, build_id)
    if build is None:
        raise NotFound("this build was removed")
    return build


def _tags_so_far(rule: Rule, ref: SourceRef, match: RuleMatch) -> tuple[str, ...]:
    """Return the tags that do not depend on the commit; the checkout adds the others."""
    try:
        return docker_tags(rule, ref, match)
    except InvalidBuildConfiguration:
        return ()


def _named_refs(configuration: BuildConfiguration) -> list[SourceRef]:
    plain = [rule for rule in configuration.rules if not rule.is_expression]
    return list(dict.fromkeys(SourceRef(rule.source_type, rule.source) for rule in plain))


def _refs_and_rules(configuration: BuildConfiguration, call: TriggerBody) -> list[tuple[SourceRef, list[Rule]]]:
    """Return the refs that a trigger requests, each with the rules to match it with."""
    if call.source_name:
        kind = SourceType.TAG if call.source_type.lower() == "tag" else SourceType.BRANCH
        return [(SourceRef(kind, call.source_name), list(configuration.rules))]
    if call.docker_tag:
        rules = [
            rule for rule in configuration.rules if call.docker_tag in [tag.strip() for tag in rule.tags.split(",")]
        ]
        return [(SourceRef(rule.source_type, rule.source), [rule]) for rule in rules if not rule.is_expression]
    return [(ref, list(configuration.rules)) for ref in _named_refs(configuration)]
