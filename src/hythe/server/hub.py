"""The hub: create every part, wire them together, and serve them."""

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from starlette.applications import Starlette
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from hythe.builds.account_listener import BuildAccountListener
from hythe.builds.descriptions import DescriptionListener
from hythe.builds.events import BuildListener
from hythe.builds.forge_integration.account_listener import ForgeAccountListener
from hythe.builds.forge_integration.forge_statuses import CommitStatusListener
from hythe.builds.forge_integration.service import ForgeServices, make_forge_services
from hythe.builds.routes import application as build_routes
from hythe.builds.routes import forge_integration as forge_routes
from hythe.builds.service import BuildsServices, make_builds
from hythe.database import Database
from hythe.database.maintenance import MaintainedDatabase, Maintenance
from hythe.egress.policy import EgressPolicy
from hythe.forges.configured import open_forges
from hythe.hub.access.route_rules import RouteRule
from hythe.hub.accounts.account_events import AccountListener
from hythe.hub.logs.audit_listener import AuditListener
from hythe.hub.routes import application as hub_routes
from hythe.hub.routes.declared_route import Declared, DeclaredRoute
from hythe.hub.routes.docker_hub import PREFIXES as DOCKER_HUB_PREFIXES
from hythe.hub.routes.docker_hub import is_docker_hub_path
from hythe.hub.routes.repository_addresses import kept_slashes
from hythe.hub.routes.request_rates import RequestRates
from hythe.hub.routes.shared_buckets import SharedBuckets
from hythe.hub.service import HubFoundation, HubServices, make_hub, open_foundation
from hythe.identity_providers.configured import open_identity_providers
from hythe.notifications.routes import webhooks as webhook_routes
from hythe.notifications.service import NotificationServices, make_notifications
from hythe.ready_response import Shortcut
from hythe.registry.events import RegistryListener
from hythe.registry.installation import Kind
from hythe.registry.mirror.upstreams import Upstreams
from hythe.registry.routes.application import RegistryApplication
from hythe.registry.service import RegistryServices, make_registry
from hythe.replication.routes import replications as replication_routes
from hythe.replication.routes import second_site as second_site_routes
from hythe.replication.service import ReplicationServices, make_replication, make_replication_listener
from hythe.server.background import leading, running
from hythe.server.browser_protection import OwnPagesOnly
from hythe.server.connection_report import CONNECTION_PATH, report_connection
from hythe.server.health import LIVE_PATH, READY_PATH, Health
from hythe.server.http import HTTPOptions, serve
from hythe.server.hub_metrics import BuildMetrics, hub_measurements
from hythe.server.installation import open_stores
from hythe.server.listening import Address
from hythe.server.log import set_up_logging
from hythe.server.maintenance_gate import MaintenanceGate
from hythe.server.registry_metrics import RegistryMetrics
from hythe.server.reloading import SettingsReload
from hythe.server.siblings import Siblings, listening
from hythe.server.stopping import Stopping
from hythe.server.telemetry import ServerTelemetry
from hythe.server.tracing import traced_application, untraced
from hythe.server.worker import LocalWorker, own_url
from hythe.settings import Settings
from hythe.wake_ups import WakeUp
from hythe.web.routes import application as web_routes


@dataclass(frozen=True, slots=True)
class Services:
    """All services of an open hub."""

    settings: Settings
    database: Database
    registry: RegistryServices
    hub: HubServices
    builds: BuildsServices
    notifications: NotificationServices
    forges: ForgeServices
    replication: ReplicationServices
    health: Health

    def apply(self, settings: Settings) -> None:
        """Take over changed settings of RELOADED."""
        set_up_logging(settings.log_format, settings.log_level)
        self.registry.apply(settings, Upstreams(settings.mirrors))
        self.hub.apply(settings)
        self.builds.apply(settings)
        self.notifications.apply(settings)

    def telemetry(self, siblings: Siblings | None) -> ServerTelemetry:
        """Return what observes this process, which may be one of several of a server."""
        measurements = hub_measurements(self.builds, self.hub.mailer)
        return ServerTelemetry(self.settings, self.database, self.health, measurements, siblings)

    def wake_ups(self) -> dict[str, WakeUp]:
        """Return the events that the processes of one server tell each other."""
        return {
            "builds": self.builds.queue.arrivals,
            "accounts": self.hub.administration.unfinished,
            "renames": self.hub.renames.renamed,
            "teams": self.hub.teams.unfinished,
            "deletions": self.registry.deletions.wanted,
            "garbage": self.registry.garbage.requested,
        }

    def following(self) -> tuple[Callable[[], Coroutine[Any, Any, None]], ...]:
        """Return the endless tasks of a second site; none if this is no second site."""
        follower = self.replication.follower
        return () if follower is None else (follower.follow, follower.copy, follower.housekeep)

    def background(self) -> tuple[Callable[[], Coroutine[Any, Any, None]], ...]:
        """Return the endless tasks that write, and run in one process of a server."""
        return (
            self.registry.run_housekeeping,
            self.hub.administration.run,
            self.hub.audit_log.run,
            self.hub.renames.run,
            self.hub.mail_queue.run,
            self.hub.password_resets.run,
            self.hub.teams.run,
            self.hub.tag_log_sequencer.run,
            self.builds.scheduler.run,
            self.builds.base_image_watch.run,
            self.notifications.sender.run,
            self.replication.runner.run,
            self.forges.run,
        )


