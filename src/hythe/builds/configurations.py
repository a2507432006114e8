"""Build configurations: users who can manage a repository create, change, disable and delete them."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import UTC, datetime
from urllib.parse import SplitResult, urlsplit

import msgspec
from sqlalchemy.exc import IntegrityError

from hythe.builds.configuration import (
    MAX_REPOSITORY_LENGTH,
    BuildConfiguration,
    BuildSource,
    ConfigurationChanges,
    NewBuildConfiguration,
    Options,
)
from hythe.builds.errors import BuildConflict, InvalidBuildConfiguration
from hythe.builds.events import BuildListener
from hythe.builds.queue import BuildQueue
from hythe.builds.rules import Rule, RulePreview, check_rule, preview, without_values
from hythe.builds.sql import configurations as rows
from hythe.builds.sql import deletions, forge_statuses
from hythe.builds.sql import linked_accounts as links
from hythe.builds.triggers.schedule import next_due
from hythe.database import Database, Session
from hythe.forges.adapters import source_kinds
from hythe.forges.source_ref import GIT, SourceRef, SourceType
from hythe.hub.access.actions import HubAction
from hythe.hub.access.decision import HubAccess
from hythe.hub.accounts.namespaces import namespace_of, short_name
from hythe.hub.actor import HubActor
from hythe.hub.errors import Invalid, NotFound
from hythe.hub.logs import audit
from hythe.hub.secret_box import SecretBox
from hythe.registry.sql import deletions as registry_deletions

FALLBACK_BRANCH = "main"
MAX_RULES = 50
MAX_SECRETS = 50
MAX_SECRET_LENGTH = 64 * 1024
STATUS_TIMEOUT = 5.0
"""How long deleting a configuration waits until the forge has received the last commit statuses, in seconds."""
CREDENTIALS = "source credentials"
TRIGGER_TOKEN = "trigger token"  # noqa: S105 (the name of a purpose)
BUILD_SECRET = "build secret"  # noqa: S105 (the name of a purpose)
_SCHEMES = ("http", "https", "ssh", "git")


class BuildConfigurationService:
    """What users can do with build configurations. Calls raise NotFound, SignInNeeded or Refused by ``hub.access``."""

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
        """Validate a new configuration as ``create`` does, without a request to the source."""
        branch = new.source.default_branch or FALLBACK_BRANCH
        checked = _validated(msgspec.structs.replace(new, source=_with_branch(new.source, branch)))
        async with self._database.reading() as session:
            await _require_linked_account(session, actor, checked.source)

    async def create(self, actor: HubActor, repository: str, new: NewBuildConfiguration) -> BuildConfiguration:
        """Create a configuration for an existing repository.

        Raises InvalidBuildConfiguration, Invalid, and BuildConflict if the repository has one.
        """
        if not new.source.default_branch:
            await self._access.require_repository(actor, repository, HubAction.CONFIGURE_BUILDS)
            new = msgspec.structs.replace(new, source=await self._with_default_branch(new.source))
        checked = _validated(new)
        now = datetime.now(UTC)
        sealed = self._secret_box.seal(CREDENTIALS, new.credentials) if new.credentials else None
        token = self._secret_box.seal(TRIGGER_TOKEN, secrets.token_urlsafe(24))
        try:
            async with self._database.writing() as session:
                context = await self._access.require_repository(actor, repository, HubAction.CONFIGURE_BUILDS, session)
                if context.repository_id is None:
                    raise NotFound(f"repository {short_name(repository)!r} not found")
                await _require_linked_account(session, actor, checked.source)
                account = namespace_of(repository)
                configuration_id = await rows.add(
                    session, context.repository_id, account, checked, sealed, token, actor.name, now
                )
                await rows.set_due(session, configuration_id, next_due(checked.options.schedule, now))
                for name, value in new.secrets.items():
                    await rows.set_secret(session, configuration_id, name, self._secret_box.seal(BUILD_SECRET, value))
                await audit.record_repository(
                    session,
                    actor,
                    HubAction.CONFIGURE_BUILDS,
                    repository,
                    at=now,
                    change="created",
                    source=checked.source.url,
                )
                return await _by_id(session, configuration_id)
        except IntegrityError as error:
            raise BuildConflict(
                f"{short_name(repository)} already has Trusted Builds", "change its build configuration"
            ) from error

    async def get(self, actor: HubActor, repository: str) -> BuildConfiguration:
        """Return the configuration of a repository that the actor can read.

        Only who may write to it sees the values of build arguments.
        """
        async with self._database.reading() as session:
            found = await self._allowed(session, actor, repository, HubAction.VIEW_REPOSITORY)
            return (
                found
                if await self._access.may(actor, repository, HubAction.VIEW_BUILD_VALUES, session)
                else _without_values(found)
            )

    async def exists(self, actor: HubActor, repository: str) -> bool:
        """Whether the repository has a configuration that the actor can read."""
        try:
            await self.get(actor, repository)
        except NotFound:
            return False
        return True

    async def managed(
        self, actor: HubActor, repository: str, action: HubAction = HubAction.VIEW_BUILD_SETTINGS
    ) -> BuildConfiguration:
        """Return the configuration of a repository that the actor can manage."""
        async with self._database.reading() as session:
            return await self._allowed(session, actor, repository, action)

    async def of_account(self, actor: HubActor, account: str) -> list[BuildConfiguration]:
        """Return the configurations of a namespace that the actor can read, without the values of build arguments."""
        async with self._database.reading() as session:
            found = await rows.of_account(session, account)
        visible = await self._access.visible(actor, [configuration.repository for configuration in found])
        return [_without_values(configuration) for configuration in found if configuration.repository in visible]

    async def change(self, actor: HubActor, repository: str, changes: ConfigurationChanges) -> BuildConfiguration:
        """Change a configuration. A disabled one keeps everything, and nothing triggers its builds.

        Raises InvalidBuildConfiguration, Invalid.
        """
        if changes.source is not None and not changes.source.default_branch:
            await self._access.require_repository(actor, repository, HubAction.CONFIGURE_BUILDS)
            changes = msgspec.structs.replace(changes, source=await self._with_default_branch(changes.source))
        async with self._database.writing() as session:
            configuration = await self._allowed(session, actor, repository, HubAction.CONFIGURE_BUILDS)
            checked = _without_old_credentials(
                configuration.source, _validated_changes(changes, configuration.source.default_branch)
            )
            if (
                checked.source is not None
                and checked.source.linked_account_id != configuration.source.linked_account_id
            ):
                await _require_linked_account(session, actor, checked.source)
            sealed = self._secret_box.seal(CREDENTIALS, checked.credentials) if checked.credentials else None
            await rows.change(session, configuration.id, checked, sealed)
            changed = await _by_id(session, configuration.id)
            due = next_due(changed.options.schedule, datetime.now(UTC)) if changed.active else None
            await rows.set_due(session, configuration.id, due)
            fields = " ".join(field for field, value in msgspec.structs.asdict(changes).items() if value is not None)
            await audit.record_repository(
                session, actor, HubAction.CONFIGURE_BUILDS, repository, change=fields, at=datetime.now(UTC)
            )
            if changes.active is False:
                await self._queue.cancel_all(session, configuration.id, actor.name)
            return changed

    async def _with_default_branch(self, source: BuildSource) -> BuildSource:
        """Return the source with its default branch. Raises InvalidBuildConfiguration if the URL is invalid."""
        branch = await self._default_branch(validated_source(source).url)
        return _with_branch(source, branch or FALLBACK_BRANCH)

    async def remove(self, actor: HubActor, repository: str) -> BuildConfiguration:
        """Delete a configuration with its builds, and return it. The images stay, and users can push again.

        Unfinished builds are cancelled first, and their commit statuses sent: deleting the builds deletes the outbox.
        The registry deletes the builds in steps, as those of a deleted repository.
        """
        async with self._database.writing() as session:
            configuration = await self._allowed(session, actor, repository, HubAction.CONFIGURE_BUILDS)
            await rows.change(session, configuration.id, ConfigurationChanges(active=False), None)
            await self._queue.end_all(session, configuration.id, actor.name)
            await audit.record_repository(
                session, actor, HubAction.CONFIGURE_BUILDS, repository, change="deleted", at=datetime.now(UTC)
            )
        await self._wait_for_statuses(configuration.id)
        async with self._database.writing() as session:
            deleted_id = await registry_deletions.add_deleted(session, configuration.repository, datetime.now(UTC))
            await deletions.move(session, configuration.id, deleted_id)
            await deletions.stop(session, configuration.id)
            for listener in self._listeners:
                await listener.configuration_removed(session, configuration, deleted_id)
        return configuration

    async def _wait_for_statuses(self, configuration_id: int) -> None:
        """Wait until the commit statuses of the configuration's builds were sent once, for a limited time."""
        give_up = asyncio.get_running_loop().time() + STATUS_TIMEOUT
        while asyncio.get_running_loop().time() < give_up:
            async with self._database.reading() as session:
                if not await forge_statuses.has_unsent(session, configuration_id):
                    return
            await asyncio.sleep(0.1)

    async def preview(self, actor: HubActor, rules: Iterable[Rule], refs: Iterable[SourceRef]) -> list[RulePreview]:
        """Return what these rules would build. Raises InvalidBuildConfiguration."""
        return preview([check_rule(rule) for rule in rules], refs)

    async def set_secret(self, actor: HubActor, repository: str, name: str, value: str) -> None:
        """Set a build secret. Raises InvalidBuildConfiguration."""
        _check_secret(name, value)
        async with self._database.writing() as session:
            configuration = await self._allowed(session, actor, repository, HubAction.CONFIGURE_BUILDS)
            if len((await rows.secrets(session, configuration.id)).keys() - {name}) >= MAX_SECRETS:
                raise _too_many_secrets()
            await rows.set_secret(session, configuration.id, name, self._secret_box.seal(BUILD_SECRET, value))
            await audit.record_repository(
                session, actor, HubAction.CONFIGURE_BUILDS, repository, secret=name, at=datetime.now(UTC)
            )

    async def remove_secret(self, actor: HubActor, repository: str, name: str) -> None:
        """Delete a build secret. Raises NotFound."""
        async with self._database.writing() as session:
            configuration = await self._allowed(session, actor, repository, HubAction.CONFIGURE_BUILDS)
            if not await rows.remove_secret(session, configuration.id, name):
                raise NotFound(f"secret {name[:100]!r} not found")
            await audit.record_repository(
                session, actor, HubAction.CONFIGURE_BUILDS, repository, removed_secret=name, at=datetime.now(UTC)
            )

    async def secret_names(self, actor: HubActor, repository: str) -> list[str]:
        """Return the names of the build secrets; their values are never returned."""
        async with self._database.reading() as session:
            configuration = await self._allowed(session, actor, repository, HubAction.VIEW_BUILD_SETTINGS)
            return sorted(await rows.secrets(session, configuration.id))

    async def _allowed(
        self, session: Session, actor: HubActor, repository: str, action: HubAction
    ) -> BuildConfiguration:
        await self._access.require_repository(actor, repository, action, session)
        configuration = await rows.by_repository(session, repository)
        if configuration is None:
            raise NotFound(f"{short_name(repository)} has no Trusted Builds", "create a build configuration first")
        return configuration


