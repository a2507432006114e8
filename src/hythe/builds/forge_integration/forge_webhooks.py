"""Webhooks and deploy keys at forges: installed if the linked account's permissions allow it, else shown to paste.

The row of a webhook outlives its build configuration and repository: ``remove_orphans`` retries to remove the webhook
at the forge.
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
from hythe.builds.forge_integration.errors import ForgeRequestFailed
from hythe.builds.forge_integration.linked_accounts import LinkedAccountService
from hythe.builds.sql import forge_deliveries as delivery_rows
from hythe.builds.sql import forge_webhooks as rows
from hythe.builds.sql.forge_deliveries import ForgeDelivery
from hythe.builds.sql.forge_webhooks import ForgeWebhook
from hythe.database import Database, Session
from hythe.forges.errors import ForgeError
from hythe.forges.port import ForgeClient, ForgeRepository
from hythe.hub.access.actions import HubAction
from hythe.hub.accounts.namespaces import short_name
from hythe.hub.actor import HubActor
from hythe.hub.errors import HubError, Invalid, NotFound
from hythe.hub.logs import audit
from hythe.hub.secret_box import SecretBox
from hythe.periodic import repeat
from hythe.registry.clock import Clock

SECRET_PURPOSE = "webhook secret"  # noqa: S105 (the name of a purpose)
POLL_INTERVAL = 5.0
"""Seconds between two queries for orphaned webhooks."""
MAX_ATTEMPTS = 12
MAX_URL_LENGTH = 255
MAX_PROBLEM_LENGTH = 500
_LOG = structlog.get_logger()


class ForgeWebhookReply(msgspec.Struct, frozen=True, kw_only=True):
    """A webhook with its deploy key: what is installed, and the values to paste at the forge."""

    url: str
    secret: str
    forge_repository: str
    installed: bool
    public_key: str
    key_installed: bool
    problem: str
    by_linked_account: bool


class RemovalReport(msgspec.Struct, frozen=True):
    """What was removed at the forge, and what could not be removed, with the reason."""

    removed: tuple[str, ...] = ()
    remaining: tuple[str, ...] = ()


class ForgeWebhookService:
    """Installs, shows and removes the webhooks of build configurations."""

    def __init__(
        self,
        database: Database,
        secret_box: SecretBox,
        linked_accounts: LinkedAccountService,
        configurations: BuildConfigurationService,
        clock: Clock,
        public_url: str,
    ) -> None:
        self._database = database
        self._secret_box = secret_box
        self._linked_accounts = linked_accounts
        self._configurations = configurations
        self._clock = clock
        self._public_url = public_url.rstrip("/")

    async def install(self, actor: HubActor, repository: str, hub_url: str) -> ForgeWebhookReply:
        """Install the webhook and, for private code, a deploy key. If they exist, only what is missing is installed.

        ``hub_url`` is the hub's URL in the caller's request; the setting ``public_url`` overrides it. Without enough
        permissions, the reply has the values to paste. Raises NotFound, SignInNeeded, Refused, BuildConflict, Invalid.
        """
        configuration = await self._configurations.managed(actor, repository, HubAction.CONFIGURE_BUILDS)
        linked_account_id = configuration.source.linked_account_id
        if linked_account_id is not None:
            await self._linked_accounts.get(actor, linked_account_id)
        webhook, secret = await self._webhook_row(actor, configuration, _validated_url(self._public_url or hub_url))
        if linked_account_id is None:
            await self._with_deploy_key(actor, configuration, webhook, None)
        else:
            try:
                async with self._linked_accounts.client_of(linked_account_id) as client:
                    found = await client.repository(configuration.source.forge_repository)
                    webhook = await self._with_deploy_key(actor, configuration, webhook, found)
                    await self._install_at_forge(client, webhook, secret)
            except ForgeRequestFailed as error:
                await self._change(webhook.id, problem=str(error)[:MAX_PROBLEM_LENGTH])
        return await self.get(actor, repository)

    async def _webhook_row(
        self, actor: HubActor, configuration: BuildConfiguration, hub_url: str
    ) -> tuple[ForgeWebhook, str]:
        """Return the configuration's webhook with its secret; create it if necessary."""
        source = configuration.source
        webhook = ForgeWebhook(
            id=secrets.token_urlsafe(18),
            configuration_id=configuration.id,
            linked_account_id=source.linked_account_id,
            forge_repository=source.forge_repository,
            hub_url=hub_url,
            remote_webhook_id="",
            public_key="",
            remote_key_id="",
            problem="",
            attempts=0,
            created_at=self._clock(),
        )
        async with self._database.writing() as session:
            await _orphan_outdated(session, configuration)
            await rows.add(session, webhook, self._secret_box.seal(SECRET_PURPOSE, secrets.token_urlsafe(32)))
            found = await rows.by_configuration(session, configuration.id)
            if found is None:
                raise BuildConflict("the build configuration was deleted")
            if found[0].linked_account_id is None and source.linked_account_id is not None:
                await rows.change(session, found[0].id, linked_account_id=source.linked_account_id)
            await audit.record_repository(
                session,
                actor,
                HubAction.CONFIGURE_BUILDS,
                configuration.repository,
                forge_webhook="installed",
                at=self._clock(),
            )
        return found[0], self._secret_box.unseal(SECRET_PURPOSE, found[1])

    async def _with_deploy_key(
        self,
        actor: HubActor,
        configuration: BuildConfiguration,
        webhook: ForgeWebhook,
        repository: ForgeRepository | None,
    ) -> ForgeWebhook:
        """Create a key pair if the source needs one: private code at a forge, or an SSH URL."""
        url = (repository.ssh_url if repository.private else "") if repository else configuration.source.url
        if (webhook.public_key and configuration.has_credentials) or urlsplit(_as_url(url)).scheme != "ssh":
            return webhook
        private_key, public_key = new_key_pair(f"hythe {short_name(configuration.repository)}")
        source = msgspec.structs.replace(configuration.source, url=url)
        await self._configurations.change(
            actor, configuration.repository, ConfigurationChanges(source=source, credentials=private_key)
        )
        await self._change(webhook.id, public_key=public_key)
        return msgspec.structs.replace(webhook, public_key=public_key)

    async def _install_at_forge(self, client: ForgeClient, webhook: ForgeWebhook, secret: str) -> None:
        problems: list[str] = []
        if not webhook.remote_webhook_id:
            try:
                remote_id = await client.add_webhook(webhook.forge_repository, webhook.url, secret)
                await self._change(webhook.id, remote_webhook_id=remote_id)
            except ForgeError as error:
                problems.append(f"the webhook: {error}")
        if webhook.public_key and not webhook.remote_key_id:
            title = f"hythe ({webhook.hub_url})"
            try:
                remote_id = await client.add_deploy_key(webhook.forge_repository, title, webhook.public_key)
                await self._change(webhook.id, remote_key_id=remote_id)
            except ForgeError as error:
                problems.append(f"the deploy key: {error}")
        await self._change(webhook.id, problem="; ".join(problems)[:MAX_PROBLEM_LENGTH])

    async def _change(self, forge_webhook_id: str, /, **values: str) -> None:
        async with self._database.writing() as session:
            await rows.change(session, forge_webhook_id, **values)

    async def get(self, actor: HubActor, repository: str) -> ForgeWebhookReply:
        """Return the webhook of a build configuration. Raises NotFound, SignInNeeded, Refused."""
        found = await self._managed(actor, repository, HubAction.VIEW_BUILD_SETTINGS)
        if found is None:
            raise NotFound(f"{short_name(repository)} has no webhook", "install it, or create one to paste")
        webhook, sealed = found
        return ForgeWebhookReply(
            url=webhook.url,
            secret=self._secret_box.unseal(SECRET_PURPOSE, sealed),
            forge_repository=webhook.forge_repository,
            installed=bool(webhook.remote_webhook_id),
            public_key=webhook.public_key,
            key_installed=bool(webhook.remote_key_id),
            problem=webhook.problem,
            by_linked_account=webhook.linked_account_id is not None,
        )

    async def list_deliveries(self, actor: HubActor, repository: str) -> list[ForgeDelivery]:
        """Return the recent deliveries of a build configuration's webhook, newest first."""
        found = await self._managed(actor, repository, HubAction.VIEW_BUILD_SETTINGS)
        if found is None:
            return []
        async with self._database.reading() as session:
            return await delivery_rows.list_recent(session, found[0].id)

    async def remove(self, actor: HubActor, repository: str) -> RemovalReport:
        """Remove a build configuration's webhook and deploy key, here and at the forge."""
        found = await self._managed(actor, repository, HubAction.CONFIGURE_BUILDS)
        if found is None:
            return RemovalReport()
        async with self._database.writing() as session:
            await audit.record_repository(
                session, actor, HubAction.CONFIGURE_BUILDS, repository, forge_webhook="removed", at=self._clock()
            )
        return await self._remove(found[0])

    async def delete_configuration(self, actor: HubActor, repository: str) -> RemovalReport:
        """Delete a build configuration with its builds, then remove its webhook and deploy key."""
        found = await self._managed(actor, repository, HubAction.CONFIGURE_BUILDS)
        # The configuration first: the commit statuses of its cancelled builds need the webhook's row.
        await self._configurations.remove(actor, repository)
        return await self._remove(found[0]) if found else RemovalReport()

    async def unlink(self, actor: HubActor, linked_account_id: int) -> RemovalReport:
        """Unlink an account: remove every webhook and deploy key that it installed, then revoke its token."""
        account = await self._linked_accounts.get(actor, linked_account_id)
        async with self._database.reading() as session:
            webhooks = await rows.by_linked_account(session, account.id)
        removed: list[str] = []
        remaining: list[str] = []
        for webhook in webhooks:
            report = await self._remove(webhook)
            removed += report.removed
            remaining += report.remaining
        token = await self._linked_accounts.delete(account, actor)
        if token:
            remaining.append(token)
        else:
            removed.append(f"the token of {account.login}")
        return RemovalReport(tuple(removed), tuple(remaining))

    async def _managed(self, actor: HubActor, repository: str, action: HubAction) -> tuple[ForgeWebhook, str] | None:
        """Return the webhook, with its sealed secret, of a build configuration that the actor can manage."""
        configuration = await self._configurations.managed(actor, repository, action)
        async with self._database.reading() as session:
            return await rows.by_configuration(session, configuration.id)

    async def _remove(self, webhook: ForgeWebhook) -> RemovalReport:
        """Remove the webhook and the key at the forge, and the row whether that succeeded or not."""
        report = await self._remove_at_forge(webhook)
        async with self._database.writing() as session:
            await rows.remove(session, webhook.id)
        return report

    async def _remove_at_forge(self, webhook: ForgeWebhook) -> RemovalReport:
        removed: list[str] = []
        remaining: list[str] = []
        repository = webhook.forge_repository
        for kind, remote_id in _installed(webhook).items():
            name = f"the {kind} of {repository}"
            if webhook.linked_account_id is None:
                remaining.append(name)
                continue
            try:
                async with self._linked_accounts.client_of(webhook.linked_account_id) as client:
                    remove = client.remove_webhook if kind == "webhook" else client.remove_deploy_key
                    await remove(repository, remote_id)
                removed.append(name)
            except HubError as error:
                remaining.append(f"{name}: {error}")
        return RemovalReport(tuple(removed), tuple(remaining))

    async def run(self) -> None:
        """Remove orphaned webhooks until cancelled."""
        await repeat(self.remove_orphans, POLL_INTERVAL, "orphaned webhooks")

    async def remove_orphans(self) -> int:
        """Remove due webhooks and keys whose build configuration was deleted; return how many were tried."""
        now = self._clock()
        async with self._database.reading() as session:
            orphans = await rows.orphans(session, now)
        for webhook in orphans:
            report = await self._remove_at_forge(webhook)
            if report.remaining and webhook.linked_account_id is not None and webhook.attempts < MAX_ATTEMPTS:
                due_at = now + timedelta(seconds=30 * 2**webhook.attempts)
                async with self._database.writing() as session:
                    await rows.change(session, webhook.id, attempts=webhook.attempts + 1, due_at=due_at)
                continue
            for name in report.remaining:
                _LOG.warning("could not remove from the forge", name=name)
            async with self._database.writing() as session:
                await rows.remove(session, webhook.id)
        return len(orphans)