@asynccontextmanager
async def open_hub(
    settings: Settings, *, use_blobs: bool = True, pace: bool = False, maintenance: Maintenance | None = None
) -> AsyncIterator[Services]:
    """Open the hub of these settings until the block ends. Without ``use_blobs``, nothing may read or write blobs.

    With ``pace``, a server that runs on the same database can write between any two transactions. During
    ``maintenance``, nothing is written.

    Raises SchemaError, UnavailableError, StorageUnavailable, WrongInstallation and SecretBoxError.
    """
    async with AsyncExitStack() as stack:
        stores = await stack.enter_async_context(open_stores(settings, Kind.HUB, use_blobs=use_blobs, pace=pace))
        database: Database = stores.database
        blobs = stores.blobs
        if maintenance is not None:
            database = MaintainedDatabase(database, maintenance)
        foundation = await stack.enter_async_context(open_foundation(database, settings))
        egress = EgressPolicy.parse(settings.internal_networks)
        forges = await stack.enter_async_context(open_forges(settings.forges, egress))
        build_listeners: list[BuildListener] = []
        builds = make_builds(foundation, settings, build_listeners, forges.default_branch)
        notifications = make_notifications(database, builds, settings, foundation.mailer)
        # In this order: the body of a webhook contains the description.
        build_listeners += (
            DescriptionListener(),
            notifications.build_listener,
            CommitStatusListener(foundation.clock),
            builds.base_image_watch,
            BuildMetrics(),
        )
        upstreams = Upstreams(settings.mirrors)
        listeners = _registry_listeners(foundation, builds, notifications)
        registry = make_registry(database, blobs, foundation.access, listeners, settings, upstreams)
        stack.push_async_callback(registry.close)
        replication = make_replication(foundation, database, registry, blobs, stores.database)
        stack.push_async_callback(replication.runner.close)
        forge_services = make_forge_services(foundation, builds, forges)
        providers = await stack.enter_async_context(open_identity_providers(settings.identity_providers, egress))
        hub = make_hub(foundation, registry, _account_listeners(builds, forge_services), providers)
        health = Health(registry, settings.data_folder, Stopping())
        yield Services(settings, database, registry, hub, builds, notifications, forge_services, replication, health)


def _account_listeners(builds: BuildsServices, forges: ForgeServices) -> tuple[AccountListener, ...]:
    return BuildAccountListener(builds.queue), ForgeAccountListener(forges.linked_accounts, forges.webhooks)


def _registry_listeners(
    foundation: HubFoundation, builds: BuildsServices, notifications: NotificationServices
) -> tuple[RegistryListener, ...]:
    """Return the listeners in the order in which the registry calls them: builds first, they refuse tag moves."""
    return (
        builds.registry_listener,
        foundation.listener,
        AuditListener(foundation.clock),
        notifications.registry_listener,
        RegistryMetrics(),
        make_replication_listener(foundation),
    )


