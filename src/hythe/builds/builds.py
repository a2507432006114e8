"""Builds: asked for by pushes, triggers, people, the clock and base images; listed, followed, cancelled, retried."""

import hmac
import secrets
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from hythe.builds.build import Build, Cause, QueuePosition, SourceCommit
from hythe.builds.configuration import BuildConfiguration
from hythe.builds.configurations import MANAGE, TRIGGER_TOKEN
from hythe.builds.errors import BuildConflict, InvalidBuildConfiguration
from hythe.builds.queue import BuildQueue
from hythe.builds.rules import LONGEST_SOURCE, Rule, RuleMatch, SourceRef, SourceType, docker_tags
from hythe.builds.secret_box import SecretBox
from hythe.builds.sql import builds as rows
from hythe.builds.sql import configurations as configuration_rows
from hythe.builds.sql import forge_deliveries as head_rows
from hythe.builds.sql import logs
from hythe.builds.sql.builds import BuildFilter, NewBuild
from hythe.builds.sql.configurations import TriggerCall
from hythe.database import Database, Session
from hythe.hub.access import HubAccess
from hythe.hub.actor import HubActor
from hythe.hub.errors import NotFound
from hythe.hub.namespaces import short_name
from hythe.registry.access import Action

REBUILT_REFS = 20
"""Most branches and tags of one expression that the clock or a base image builds anew."""


class BuildRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Why and by whom builds are asked for, and of which commit."""

    cause: Cause
    by: str
    commit: SourceCommit = SourceCommit()
    trusted: bool = True


class TriggerBody(msgspec.Struct, frozen=True, omit_defaults=True):
    """A trigger URL's body, in the words of 2014: nothing, a Docker tag, or a branch or tag of the source."""

    docker_tag: str = ""
    source_type: str = ""
    source_name: Annotated[str, Meta(max_length=LONGEST_SOURCE)] = ""


