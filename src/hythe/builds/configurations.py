"""Set-ups: made, read, changed, switched off and removed by those who may manage the repository."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import UTC, datetime
from urllib.parse import SplitResult, urlsplit

import msgspec
from sqlalchemy.exc import IntegrityError

from hythe.builds.configuration import (
    LONGEST_REPOSITORY,
    BuildConfiguration,
    BuildSource,
    ConfigurationChanges,
    Forge,
    NewBuildConfiguration,
    Options,
)
from hythe.builds.errors import BuildConflict, InvalidBuildConfiguration
from hythe.builds.events import BuildListener
from hythe.builds.queue import BuildQueue
from hythe.builds.rules import Rule, RulePreview, SourceRef, SourceType, check_rule, preview
from hythe.builds.secret_box import SecretBox
from hythe.builds.sql import configurations as rows
from hythe.builds.sql import forge_statuses
from hythe.builds.sql import linked_accounts as links
from hythe.builds.triggers.schedule import next_due
from hythe.database import Database, Session
from hythe.hub.access import HubAccess
from hythe.hub.actor import HubActor
from hythe.hub.errors import Invalid, NotFound
from hythe.hub.namespaces import short_name
from hythe.registry.access import Action

MANAGE = Action.DELETE
"""What somebody must be allowed who manages a set-up; pushing is refused to all in such a repository."""

FALLBACK_BRANCH = "main"
MOST_RULES = 50
MOST_SECRETS = 50
LARGEST_SECRET = 64 * 1024
TOLD_WITHIN = 5.0
"""Seconds that a set-up which is removed waits for the forge to hear that its builds are cancelled."""
CREDENTIALS = "source credentials"
TRIGGER_TOKEN = "trigger token"  # noqa: S105 (the name of a purpose)
BUILD_SECRET = "build secret"  # noqa: S105 (the name of a purpose)
_SCHEMES = ("http", "https", "ssh", "git")


class BuildConfigurationService:
    """What can be done with set-ups. Every call raises NotFound, SignInNeeded or Refused by ``hub.access``."""

    def __init__(
        self,
        database: Database,
        access: HubAccess,
        secret_box: SecretBox,
        queue: BuildQueue,
        default_branch: Callable[[str], Awaitable[str]],
        listeners: Sequence[BuildListener],
    ) -> None:
        """``default_branch`` returns the default branch of a URL, or "" if it cannot be read."""
        self._listeners = listeners
        self._default_branch = default_branch
        self._database = database
        self._access = access
        self._secret_box = secret_box
        self._queue = queue

    async def check(self, actor: HubActor, new: NewBuildConfiguration) -> None:
        """Raise what ``create`` would about the set-up itself: nothing is asked of the source."""
        branch = new.source.default_branch or FALLBACK_BRANCH
        checked = _checked(msgspec.structs.replace(new, source=_with_branch(new.source, branch)))
        async with self._database.reading() as session:
            await _require_link(session, actor, checked.source)

    async def create(self, actor: HubActor, repository: str, new: NewBuildConfiguration) -> BuildConfiguration:
        """Set up builds for an existing repository. Raises InvalidBuildConfiguration, Invalid, Conflict when it has a set-up."""
        if not new.source.default_branch:
            await self._access.require_repository(actor, repository, MANAGE)
            new = msgspec.structs.replace(new, source=await self._settled(new.source))
        checked = _checked(new)
        now = datetime.now(UTC)
        sealed = self._secret_box.seal(CREDENTIALS, new.credentials) if new.credentials else None
        token = self._secret_box.seal(TRIGGER_TOKEN, secrets.token_urlsafe(24))
        try:
            async with self._database.writing() as session:
                standing = await self._access.require_repository(actor, repository, MANAGE, session)
                if standing.repository_id is None:
                    raise NotFound(f"there is no repository {short_name(repository)!r}")
                await _require_link(session, actor, checked.source)
                account = repository.partition("/")[0]
                configuration_id = await rows.add(
                    session, standing.repository_id, account, checked, sealed, token, actor.name, now
                )
                await rows.set_due(session, configuration_id, next_due(checked.options.schedule, now))
                return await _present(session, configuration_id)
        except IntegrityError as error:
            raise BuildConflict(
                f"{short_name(repository)} has Trusted Builds already", "change its set-up, or delete it first"
            ) from error

    async def get(self, actor: HubActor, repository: str) -> BuildConfiguration:
        """Return the set-up of a repository that the actor may read."""
        async with self._database.reading() as session:
            return await self._allowed(session, actor, repository, Action.PULL)

    async def exists(self, actor: HubActor, repository: str) -> bool:
        """Whether the actor sees a set-up of this repository."""
        try:
            await self.get(actor, repository)
        except NotFound:
            return False
        return True

    async def managed(self, actor: HubActor, repository: str) -> BuildConfiguration:
        """Return the set-up of a repository that the actor may manage."""
        async with self._database.reading() as session:
            return await self._allowed(session, actor, repository, MANAGE)

    async def of_account(self, actor: HubActor, account: str) -> list[BuildConfiguration]:
        """Return the set-ups of a namespace that the actor may read."""
        async with self._database.reading() as session:
            found = await rows.of_account(session, account)
        visible = await self._access.visible(actor, [configuration.repository for configuration in found])
        return [configuration for configuration in found if configuration.repository in visible]

    async def change(self, actor: HubActor, repository: str, changes: ConfigurationChanges) -> BuildConfiguration:
        """Change what ``changes`` names; switching off keeps everything and stops triggers.

        Credentials are not taken along to another host. Raises InvalidBuildConfiguration, Invalid.
        """
        if changes.source is not None and not changes.source.default_branch:
            await self._access.require_repository(actor, repository, MANAGE)
            changes = msgspec.structs.replace(changes, source=await self._settled(changes.source))
        async with self._database.writing() as session:
            configuration = await self._allowed(session, actor, repository, MANAGE)
            checked = _moved(configuration.source, _checked_changes(changes, configuration.source.default_branch))
            if (
                checked.source is not None
                and checked.source.linked_account_id != configuration.source.linked_account_id
            ):
                await _require_link(session, actor, checked.source)
            sealed = self._secret_box.seal(CREDENTIALS, checked.credentials) if checked.credentials else None
            await rows.change(session, configuration.id, checked, sealed)
            changed = await _present(session, configuration.id)
            due = next_due(changed.options.schedule, datetime.now(UTC)) if changed.active else None
            await rows.set_due(session, configuration.id, due)
            if changes.active is False:
                await self._queue.cancel_all(session, configuration.id, actor.name)
            return changed

    async def _settled(self, source: BuildSource) -> BuildSource:
        """Fill in the default branch. Raises InvalidBuildConfiguration for what is no address."""
        branch = await self._default_branch(checked_source(source).url)
        return _with_branch(source, branch or FALLBACK_BRANCH)

    async def remove(self, actor: HubActor, repository: str) -> BuildConfiguration:
        """Remove a set-up with its builds; the image stays, and can be pushed to by hand. Returns what it was.

        Builds that wait or run are cancelled before, so that the forge hears of it: the outbox goes with them.
        """
        async with self._database.writing() as session:
            configuration = await self._allowed(session, actor, repository, MANAGE)
            await rows.change(session, configuration.id, ConfigurationChanges(active=False), None)
            await self._queue.end_all(session, configuration.id, actor.name)
        await self._until_told(configuration.id)
        async with self._database.writing() as session:
            for listener in self._listeners:
                await listener.configuration_removed(session, configuration)
            await rows.remove(session, configuration.id)
        return configuration

    async def _until_told(self, configuration_id: int) -> None:
        """Wait until the outbox has tried to tell everything about the set-up's builds, but not for ever."""
        give_up = asyncio.get_running_loop().time() + TOLD_WITHIN
        while asyncio.get_running_loop().time() < give_up:
            async with self._database.reading() as session:
                if not await forge_statuses.any_untried(session, configuration_id):
                    return
            await asyncio.sleep(0.1)

    async def preview(self, actor: HubActor, rules: Iterable[Rule], refs: Iterable[SourceRef]) -> list[RulePreview]:
        """Return what would build as what by these rules. Raises InvalidBuildConfiguration."""
        return preview([check_rule(rule) for rule in rules], refs)

    async def set_secret(self, actor: HubActor, repository: str, name: str, value: str) -> None:
        """Keep a build secret, sealed. Raises InvalidBuildConfiguration."""
        _check_secret(name, value)
        async with self._database.writing() as session:
            configuration = await self._allowed(session, actor, repository, MANAGE)
            if len((await rows.secrets(session, configuration.id)).keys() - {name}) >= MOST_SECRETS:
                raise InvalidBuildConfiguration(
                    f"a set-up has at most {MOST_SECRETS} secrets", "remove one that is not used"
                )
            await rows.set_secret(session, configuration.id, name, self._secret_box.seal(BUILD_SECRET, value))

    async def remove_secret(self, actor: HubActor, repository: str, name: str) -> None:
        """Forget a build secret. Raises NotFound."""
        async with self._database.writing() as session:
            configuration = await self._allowed(session, actor, repository, MANAGE)
            if not await rows.remove_secret(session, configuration.id, name):
                raise NotFound(f"there is no secret {name!r}")

    async def secret_names(self, actor: HubActor, repository: str) -> list[str]:
        """Return the names of the build secrets; their values are shown to nobody."""
        async with self._database.reading() as session:
            configuration = await self._allowed(session, actor, repository, MANAGE)
            return sorted(await rows.secrets(session, configuration.id))

    async def _allowed(self, session: Session, actor: HubActor, repository: str, action: Action) -> BuildConfiguration:
        await self._access.require_repository(actor, repository, action, session)
        configuration = await rows.by_repository(session, repository)
        if configuration is None:
            raise NotFound(f"{short_name(repository)} has no Trusted Builds", "set them up first")
        return configuration


