"""Wires all services of the hub to one database."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

from argon2 import PasswordHasher

from hythe.database import Database
from hythe.hub.access import HubAccess
from hythe.hub.account_events import AccountListener
from hythe.hub.account_throttle import AccountThrottle
from hythe.hub.credentials import CredentialService
from hythe.hub.descriptions import Descriptions
from hythe.hub.images import ImageService
from hythe.hub.keys import SigningKeys, open_secret_box
from hythe.hub.login_throttle import LoginThrottle
from hythe.hub.passwords import DEFAULT_HASHER, Passwords
from hythe.hub.personal_tokens import PersonalTokenService
from hythe.hub.plan import Plan
from hythe.hub.platforms import Platforms
from hythe.hub.pulls import PullCounter
from hythe.hub.registry_listener import HubRegistryListener
from hythe.hub.repositories import RepositoryService
from hythe.hub.search import SearchService
from hythe.hub.search_index import SearchIndex
from hythe.hub.secret_box import SecretBox, SecretBoxError
from hythe.hub.sessions import SessionService
from hythe.hub.sign_ups import SignUpLimit
from hythe.hub.sql.search_postgresql import PostgreSQLSearchIndex
from hythe.hub.sql.search_sqlite import SQLiteSearchIndex
from hythe.hub.tags import TagService
from hythe.hub.tokens import TokenService
from hythe.hub.user_administration import UserAdministration
from hythe.hub.users import UserService
from hythe.offload import OffloadPool
from hythe.registry.clock import Clock, now
from hythe.registry.mirror.upstreams import Upstreams
from hythe.registry.service import RegistryServices
from hythe.settings import Settings


@dataclass(frozen=True, slots=True)
class HubFoundation:
    """The parts of the hub that the registry needs before it starts: authentication, access and the listener."""

    database: Database
    settings: Settings
    passwords: Passwords
    attempts: LoginThrottle
    secret_box: SecretBox
    keys: SigningKeys
    credentials: CredentialService
    access: HubAccess
    pulls: PullCounter
    listener: HubRegistryListener
    offload: OffloadPool
    clock: Clock


@dataclass(frozen=True, slots=True)
class HubServices:
    """All services of the hub."""

    settings: Settings
    access: HubAccess
    credentials: CredentialService
    users: UserService
    administration: UserAdministration
    sessions: SessionService
    repositories: RepositoryService
    descriptions: Descriptions
    tags: TagService
    images: ImageService
    search: SearchService
    tokens: TokenService
    personal_tokens: PersonalTokenService
    keys: SigningKeys

    def apply(self, settings: Settings) -> None:
        """Take over changed settings."""
        self.users.apply(settings)
        self.tokens.apply(settings.token_lifetime)
        self.keys.apply(settings)


@contextlib.asynccontextmanager
async def open_foundation(
    database: Database, settings: Settings, clock: Clock = now, hasher: PasswordHasher = DEFAULT_HASHER
) -> AsyncIterator[HubFoundation]:
    """Load or create the signing keys, and count pulls until the block ends. Raises SecretBoxError."""
    secret_box = await open_secret_box(database, settings)
    keys = SigningKeys(database, secret_box, clock, timedelta(seconds=settings.token_lifetime))
    try:
        await keys.open()
    except SecretBoxError:
        secret_box.discard_new_file()
        raise
    passwords = Passwords(hasher=hasher)
    attempts = LoginThrottle(database, secret_box.derive("failed sign-ins"), clock)
    credentials = CredentialService(database, passwords, attempts, AccountThrottle(database, clock), keys, clock)
    access = HubAccess(database, credentials, clock, settings.public_url, Upstreams(settings.mirrors).names)
    pulls = PullCounter(database)
    listener = HubRegistryListener(access, pulls, clock)
    offload = OffloadPool()
    background = [asyncio.create_task(pulls.run()), asyncio.create_task(keys.run())]
    try:
        yield HubFoundation(
            database,
            settings,
            passwords,
            attempts,
            secret_box,
            keys,
            credentials,
            access,
            pulls,
            listener,
            offload,
            clock,
        )
    finally:
        for task in background:
            task.cancel()
        for task in background:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        passwords.close()
        offload.close()


def make_hub(
    foundation: HubFoundation, registry: RegistryServices, account_listeners: Sequence[AccountListener] = ()
) -> HubServices:
    """Return the services; all content comes from ``registry``."""
    database, access, clock = foundation.database, foundation.access, foundation.clock
    credentials, keys, settings = foundation.credentials, foundation.keys, foundation.settings
    descriptions = Descriptions(database, foundation.offload)
    return HubServices(
        settings=settings,
        access=access,
        credentials=credentials,
        users=UserService(
            database,
            access,
            foundation.passwords,
            foundation.attempts,
            clock,
            sign_up=settings.sign_up,
            sign_up_limit=SignUpLimit(database, settings.sign_ups_per_address, clock),
            plan=Plan.of(settings),
        ),
        administration=UserAdministration(database, access, registry.repositories, account_listeners, clock),
        sessions=SessionService(database, credentials, clock),
        repositories=RepositoryService(database, access, registry.repositories, descriptions, clock),
        descriptions=descriptions,
        tags=TagService(
            database, access, Platforms(registry.blobs, foundation.offload), registry.tags, foundation.offload
        ),
        images=ImageService(access, registry.manifests, registry.blobs, foundation.offload),
        search=SearchService(database, access, _search_index(database)),
        tokens=TokenService(database, access, credentials, keys, clock, settings.token_lifetime),
        personal_tokens=PersonalTokenService(database, access, clock),
        keys=keys,
    )


def _search_index(database: Database) -> SearchIndex:
    return SQLiteSearchIndex() if database.dialect == "sqlite" else PostgreSQLSearchIndex()
