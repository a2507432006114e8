"""Webhooks and deploy keys at forges: installed where the link's rights reach, shown for pasting where they do not.

A webhook's row outlives its set-up and repository: ``clean`` removes it at the forge, again and again until it is done
or hopeless.
"""

import secrets
from datetime import timedelta
from urllib.parse import urlsplit

import msgspec
import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from hythe.builds.configuration import BuildConfiguration, ConfigurationChanges
from hythe.builds.configurations import BuildConfigurationService
from hythe.builds.errors import BuildConflict
from hythe.builds.linked_accounts import LinkedAccounts
from hythe.builds.secret_box import SecretBox
from hythe.builds.sql import forge_deliveries
from hythe.builds.sql import forge_webhooks as rows
from hythe.builds.sql.forge_webhooks import ForgeWebhook
from hythe.database import Database, Session
from hythe.forges.errors import ForgeError
from hythe.forges.port import ForgeClient, ForgeRepository
from hythe.hub.actor import HubActor
from hythe.hub.errors import HubError, Invalid, NotFound
from hythe.hub.namespaces import short_name
from hythe.periodic import repeat
from hythe.registry.clock import Clock

SECRET = "webhook secret"  # noqa: S105 (the name of a purpose)
PAUSE = 5.0
"""Seconds between two looks for webhooks that nobody needs any more."""
MOST_ATTEMPTS = 12
LONGEST_URL = 255
_LOG = structlog.get_logger()


class ShownHook(msgspec.Struct, frozen=True, kw_only=True):
    """A webhook as its managers see it: what is installed, and what there is to paste where it is not."""

    url: str
    secret: str
    forge_repository: str
    installed: bool
    public_key: str
    key_installed: bool
    problem: str
    by_linked_account: bool


class Removed(msgspec.Struct, frozen=True):
    """What was removed at the forge, and what could not be, each in a sentence."""

    removed: tuple[str, ...] = ()
    left: tuple[str, ...] = ()