class BuildService:
    """What can be done with builds. Calls with an actor raise NotFound, SignInNeeded or Refused by ``hub.access``."""

    def __init__(self, database: Database, access: HubAccess, secret_box: SecretBox, queue: BuildQueue) -> None:
        self._database = database
        self._access = access
        self._secret_box = secret_box
        self._queue = queue

    async def queue_ref(
        self, session: Session, configuration: BuildConfiguration, ref: SourceRef, wanted: BuildRequest
    ) -> list[int]:
        """Queue what the set-up's rules say of ``ref``, inside the caller's transaction; ``wake`` comes after it."""
        if not configuration.active:
            return []
        pushed = wanted.cause is Cause.PUSH
        rules = [rule for rule in configuration.rules if rule.autobuild or not pushed]
        return await self._queue_rules(session, configuration, rules, ref, wanted)

    async def _queue_rules(
        self,
        session: Session,
        configuration: BuildConfiguration,
        rules: Iterable[Rule],
        ref: SourceRef,
        wanted: BuildRequest,
    ) -> list[int]:
        queued = []
        for rule in rules:
            match = rule.match(ref)
            if match is None:
                continue
            new = NewBuild(
                configuration_id=configuration.id,
                account=configuration.account,
                ref=ref,
                commit=SourceCommit(wanted.commit.message[:2000], wanted.commit.author[:250]),
                cause=wanted.cause,
                started_by=wanted.by,
                rule=rule,
                tags=_tags_so_far(rule, ref, match),
                trusted=wanted.trusted,
            )
            queued.append(await self._queue.add(session, configuration, new))
        return queued

    async def start(self, actor: HubActor, repository: str, ref: SourceRef | None = None) -> list[Build]:
        """Build by hand: ``ref``, or what every rule with a plain name says. Raises InvalidBuildConfiguration, Conflict."""
        async with self._database.writing() as session:
            configuration = await self._allowed(session, actor, repository, MANAGE)
            _require_active(configuration)
            queued = await self._queue_anew(
                session, configuration, ref, BuildRequest(cause=Cause.MANUAL, by=actor.name)
            )
            started = [await _build(session, build_id) for build_id in queued]
        self._queue.wake()
        return started

    async def _queue_anew(
        self, session: Session, configuration: BuildConfiguration, ref: SourceRef | None, wanted: BuildRequest
    ) -> list[int]:
        refs = [ref] if ref else _named_refs(configuration)
        queued: list[int] = []
        for each in refs:
            queued += await self.queue_ref(session, configuration, each, wanted)
        if not queued:
            name = f"{ref.type.value} {ref.name!r}" if ref else "no rule with a plain name"
            raise InvalidBuildConfiguration(
                f"{name} matches no rule of this set-up", "add a rule, or name a branch or tag"
            )
        return queued

    async def rebuild(self, session: Session, configuration: BuildConfiguration, wanted: BuildRequest) -> list[int]:
        """Queue anew what the set-up's rules built before (clock, base image); ``wake`` comes after the commit."""
        built = await rows.listed(
            session, BuildFilter(repository=configuration.repository, status="succeeded", limit=200)
        )
        refs = dict.fromkeys([*_named_refs(configuration), *(SourceRef(b.ref.type, b.ref.name) for b in built)])
        gone = await head_rows.gone(session, configuration.id)
        queued: list[int] = []
        for ref in [ref for ref in refs if ref not in gone][:REBUILT_REFS]:
            queued += await self.queue_ref(session, configuration, ref, wanted)
        return queued

    async def trigger(self, repository: str, token: str, call: TriggerBody, address: str) -> list[Build]:
        """Answer the trigger URL. Raises NotFound for a wrong token or repository, InvalidBuildConfiguration, Conflict."""
        async with self._database.writing() as session:
            configuration = await configuration_rows.by_repository(session, repository)
            if configuration is None or not await self._is_token(session, configuration, token):
                raise NotFound("there is no such trigger", "copy its URL anew from the set-up")
            queued, outcome = await self._triggered(session, configuration, call)
            await configuration_rows.add_call(
                session, configuration.id, TriggerCall(datetime.now(UTC), address[:64], outcome)
            )
            started = [await _build(session, build_id) for build_id in queued]
        self._queue.wake()
        if not started:
            raise BuildConflict(outcome, "look at the set-up's rules")
        return started

    async def _triggered(
        self, session: Session, configuration: BuildConfiguration, call: TriggerBody
    ) -> tuple[list[int], str]:
        if not configuration.active:
            return [], "builds of this repository are switched off"
        wanted = BuildRequest(cause=Cause.TRIGGER, by="trigger")
        queued: list[int] = []
        for ref, rules in _called_for(configuration, call):
            queued += await self._queue_rules(session, configuration, rules, ref, wanted)
        return queued, f"{len(queued)} builds" if queued else "nothing matches what was asked for"

    async def trigger_token(self, actor: HubActor, repository: str, *, anew: bool = False) -> str:
        """Return the token of the trigger URL, made anew when asked for: the old one is then worthless."""
        async with self._database.writing() as session:
            configuration = await self._allowed(session, actor, repository, MANAGE)
            if anew:
                sealed = self._secret_box.seal(TRIGGER_TOKEN, secrets.token_urlsafe(24))
                await configuration_rows.set_trigger_token(session, configuration.id, sealed)
            return self._secret_box.unseal(
                TRIGGER_TOKEN, (await configuration_rows.sealed(session, configuration.id))[1]
            )

    async def trigger_calls(self, actor: HubActor, repository: str) -> list[TriggerCall]:
        """Return the last ten calls of the trigger URL, newest first."""
        async with self._database.reading() as session:
            configuration = await self._allowed(session, actor, repository, MANAGE)
            return await configuration_rows.calls(session, configuration.id)

    async def _is_token(self, session: Session, configuration: BuildConfiguration, token: str) -> bool:
        sealed = (await configuration_rows.sealed(session, configuration.id))[1]
        return hmac.compare_digest(self._secret_box.unseal(TRIGGER_TOKEN, sealed).encode(), token.encode())

    async def listed(self, actor: HubActor, wanted: BuildFilter) -> list[Build]:
        """Return builds of repositories that the actor may read, newest first."""
        async with self._database.reading() as session:
            if wanted.repository:
                await self._access.require_repository(actor, wanted.repository, Action.PULL, session)
            elif not actor.operating:
                return await rows.listed_for(session, wanted, self._access.reader(actor))
            return await rows.listed(session, wanted)

    async def get(self, actor: HubActor, repository: str, number: int) -> tuple[Build, QueuePosition | None]:
        """Return a build and, while it waits, its place in the queue."""
        async with self._database.reading() as session:
            build = await self._readable(session, actor, repository, number)
            return build, await self._queue.place(session, build)

    async def badge(self, actor: HubActor, repository: str, source_name: str = "") -> Build | None:
        """Return the build that the badge speaks of."""
        async with self._database.reading() as session:
            configuration = await self._allowed(session, actor, repository, Action.PULL)
            return await rows.last_finished(session, configuration.id, source_name)

    async def log(self, actor: HubActor, repository: str, number: int, start: int = 0) -> tuple[Build, bytes]:
        """Return a build and its log from byte ``start`` on, in pieces of about a megabyte."""
        async with self._database.reading() as session:
            build = await self._readable(session, actor, repository, number)
            return build, await logs.read(session, build.id, start)

    async def cancel(self, actor: HubActor, repository: str, number: int) -> Build:
        """Cancel a build that waits, or stop one that runs. Raises Conflict when it is over."""
        async with self._database.writing() as session:
            await self._access.require_repository(actor, repository, MANAGE, session)
            build = await self._readable(session, actor, repository, number)
            if not await self._queue.cancel(session, build, actor.name):
                raise BuildConflict(f"build {number} is over: {build.status.value}", "start a new one")
            return await _build(session, build.id)

    async def retry(self, actor: HubActor, repository: str, number: int) -> Build:
        """Build the same commit by the same rule again. Raises Conflict while it is not over."""
        async with self._database.writing() as session:
            configuration = await self._allowed(session, actor, repository, MANAGE)
            build = await self._readable(session, actor, repository, number)
            _require_active(configuration)
            if not build.status.is_over:
                raise BuildConflict(f"build {number} is not over yet", "cancel it first")
            if build.reproduces is not None:
                raise BuildConflict(
                    f"build {number} only compares, and pushes nothing", f"retry {build.started_by} instead"
                )
            wanted = BuildRequest(cause=Cause.RETRY, by=actor.name, commit=build.commit, trusted=build.trusted)
            queued = await self._queue_rules(session, configuration, [build.rule], build.ref, wanted)
            again = await _build(session, queued[0])
        self._queue.wake()
        return again

    async def _readable(self, session: Session, actor: HubActor, repository: str, number: int) -> Build:
        await self._access.require_repository(actor, repository, Action.PULL, session)
        build = await rows.by_number(session, repository, number)
        if build is None:
            raise NotFound(f"{short_name(repository)} has no build {number}")
        return build

    async def _allowed(self, session: Session, actor: HubActor, repository: str, action: Action) -> BuildConfiguration:
        await self._access.require_repository(actor, repository, action, session)
        configuration = await configuration_rows.by_repository(session, repository)
        if configuration is None:
            raise NotFound(f"{short_name(repository)} has no Trusted Builds", "set them up first")
        return configuration