async def _present(session: Session, configuration_id: int) -> BuildConfiguration:
    configuration = await rows.by_id(session, configuration_id)
    if configuration is None:
        raise NotFound("this set-up was removed meanwhile")
    return configuration


async def _require_link(session: Session, actor: HubActor, source: BuildSource) -> None:
    """Raise Invalid unless the source names no linked account, or one of the actor's own."""
    if (
        source.linked_account_id is not None
        and await links.get_own(session, source.linked_account_id, actor.user_id) is None
    ):
        raise Invalid({"linked_account_id": "is none of your linked accounts"})


def _moved(present: BuildSource, changes: ConfigurationChanges) -> ConfigurationChanges:
    """Forget the credentials of a source that goes to another host, where no new ones come along."""
    if changes.source is None or changes.credentials is not None or _host(changes.source) == _host(present):
        return changes
    return msgspec.structs.replace(changes, credentials="")


def _host(source: BuildSource) -> tuple[str, str, int | None]:
    parts = urlsplit(source.url)
    return parts.scheme, parts.hostname or "", parts.port


def _with_branch(source: BuildSource, branch: str) -> BuildSource:
    return msgspec.structs.replace(source, default_branch=branch)


def _checked(new: NewBuildConfiguration) -> NewBuildConfiguration:
    source = checked_source(new.source)
    rules = _checked_rules(new.rules or (Rule(),), source.default_branch)
    return msgspec.structs.replace(new, source=source, rules=rules, options=_checked_options(new.options))