class ForgeWebhooks:
    """What can be done with the webhooks of set-ups."""

    def __init__(
        self,
        database: Database,
        secret_box: SecretBox,
        links: LinkedAccounts,
        configurations: BuildConfigurationService,
        clock: Clock,
        public_url: str,
    ) -> None:
        self._database = database
        self._secret_box = secret_box
        self._links = links
        self._configurations_with_names = configurations
        self._clock = clock
        self._public_url = public_url.rstrip("/")

    async def install(self, actor: HubActor, repository: str, hub_url: str) -> ShownHook:
        """Have the forge tell about pushes, and let builds read private code; done before: what is missing is tried.

        ``hub_url`` is how the asker reaches the hub; the setting ``public_url`` wins. What the link may not do is
        shown for pasting. Raises NotFound, SignInNeeded, Refused, Conflict, Invalid.
        """
        configuration = await self._configurations_with_names.managed(actor, repository)
        if configuration.source.linked_account_id is not None:
            await self._links.get(actor, configuration.source.linked_account_id)
        hook, secret = await self._row(configuration, _checked_url(self._public_url or hub_url))
        if configuration.source.linked_account_id is None:
            hook = await self._with_key(actor, configuration, hook, None)
        else:
            try:
                async with self._links.using(configuration.source.linked_account_id) as client:
                    found = await client.repository(configuration.source.forge_repository)
                    hook = await self._with_key(actor, configuration, hook, found)
                    await self._install(client, hook, secret)
            except ForgeError as error:
                await self._change(hook.id, problem=str(error)[:500])
        return await self.shown(actor, repository)

    async def _row(self, configuration: BuildConfiguration, hub_url: str) -> tuple[ForgeWebhook, str]:
        hook = ForgeWebhook(
            id=secrets.token_urlsafe(18),
            configuration_id=configuration.id,
            linked_account_id=configuration.source.linked_account_id,
            forge_repository=configuration.source.forge_repository,
            hub_url=hub_url,
            remote_webhook_id="",
            public_key="",
            remote_key_id="",
            problem="",
            attempts=0,
            created_at=self._clock(),
        )
        async with self._database.writing() as session:
            await _let_go(session, configuration)
            await rows.add(session, hook, self._secret_box.seal(SECRET, secrets.token_urlsafe(32)))
            found = await rows.by_configuration(session, configuration.id)
            if found is None:
                raise BuildConflict("this set-up was removed meanwhile")
            if found[0].linked_account_id is None and configuration.source.linked_account_id is not None:
                await rows.change(session, found[0].id, linked_account_id=configuration.source.linked_account_id)
        return found[0], self._secret_box.unseal(SECRET, found[1])

    async def _with_key(
        self, actor: HubActor, configuration: BuildConfiguration, hook: ForgeWebhook, found: ForgeRepository | None
    ) -> ForgeWebhook:
        """Make a key for a source that needs one: private code at a forge, or an address of SSH."""
        address = (found.ssh_url if found.private else "") if found else configuration.source.url
        if (hook.public_key and configuration.has_credentials) or urlsplit(_as_url(address)).scheme != "ssh":
            return hook
        private_key, public_key = new_key(f"hythe {short_name(configuration.repository)}")
        source = msgspec.structs.replace(configuration.source, url=address)
        await self._configurations_with_names.change(
            actor, configuration.repository, ConfigurationChanges(source=source, credentials=private_key)
        )
        await self._change(hook.id, public_key=public_key)
        return msgspec.structs.replace(hook, public_key=public_key)

    async def _install(self, client: ForgeClient, hook: ForgeWebhook, secret: str) -> None:
        problems: list[str] = []
        if not hook.remote_webhook_id:
            try:
                made = await client.add_hook(hook.forge_repository, hook.url, secret)
                await self._change(hook.id, remote_webhook_id=made)
            except ForgeError as error:
                problems.append(f"the webhook: {error}")
        if hook.public_key and not hook.remote_key_id:
            try:
                made = await client.add_key(hook.forge_repository, f"hythe ({hook.hub_url})", hook.public_key)
                await self._change(hook.id, remote_key_id=made)
            except ForgeError as error:
                problems.append(f"the deploy key: {error}")
        await self._change(hook.id, problem="; ".join(problems)[:500])

    async def _change(self, key: str, /, **values: str) -> None:
        async with self._database.writing() as session:
            await rows.change(session, key, **values)

    async def shown(self, actor: HubActor, repository: str) -> ShownHook:
        """Return the webhook of a set-up. Raises NotFound, SignInNeeded, Refused."""
        configuration = await self._configurations_with_names.managed(actor, repository)
        async with self._database.reading() as session:
            found = await rows.by_configuration(session, configuration.id)
        if found is None:
            raise NotFound(f"{short_name(repository)} has no webhook", "install it, or make one to paste")
        hook, sealed = found
        return ShownHook(
            url=hook.url,
            secret=self._secret_box.unseal(SECRET, sealed),
            forge_repository=hook.forge_repository,
            installed=bool(hook.remote_webhook_id),
            public_key=hook.public_key,
            key_installed=bool(hook.remote_key_id),
            problem=hook.problem,
            by_linked_account=hook.linked_account_id is not None,
        )

    async def deliveries(self, actor: HubActor, repository: str) -> list[forge_deliveries.Received]:
        """Return the last deliveries of a set-up's webhook, the newest first."""
        configuration = await self._configurations_with_names.managed(actor, repository)
        async with self._database.reading() as session:
            found = await rows.by_configuration(session, configuration.id)
            return await forge_deliveries.listed(session, found[0].id) if found else []

    async def remove(self, actor: HubActor, repository: str) -> Removed:
        """Remove a set-up's webhook and deploy key, here and at the forge."""
        configuration = await self._configurations_with_names.managed(actor, repository)
        async with self._database.reading() as session:
            found = await rows.by_configuration(session, configuration.id)
        return await self._remove(found[0]) if found else Removed()

    async def delete_configuration(self, actor: HubActor, repository: str) -> Removed:
        """Remove a set-up with its builds, then its webhook and deploy key, here and at the forge."""
        configuration = await self._configurations_with_names.managed(actor, repository)
        async with self._database.reading() as session:
            found = await rows.by_configuration(session, configuration.id)
        # The set-up first: that its builds are cancelled is told only while there is a webhook.
        await self._configurations_with_names.remove(actor, repository)
        return await self._remove(found[0]) if found else Removed()

    async def unlink(self, actor: HubActor, linked_account_id: int) -> Removed:
        """Unlink an account: every webhook and deploy key that it made goes, then its token."""
        link = await self._links.get(actor, linked_account_id)
        async with self._database.reading() as session:
            hooks = await rows.by_linked_account(session, link.id)
        done: list[str] = []
        left: list[str] = []
        for hook in hooks:
            removed = await self._remove(hook)
            done += removed.removed
            left += removed.left
        token = await self._links.forget(link)
        if token:
            left.append(token)
        else:
            done.append(f"the token of {link.login}")
        return Removed(tuple(done), tuple(left))

    async def _remove(self, hook: ForgeWebhook) -> Removed:
        """Remove both at the forge, and the row whatever came of it."""
        removed, left = await self._remove_at_forge(hook)
        async with self._database.writing() as session:
            await rows.remove(session, hook.id)
        return Removed(tuple(removed), tuple(left))

    async def _remove_at_forge(self, hook: ForgeWebhook) -> tuple[list[str], list[str]]:
        removed: list[str] = []
        left: list[str] = []
        there = _installed(hook)
        if hook.linked_account_id is None:
            return [], list(there.values())
        for what, sentence in there.items():
            try:
                async with self._links.using(hook.linked_account_id) as client:
                    remove = client.remove_hook if what == "hook" else client.remove_key
                    await remove(
                        hook.forge_repository, hook.remote_webhook_id if what == "hook" else hook.remote_key_id
                    )
                removed.append(sentence)
            except HubError as error:
                left.append(f"{sentence}: {error}")
        return removed, left

    async def run(self) -> None:
        """Clean up from time to time, for ever."""
        await repeat(self.clean, PAUSE, "webhooks without a set-up")

    async def clean(self) -> int:
        """Remove webhooks and keys whose set-up is gone; returns how many were looked at."""
        now = self._clock()
        async with self._database.reading() as session:
            orphans = await rows.orphans(session, now)
        for hook in orphans:
            _, left = await self._remove_at_forge(hook)
            if left and hook.linked_account_id is not None and hook.attempts < MOST_ATTEMPTS:
                due_at = now + timedelta(seconds=30 * 2**hook.attempts)
                async with self._database.writing() as session:
                    await rows.change(session, hook.id, attempts=hook.attempts + 1, due_at=due_at)
                continue
            for sentence in left:
                _LOG.warning("a forge keeps what it should not", left=sentence)
            async with self._database.writing() as session:
                await rows.remove(session, hook.id)
        return len(orphans)