async def _orphan_outdated(session: Session, configuration: BuildConfiguration) -> None:
    """Detach the webhook of a previous source: ``remove_orphans`` removes it, and the new source gets its own."""
    found = await rows.by_configuration(session, configuration.id)
    if found is None:
        return
    webhook, source = found[0], configuration.source
    same_account = webhook.linked_account_id is None or webhook.linked_account_id == source.linked_account_id
    # The private key was deleted when the source's host changed: the public key is useless.
    key_lost = bool(webhook.public_key) and not configuration.has_credentials
    if webhook.forge_repository != source.forge_repository or not same_account or key_lost:
        await rows.change(session, webhook.id, configuration_id=None)


def _installed(webhook: ForgeWebhook) -> dict[str, str]:
    """Return what is installed at the forge, with its id there."""
    ids = {"webhook": webhook.remote_webhook_id, "deploy key": webhook.remote_key_id}
    return {kind: remote_id for kind, remote_id in ids.items() if remote_id}


def _validated_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0 and url.isprintable()
    except ValueError:
        valid = False
    if not valid or len(url) > MAX_URL_LENGTH:
        raise Invalid({"hub_url": "must be the hub's URL as forges reach it, such as https://hub.example.com"})
    return url.rstrip("/")


def _as_url(address: str) -> str:
    """Return scp-like syntax (``git@host:path``) as a URL."""
    if "://" in address or "@" not in address:
        return address
    user_and_host, _, path = address.partition(":")
    return f"ssh://{user_and_host}/{path}"


def new_key_pair(comment: str) -> tuple[str, str]:
    """Return a new SSH key (Ed25519): the private key in OpenSSH's format, and the public key's line."""
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()
    public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    return private, f"{public} {comment}"