def _without_values(configuration: BuildConfiguration) -> BuildConfiguration:
    return msgspec.structs.replace(configuration, rules=tuple(map(without_values, configuration.rules)))


async def _by_id(session: Session, configuration_id: int) -> BuildConfiguration:
    configuration = await rows.by_id(session, configuration_id)
    if configuration is None:
        raise NotFound("this build configuration was deleted")
    return configuration


async def _require_linked_account(session: Session, actor: HubActor, source: BuildSource) -> None:
    """Raise Invalid if the source names a linked account that does not belong to the actor."""
    if (
        source.linked_account_id is not None
        and await links.get_own(session, source.linked_account_id, actor.user_id) is None
    ):
        raise Invalid({"linked_account_id": "is not one of your linked accounts"})


def _without_old_credentials(present: BuildSource, changes: ConfigurationChanges) -> ConfigurationChanges:
    """Delete the credentials of a source that moves to another host, unless the change has new ones."""
    if changes.source is None or changes.credentials is not None or _host(changes.source) == _host(present):
        return changes
    return msgspec.structs.replace(changes, credentials="")


def _host(source: BuildSource) -> tuple[str, str, int | None]:
    parts = urlsplit(source.url)
    return parts.scheme, parts.hostname or "", parts.port


def _with_branch(source: BuildSource, branch: str) -> BuildSource:
    return msgspec.structs.replace(source, default_branch=branch)