async def _let_go(session: Session, configuration: BuildConfiguration) -> None:
    """Leave a webhook of where the source was before to ``clean``: the present source needs one of its own."""
    found = await rows.by_configuration(session, configuration.id)
    if found is None:
        return
    hook, source = found[0], configuration.source
    same_link = hook.linked_account_id is None or hook.linked_account_id == source.linked_account_id
    # The key's other half went with the source's host: the public one opens nothing any more.
    keyless = bool(hook.public_key) and not configuration.has_credentials
    if hook.forge_repository != source.forge_repository or not same_link or keyless:
        await rows.change(session, hook.id, configuration_id=None)


def _installed(hook: ForgeWebhook) -> dict[str, str]:
    there = {}
    if hook.remote_webhook_id:
        there["hook"] = f"the webhook of {hook.forge_repository}"
    if hook.remote_key_id:
        there["key"] = f"the deploy key of {hook.forge_repository}"
    return there


def _checked_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        fine = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0 and url.isprintable()
    except ValueError:
        fine = False
    if not fine or len(url) > LONGEST_URL:
        raise Invalid({"hub_url": "is how forges reach this hub, such as https://hub.example.com"})
    return url.rstrip("/")


def _as_url(address: str) -> str:
    """Return scp's short form (``git@host:path``) as an address."""
    if "://" in address or "@" not in address:
        return address
    user_and_host, _, path = address.partition(":")
    return f"ssh://{user_and_host}/{path}"


def new_key(comment: str) -> tuple[str, str]:
    """Return a new SSH key (Ed25519): the private half in OpenSSH's form, and the line of the public one."""
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()
    public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    return private, f"{public} {comment}"