def _require_active(configuration: BuildConfiguration) -> None:
    if not configuration.active:
        raise BuildConflict(
            f"builds of {short_name(configuration.repository)} are switched off", "switch them on first"
        )


async def _build(session: Session, build_id: int) -> Build:
    build = await rows.by_id(session, build_id)
    if build is None:
        raise NotFound("this build was removed meanwhile")
    return build


def _tags_so_far(rule: Rule, ref: SourceRef, match: RuleMatch) -> tuple[str, ...]:
    """The tags as far as they are known before the commit is; the checkout settles them."""
    try:
        return docker_tags(rule, ref, match)
    except InvalidBuildConfiguration:
        return ()


def _named_refs(configuration: BuildConfiguration) -> list[SourceRef]:
    plain = [rule for rule in configuration.rules if not rule.is_expression]
    return list(dict.fromkeys(SourceRef(rule.source_type, rule.source) for rule in plain))


def _called_for(configuration: BuildConfiguration, call: TriggerBody) -> list[tuple[SourceRef, list[Rule]]]:
    """Return what a trigger's body asks for: a ref with the rules to ask about it."""
    if call.source_name:
        kind = SourceType.TAG if call.source_type.lower() == "tag" else SourceType.BRANCH
        return [(SourceRef(kind, call.source_name), list(configuration.rules))]
    if call.docker_tag:
        rules = [
            rule for rule in configuration.rules if call.docker_tag in [tag.strip() for tag in rule.tags.split(",")]
        ]
        return [(SourceRef(rule.source_type, rule.source), [rule]) for rule in rules if not rule.is_expression]
    return [(ref, list(configuration.rules)) for ref in _named_refs(configuration)]