def _checked_changes(changes: ConfigurationChanges, default_branch: str) -> ConfigurationChanges:
    checked = changes
    branch = changes.source.default_branch if changes.source is not None else default_branch
    if changes.source is not None:
        checked = msgspec.structs.replace(checked, source=checked_source(changes.source))
    if changes.rules is not None:
        checked = msgspec.structs.replace(checked, rules=_checked_rules(changes.rules, branch))
    if changes.options is not None:
        checked = msgspec.structs.replace(checked, options=_checked_options(changes.options))
    return checked


def _checked_rules(rules: tuple[Rule, ...], default_branch: str) -> tuple[Rule, ...]:
    if not 1 <= len(rules) <= MOST_RULES:
        raise InvalidBuildConfiguration(f"a set-up has 1 to {MOST_RULES} rules")
    kept = [rule.id for rule in rules if rule.id]
    if twice := next((each for each in kept if kept.count(each) > 1), None):
        raise InvalidBuildConfiguration(f"rule {twice} is there twice", "leave the id out for a new rule")
    return tuple(check_rule(_with_source(rule, default_branch)) for rule in rules)


def _with_source(rule: Rule, default_branch: str) -> Rule:
    if rule.source or rule.source_type is not SourceType.BRANCH:
        return rule
    return msgspec.structs.replace(rule, source=default_branch)


def _checked_options(options: Options) -> Options:
    next_due(options.schedule, datetime.now(UTC))
    return options


def checked_source(source: BuildSource) -> BuildSource:
    """Take http(s), ssh and git addresses, and scp's short form; nothing that git would run or read from the disk."""
    url = source.url.strip()
    if "://" not in url and "@" in url and ":" in url:
        user_and_host, _, path = url.partition(":")
        url = f"ssh://{user_and_host}/{path}"
    parts = _parts(url)
    words = (parts.username or "", parts.hostname or "")
    # What git or ssh would take for an option, or what would end a line of a log, is no address.
    odd = " " in url or not url.isprintable() or any(word.startswith("-") for word in words)
    if parts.scheme not in _SCHEMES or not parts.hostname or odd:
        raise InvalidBuildConfiguration(
            f"{url!r} is not an address to clone from", "use https://HOST/OWNER/NAME.git or ssh://.."
        )
    if parts.password:
        raise InvalidBuildConfiguration("the address holds a password", "give it as credentials: they are kept sealed")
    name = source.forge_repository or parts.path.strip("/").removesuffix(".git")
    if source.forge is not Forge.GIT and name.count("/") < 1:
        raise InvalidBuildConfiguration(f"{name!r} is not a repository of {source.forge.value}", "write OWNER/NAME")
    if len(name) > LONGEST_REPOSITORY:
        raise InvalidBuildConfiguration(
            f"the address's path has {len(name)} characters", f"use one of at most {LONGEST_REPOSITORY}"
        )
    return msgspec.structs.replace(source, url=url, forge_repository=name)


def _parts(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        # A port that is no number, and a host that no name server could know, are told only when they are asked for.
        _ = parts.port, (parts.hostname or "").encode("idna")
    except ValueError as error:
        raise InvalidBuildConfiguration(
            f"{url!r} is not an address: {error}", "use https://HOST/OWNER/NAME.git"
        ) from error
    return parts


def _check_secret(name: str, value: str) -> None:
    if not name.replace("_", "").replace("-", "").isalnum() or len(name) > 100 or not name.isascii():
        raise InvalidBuildConfiguration(f"{name[:100]!r} is not a name of a secret", "use letters, digits, '_' and '-'")
    if not value or len(value) > LARGEST_SECRET:
        raise InvalidBuildConfiguration(f"a secret has 1 to {LARGEST_SECRET} characters")
