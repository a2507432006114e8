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

from hythe.builds.errors import Conflict
from hythe.builds.forges.errors import ForgeError
from hythe.builds.forges.port import ForgeClient, ForgeRepository
from hythe.builds.links import Links
from hythe.builds.rounds import repeat
from hythe.builds.setup import Changes, Setup
from hythe.builds.setups import SetupService
from hythe.builds.store import forge_deliveries
from hythe.builds.store import forge_hooks as rows
from hythe.builds.store.forge_hooks import ForgeHook
from hythe.builds.vault import Vault
from hythe.database import Database, Session
from hythe.hub.actor import HubActor
from hythe.hub.errors import HubError, Invalid, NotFound
from hythe.hub.namespaces import short_name
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
    trouble: str
    by_link: bool


class Removed(msgspec.Struct, frozen=True):
    """What was removed at the forge, and what could not be, each in a sentence."""

    removed: tuple[str, ...] = ()
    left: tuple[str, ...] = ()


class ForgeHooks:
    """What can be done with the webhooks of set-ups."""

    def __init__(
        self, database: Database, vault: Vault, links: Links, setups: SetupService, clock: Clock, public_url: str
    ) -> None:
        self._database = database
        self._vault = vault
        self._links = links
        self._setups = setups
        self._clock = clock
        self._public_url = public_url.rstrip("/")

    async def install(self, actor: HubActor, repository: str, hub_url: str) -> ShownHook:
        """Have the forge tell about pushes, and let builds read private code; done before: what is missing is tried.

        ``hub_url`` is how the asker reaches the hub; the setting ``public_url`` wins. What the link may not do is
        shown for pasting. Raises NotFound, SignInNeeded, Refused, Conflict, Invalid.
        """
        setup = await self._setups.managed(actor, repository)
        if setup.source.link_id is not None:
            await self._links.get(actor, setup.source.link_id)
        hook, secret = await self._row(setup, _checked_url(self._public_url or hub_url))
        if setup.source.link_id is None:
            hook = await self._with_key(actor, setup, hook, None)
        else:
            try:
                async with self._links.using(setup.source.link_id) as client:
                    found = await client.repository(setup.source.forge_repository)
                    hook = await self._with_key(actor, setup, hook, found)
                    await self._install(client, hook, secret)
            except ForgeError as error:
                await self._change(hook.id, trouble=str(error)[:500])
        return await self.shown(actor, repository)

    async def _row(self, setup: Setup, hub_url: str) -> tuple[ForgeHook, str]:
        hook = ForgeHook(
            id=secrets.token_urlsafe(18),
            setup_id=setup.id,
            link_id=setup.source.link_id,
            forge_repository=setup.source.forge_repository,
            hub_url=hub_url,
            hook_id="",
            public_key="",
            key_id="",
            trouble="",
            attempts=0,
            created_at=self._clock(),
        )
        async with self._database.writing() as session:
            await _let_go(session, setup)
            await rows.add(session, hook, self._vault.seal(SECRET, secrets.token_urlsafe(32)))
            found = await rows.by_setup(session, setup.id)
            if found is None:
                raise Conflict("this set-up was removed meanwhile")
            if found[0].link_id is None and setup.source.link_id is not None:
                await rows.change(session, found[0].id, link_id=setup.source.link_id)
        return found[0], self._vault.unseal(SECRET, found[1])

    async def _with_key(
        self, actor: HubActor, setup: Setup, hook: ForgeHook, found: ForgeRepository | None
    ) -> ForgeHook:
        """Make a key for a source that needs one: private code at a forge, or an address of SSH."""
        address = (found.ssh_url if found.private else "") if found else setup.source.url
        if (hook.public_key and setup.has_credentials) or urlsplit(_as_url(address)).scheme != "ssh":
            return hook
        private_key, public_key = new_key(f"hythe {short_name(setup.repository)}")
        source = msgspec.structs.replace(setup.source, url=address)
        await self._setups.change(actor, setup.repository, Changes(source=source, credentials=private_key))
        await self._change(hook.id, public_key=public_key)
        return msgspec.structs.replace(hook, public_key=public_key)

    async def _install(self, client: ForgeClient, hook: ForgeHook, secret: str) -> None:
        troubles: list[str] = []
        if not hook.hook_id:
            try:
                made = await client.add_hook(hook.forge_repository, hook.url, secret)
                await self._change(hook.id, hook_id=made)
            except ForgeError as error:
                troubles.append(f"the webhook: {error}")
        if hook.public_key and not hook.key_id:
            try:
                made = await client.add_key(hook.forge_repository, f"hythe ({hook.hub_url})", hook.public_key)
                await self._change(hook.id, key_id=made)
            except ForgeError as error:
                troubles.append(f"the deploy key: {error}")
        await self._change(hook.id, trouble="; ".join(troubles)[:500])

    async def _change(self, key: str, /, **values: str) -> None:
        async with self._database.writing() as session:
            await rows.change(session, key, **values)

    async def shown(self, actor: HubActor, repository: str) -> ShownHook:
        """Return the webhook of a set-up. Raises NotFound, SignInNeeded, Refused."""
        setup = await self._setups.managed(actor, repository)
        async with self._database.reading() as session:
            found = await rows.by_setup(session, setup.id)
        if found is None:
            raise NotFound(f"{short_name(repository)} has no webhook", "install it, or make one to paste")
        hook, sealed = found
        return ShownHook(
            url=hook.url,
            secret=self._vault.unseal(SECRET, sealed),
            forge_repository=hook.forge_repository,
            installed=bool(hook.hook_id),
            public_key=hook.public_key,
            key_installed=bool(hook.key_id),
            trouble=hook.trouble,
            by_link=hook.link_id is not None,
        )

    async def deliveries(self, actor: HubActor, repository: str) -> list[forge_deliveries.Received]:
        """Return the last deliveries of a set-up's webhook, the newest first."""
        setup = await self._setups.managed(actor, repository)
        async with self._database.reading() as session:
            found = await rows.by_setup(session, setup.id)
            return await forge_deliveries.listed(session, found[0].id) if found else []

    async def remove(self, actor: HubActor, repository: str) -> Removed:
        """Remove a set-up's webhook and deploy key, here and at the forge."""
        setup = await self._setups.managed(actor, repository)
        async with self._database.reading() as session:
            found = await rows.by_setup(session, setup.id)
        return await self._remove(found[0]) if found else Removed()

    async def remove_setup(self, actor: HubActor, repository: str) -> Removed:
        """Remove a set-up with its builds, then its webhook and deploy key, here and at the forge."""
        setup = await self._setups.managed(actor, repository)
        async with self._database.reading() as session:
            found = await rows.by_setup(session, setup.id)
        # The set-up first: that its builds are cancelled is told only while there is a webhook.
        await self._setups.remove(actor, repository)
        return await self._remove(found[0]) if found else Removed()

    async def unlink(self, actor: HubActor, link_id: int) -> Removed:
        """Unlink an account: every webhook and deploy key that it made goes, then its token."""
        link = await self._links.get(actor, link_id)
        async with self._database.reading() as session:
            hooks = await rows.by_link(session, link.id)
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

    async def _remove(self, hook: ForgeHook) -> Removed:
        """Remove both at the forge, and the row whatever came of it."""
        removed, left = await self._remove_at_forge(hook)
        async with self._database.writing() as session:
            await rows.remove(session, hook.id)
        return Removed(tuple(removed), tuple(left))

    async def _remove_at_forge(self, hook: ForgeHook) -> tuple[list[str], list[str]]:
        removed: list[str] = []
        left: list[str] = []
        there = _installed(hook)
        if hook.link_id is None:
            return [], list(there.values())
        for what, sentence in there.items():
            try:
                async with self._links.using(hook.link_id) as client:
                    remove = client.remove_hook if what == "hook" else client.remove_key
                    await remove(hook.forge_repository, hook.hook_id if what == "hook" else hook.key_id)
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
            if left and hook.link_id is not None and hook.attempts < MOST_ATTEMPTS:
                due_at = now + timedelta(seconds=30 * 2**hook.attempts)
                async with self._database.writing() as session:
                    await rows.change(session, hook.id, attempts=hook.attempts + 1, due_at=due_at)
                continue
            for sentence in left:
                _LOG.warning("a forge keeps what it should not", left=sentence)
            async with self._database.writing() as session:
                await rows.remove(session, hook.id)
        return len(orphans)


async def _let_go(session: Session, setup: Setup) -> None:
    """Leave a webhook of where the source was before to ``clean``: the present source needs one of its own."""
    found = await rows.by_setup(session, setup.id)
    if found is None:
        return
    hook, source = found[0], setup.source
    same_link = hook.link_id is None or hook.link_id == source.link_id
    # The key's other half went with the source's host: the public one opens nothing any more.
    keyless = bool(hook.public_key) and not setup.has_credentials
    if hook.forge_repository != source.forge_repository or not same_link or keyless:
        await rows.change(session, hook.id, setup_id=None)


def _installed(hook: ForgeHook) -> dict[str, str]:
    there = {}
    if hook.hook_id:
        there["hook"] = f"the webhook of {hook.forge_repository}"
    if hook.key_id:
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