def _validated(new: NewBuildConfiguration) -> NewBuildConfiguration:
    source = validated_source(new.source)
    if len(new.secrets) > MAX_SECRETS:
        raise _too_many_secrets()
    for name, value in new.secrets.items():
        _check_secret(name, value)
    rules = _validated_rules(new.rules or (Rule(),), source.default_branch)
    return msgspec.structs.replace(new, source=source, rules=rules, options=_validated_options(new.options))


def _validated_changes(changes: ConfigurationChanges, default_branch: str) -> ConfigurationChanges:
    checked = changes
    branch = changes.source.default_branch if changes.source is not None else default_branch
    if changes.source is not None:
        checked = msgspec.structs.replace(checked, source=validated_source(changes.source))
    if changes.rules is not None:
        checked = msgspec.structs.replace(checked, rules=_validated_rules(changes.rules, branch))
    if changes.options is not None:
        checked = msgspec.structs.replace(checked, options=_validated_options(changes.options))
    return checked


def _validated_rules(rules: tuple[Rule, ...], default_branch: str) -> tuple[Rule, ...]:
    if not 1 <= len(rules) <= MAX_RULES:
        raise InvalidBuildConfiguration(f"a build configuration has 1 to {MAX_RULES} rules")
    kept = [rule.id for rule in rules if rule.id]
    if twice := next((each for each in kept if kept.count(each) > 1), None):
        raise InvalidBuildConfiguration(f"duplicate rule id {twice}", "omit the id of a new rule")
    return tuple(check_rule(_with_source(rule, default_branch)) for rule in rules)


