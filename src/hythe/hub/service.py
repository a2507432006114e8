"""The hub as one value: every service, wired to one database."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from hythe.database import Database
from hythe.hub.access import HubAccess
from hythe.hub.credentials import Credentials
from hythe.hub.images import Images
from hythe.hub.keys import SigningKeys
from hythe.hub.login_throttle import LoginThrottle
from hythe.hub.passwords import Passwords
from hythe.hub.personal_tokens import PersonalTokens
from hythe.hub.platforms import Platforms
from hythe.hub.pulls import PullCounter
from hythe.hub.registry_listener import HubRegistryListener
from hythe.hub.repositories import Repositories
from hythe.hub.search import Search
from hythe.hub.search_index import SearchIndex
from hythe.hub.sessions import Sessions
from hythe.hub.sql.search_postgresql import PostgreSQLSearchIndex
from hythe.hub.sql.search_sqlite import SQLiteSearchIndex
from hythe.hub.tags import Tags
from hythe.hub.tokens import Tokens
from hythe.hub.users import Users
from hythe.registry.clock import Clock, now
from hythe.registry.mirror.upstreams import Upstreams
from hythe.registry.service import Registry
from hythe.settings import Settings


@dataclass(frozen=True, slots=True)
class Identity:
    """The half of the hub that the registry needs before it can be made: who is there, and what is listened to."""

    database: Database
    settings: Settings
    passwords: Passwords
    keys: SigningKeys
    credentials: Credentials
    access: HubAccess
    pulls: PullCounter
    listener: HubRegistryListener
    clock: Clock


@dataclass(frozen=True, slots=True)
class Hub:
    """Every service of the hub."""

    settings: Settings
    access: HubAccess
    credentials: Credentials
    users: Users
    sessions: Sessions
    repositories: Repositories
    tags: Tags
    images: Images
    search: Search
    tokens: Tokens
    personal_tokens: PersonalTokens
    keys: SigningKeys


@contextlib.asynccontextmanager
async def open_identity(database: Database, settings: Settings, clock: Clock = now) -> AsyncIterator[Identity]:
    """Load (or make) the signing keys and count pulls until the block ends."""
    passwords = Passwords()
    keys = SigningKeys(database, clock)
    await keys.open()
    credentials = Credentials(database, passwords, LoginThrottle(), keys, clock)
    access = HubAccess(database, credentials, settings.public_url, Upstreams(settings.mirrors).names)
    pulls = PullCounter(database)
    listener = HubRegistryListener(access, pulls, clock)
    counting = asyncio.create_task(pulls.run())
    try:
        yield Identity(database, settings, passwords, keys, credentials, access, pulls, listener, clock)
    finally:
        counting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await counting
        passwords.close()


def make_hub(identity: Identity, registry: Registry) -> Hub:
    """Return the services, which stand on ``registry`` for all content."""
    database, access, clock = identity.database, identity.access, identity.clock
    credentials, keys, settings = identity.credentials, identity.keys, identity.settings
    return Hub(
        settings=settings,
        access=access,
        credentials=credentials,
        users=Users(
            database,
            access,
            identity.passwords,
            clock,
            sign_up=settings.sign_up,
            private_limit=settings.private_limit,
        ),
        sessions=Sessions(database, credentials, clock),
        repositories=Repositories(database, access, registry.repositories, clock),
        tags=Tags(database, access, Platforms(registry.blobs), registry.tags),
        images=Images(access, registry.manifests, registry.blobs),
        search=Search(database, access, _search_index(database)),
        tokens=Tokens(database, access, credentials, keys, clock, settings.token_lifetime),
        personal_tokens=PersonalTokens(database, access, clock),
        keys=keys,
    )


def _search_index(database: Database) -> SearchIndex:
    return SQLiteSearchIndex() if database.dialect == "sqlite" else PostgreSQLSearchIndex()
