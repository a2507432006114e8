"""The hub: every part made, wired to the others, and served."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from starlette.applications import Starlette
from starlette.types import ASGIApp, Receive, Scope, Send

from hythe.builds.descriptions import DescriptionListener
from hythe.builds.events import BuildListener
from hythe.builds.forge_statuses import StatusOutbox
from hythe.builds.routes import application as build_routes
from hythe.builds.routes import sources as source_routes
from hythe.builds.service import BuildsServices, make_builds
from hythe.builds.sources import Sources, make_sources
from hythe.database import Database, open_database
from hythe.forges.known import open_forges
from hythe.hub.routes import application as hub_routes
from hythe.hub.routes.docker_hub import PREFIXES as DOCKER_HUB_PREFIXES
from hythe.hub.service import Hub, make_hub, open_identity
from hythe.notifications.routes import webhooks as webhook_routes
from hythe.notifications.service import NotificationServices, make_notifications
from hythe.registry.mirror.upstreams import Upstreams
from hythe.registry.routes.application import RegistryApplication
from hythe.registry.service import Registry, make_registry
from hythe.registry.storage.opening import open_blob_store
from hythe.server.background import running
from hythe.server.http import Address, HTTPOptions, bind, serve
from hythe.server.worker import own_url, run_worker
from hythe.settings import Settings
from hythe.web.routes import application as web_routes


@dataclass(frozen=True, slots=True)
class Services:
    """Everything of one hub, open; nothing is served yet."""

    settings: Settings
    database: Database
    registry: Registry
    hub: Hub
    builds: BuildsServices
    notifications: NotificationServices
    sources: Sources


@asynccontextmanager
async def open_hub(settings: Settings) -> AsyncIterator[Services]:
    """Open the hub that the settings name until the block ends.

    Raises SchemaError and UnavailableError of the database, StorageUnavailable of the blob store.
    """
    async with AsyncExitStack() as stack:
        database = await open_database(settings.data_folder, settings.database_url)
        stack.push_async_callback(database.close)
        blobs = open_blob_store(settings.data_folder, settings.blob_store, redirect=settings.redirect_blobs)
        stack.push_async_callback(blobs.close)
        identity = await stack.enter_async_context(open_identity(database, settings))
        forges = await stack.enter_async_context(open_forges(settings.forges))
        build_listeners: list[BuildListener] = []
        builds = make_builds(identity, settings, build_listeners, forges.default_branch)
        notifications = make_notifications(database, builds, settings)
        # In this order: the body of a webhook contains the description.
        build_listeners += (
            DescriptionListener(),
            notifications.build_listener,
            StatusOutbox(identity.clock),
            builds.base_image_watch,
        )
        upstreams = Upstreams(settings.mirrors)
        # Builds first: they refuse tag moves.
        registry_listeners = (builds.registry_listener, identity.listener, notifications.registry_listener)
        registry = make_registry(database, blobs, identity.access, registry_listeners, settings, upstreams)
        stack.push_async_callback(registry.close)
        sources = make_sources(identity, builds, forges)
        yield Services(settings, database, registry, make_hub(identity, registry), builds, notifications, sources)


async def serve_hub(settings: Settings, ready: Callable[[Address], None]) -> None:
    """Serve the hub until SIGTERM; ``ready`` is called with the address once it listens.

    Raises SettingsError and what open_hub does.
    """
    options = HTTPOptions.of(settings)
    async with open_hub(settings) as house:
        await house.registry.try_storage()
        with bind(settings.address) as listener:
            address: Address = listener.getsockname()[:2]
            works = (
                house.registry.run_housekeeping(),
                house.builds.scheduler.run(),
                house.builds.base_image_watch.run(),
                house.notifications.sender.run(),
            )
            async with running(*works, house.sources.run(), run_worker(house.builds, own_url(settings, address))):
                ready(address)
                await serve(HubApplication(house), listener, options, on_stop=house.builds.queue.close)


class HubApplication:
    """The one ASGI application: the distribution protocol directly, everything else by Starlette's router."""

    def __init__(self, house: Services) -> None:
        """Mount every part of ``house``."""
        self._registry: ASGIApp = RegistryApplication(house.registry)
        webhooks = house.notifications.webhooks
        more = (
            *source_routes.endpoints(house.sources),
            *webhook_routes.endpoints(webhooks),
            *build_routes.endpoints(house.builds),
        )
        routes = [
            *source_routes.routes(house.sources),
            *webhook_routes.routes(webhooks),
            *build_routes.routes(house.builds, house.hub),
            *hub_routes.routes(house.hub, more),
        ]
        pages = web_routes.routes(house.hub, house.builds, house.notifications, house.sources)
        self._rest: ASGIApp = Starlette(routes=[*routes, *pages])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        path: str = scope["path"]
        registry = (path.startswith("/v2/") or path == "/v2") and not path.startswith(DOCKER_HUB_PREFIXES)
        application = self._registry if registry else self._rest
        await application(scope, receive, send)