def _with_source(rule: Rule, default_branch: str) -> Rule:
    if rule.source or rule.source_type is not SourceType.BRANCH:
        return rule
    return msgspec.structs.replace(rule, source=default_branch)


def _validated_options(options: Options) -> Options:
    next_due(options.schedule, datetime.now(UTC))
    return options


def validated_source(source: BuildSource) -> BuildSource:
    """Accept http(s), ssh and git URLs, and scp's short form, but nothing that git would run or read from disk."""
    url = source.url.strip()
    if "://" not in url and "@" in url and ":" in url:
        user_and_host, _, path = url.partition(":")
        url = f"ssh://{user_and_host}/{path}"
    parts = _parts(url)
    names = (parts.username or "", parts.hostname or "")
    # Refuse what git or ssh would take for an option, and what would end a line in a log.
    unsafe = " " in url or not url.isprintable() or any(name.startswith("-") for name in names)
    if parts.scheme not in _SCHEMES or not parts.hostname or unsafe:
        raise InvalidBuildConfiguration(
            f"{url!r} is not a git URL", "use https://HOST/OWNER/NAME.git or ssh://USER@HOST/PATH"
        )
    if parts.password:
        raise InvalidBuildConfiguration("the URL contains a password", "set it as credentials, which are stored sealed")
    name = source.forge_repository or parts.path.strip("/").removesuffix(".git")
    if source.forge not in source_kinds():
        raise Invalid({"forge": f"must be one of {', '.join(source_kinds())}"})
    if source.forge != GIT and name.count("/") < 1:
        raise InvalidBuildConfiguration(f"{name!r} is not a repository of {source.forge}", "use OWNER/NAME")
    if len(name) > MAX_REPOSITORY_LENGTH:
        raise InvalidBuildConfiguration(
            f"the path of the URL has {len(name)} characters", f"use at most {MAX_REPOSITORY_LENGTH}"
        )
    return msgspec.structs.replace(source, url=url, forge_repository=name)


def _parts(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        # urlsplit validates the port and the host name only on access.
        _ = parts.port, (parts.hostname or "").encode("idna")
    except ValueError as error:
        raise InvalidBuildConfiguration(f"{url!r} is not a URL: {error}", "use https://HOST/OWNER/NAME.git") from error
    return parts


def _too_many_secrets() -> InvalidBuildConfiguration:
    return InvalidBuildConfiguration(
        f"a build configuration has at most {MAX_SECRETS} secrets", "delete one that is not used"
    )


def _check_secret(name: str, value: str) -> None:
    if not name.replace("_", "").replace("-", "").isalnum() or len(name) > 100 or not name.isascii():
        raise InvalidBuildConfiguration(f"{name[:100]!r} is not a secret name", "use letters, digits, '_' and '-'")
    if not value or len(value) > MAX_SECRET_LENGTH:
        raise InvalidBuildConfiguration(f"a secret has 1 to {MAX_SECRET_LENGTH} characters")