async def serve_hub(
    settings: Settings,
    read: Callable[[], Settings],
    ready: Callable[[Address], None],
    siblings: Siblings | None = None,
) -> None:
    """Serve the hub until SIGTERM; ``ready`` is called with the address once it listens.

    ``read`` reads the settings again, for SIGHUP. With ``siblings``, this is one of several processes of a server, of
    which one runs the background tasks. Raises SettingsError and the errors of open_hub.
    """
    options = HTTPOptions.of(settings, len(siblings.listeners) if siblings is not None else 1)
    reload = SettingsReload(settings, read)
    maintenance = _maintenance(settings, reload)
    async with open_hub(settings, maintenance=maintenance) as services:
        if siblings is None or siblings.number == 0:
            await services.registry.try_storage()
        with listening(settings.address, siblings) as listener:
            address: Address = listener.getsockname()[:2]
            worker = LocalWorker(services.builds, own_url(settings, address))

            def on_stop() -> None:
                worker.stop()
                services.builds.queue.close()

            if siblings is not None:
                siblings.share(services.wake_ups())
            rates = _request_rates(settings, siblings)
            tasks = (
                leading(siblings, maintenance, services.background()),
                leading(siblings, Maintenance(), (worker.run, *services.following())),
                reload.run(),
            )
            telemetry = services.telemetry(siblings)
            async with running(*tasks), telemetry.running():
                ready(address)
                reload.listeners += (services.apply, telemetry.apply)
                reload.listeners.append(lambda new: rates.apply(new.api_requests_per_minute))
                application = HubApplication(services, rates)
                await serve(
                    traced_application(MaintenanceGate(application, maintenance)),
                    listener,
                    options,
                    reload,
                    on_stop,
                    observer=telemetry.observer,
                    stopping=services.health.stopping,
                    siblings=siblings,
                    shortcut=untraced(application.shortcut),
                )


def _maintenance(settings: Settings, reload: SettingsReload) -> Maintenance:
    """Return what follows the setting; a second site is read-only for all but what it follows."""
    maintenance = Maintenance(read_only=settings.read_only or bool(settings.follow))
    reload.listeners.append(lambda new: maintenance.apply(read_only=new.read_only or bool(settings.follow)))
    return maintenance


def _request_rates(settings: Settings, siblings: Siblings | None) -> RequestRates:
    buckets = SharedBuckets(siblings.memory) if siblings is not None else None
    return RequestRates(settings.api_requests_per_minute, buckets=buckets)


_WITH_NAMES = ("/api/", *DOCKER_HUB_PREFIXES)
"""Prefixes of paths in which the slashes of a repository's name may be encoded."""


HEALTH: tuple[tuple[str, str, Declared], ...] = (
    ("GET", LIVE_PATH, RouteRule.PUBLIC),
    ("GET", READY_PATH, RouteRule.PUBLIC),
    ("GET", CONNECTION_PATH, RouteRule.PUBLIC),
)
"""The health checks; each with what it does."""


def health_routes(health: Health) -> list[BaseRoute]:
    """Return the routes of the health checks."""
    handlers = {LIVE_PATH: health.live, READY_PATH: health.ready, CONNECTION_PATH: report_connection}
    return [DeclaredRoute(path, handlers[path], {method: (declared,)}) for method, path, declared in HEALTH]


class HubApplication:
    """The ASGI application: registry requests go straight to the registry, all others through Starlette's router."""

    def __init__(self, services: Services, rates: RequestRates | None = None) -> None:
        """Mount the routes of every part. ``routes``: all of them except the registry's; ``shortcut``: its."""
        registry = RegistryApplication(services.registry)
        self._registry: ASGIApp = OwnPagesOnly(registry, services.settings.public_url)
        self.shortcut: Shortcut = registry.shortcut
        webhooks = services.notifications.webhooks
        endpoints = (
            *forge_routes.endpoints(services.forges),
            *webhook_routes.endpoints(webhooks),
            *replication_routes.endpoints(services.replication.rules),
            *build_routes.endpoints(services.builds),
        )
        routes = [
            *health_routes(services.health),
            *forge_routes.routes(services.forges),
            *webhook_routes.routes(webhooks),
            *second_site_routes.routes(services.database, services.hub.credentials),
            *build_routes.routes(services.builds, services.hub),
            *hub_routes.routes(services.hub, endpoints, rates),
        ]
        pages = web_routes.routes(
            services.hub, services.builds, services.notifications, services.forges, services.replication
        )
        self.routes: list[BaseRoute] = [*routes, *pages]
        self._rest: ASGIApp = Starlette(routes=self.routes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        path: str = scope["path"]
        registry = (path.startswith("/v2/") or path == "/v2") and not is_docker_hub_path(path)
        application = self._registry if registry else self._rest
        if not registry and path.startswith(_WITH_NAMES) and b"%2f" in scope.get("raw_path", b"").lower():
            scope["path"] = kept_slashes(scope["raw_path"])
        await application(scope, receive, send)
