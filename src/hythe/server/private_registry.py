"""The private registry: no accounts, no index. Imports nothing of the hub."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import msgspec
from starlette.types import ASGIApp

from hythe.database.maintenance import Maintenance
from hythe.ready_response import Shortcut
from hythe.registry.access import Access
from hythe.registry.anonymous import AnonymousAccess
from hythe.registry.htpasswd import HtpasswdAccess
from hythe.registry.installation import Kind
from hythe.registry.mirror.upstreams import Upstreams
from hythe.registry.read_only import ReadOnlyAccess, refuse_all
from hythe.registry.routes.application import RegistryApplication
from hythe.registry.service import RegistryServices, make_registry
from hythe.server.background import leading, running
from hythe.server.browser_protection import HostNames, KnownHosts, OwnPagesOnly
from hythe.server.health import Health, HealthPaths
from hythe.server.http import HTTPOptions, serve
from hythe.server.installation import open_stores
from hythe.server.listening import Address
from hythe.server.log import set_up_logging
from hythe.server.registry_metrics import RegistryMetrics, measure_storage
from hythe.server.reloading import SettingsReload
from hythe.server.siblings import Siblings, listening
from hythe.server.stopping import Stopping
from hythe.server.telemetry import ServerTelemetry
from hythe.server.tracing import traced_application, untraced
from hythe.settings import Settings


@asynccontextmanager
async def open_registry(
    settings: Settings, access: Access, upstreams: Upstreams, *, pace: bool = False
) -> AsyncIterator[RegistryServices]:
    """Open the registry of these settings until the block ends.

    With ``pace``, a server that runs on the same database can write between any two transactions.

    Raises SchemaError, UnavailableError, StorageUnavailable and WrongInstallation.
    """
    async with AsyncExitStack() as stack:
        stores = await stack.enter_async_context(open_stores(settings, Kind.REGISTRY, pace=pace))
        registry = make_registry(stores.database, stores.blobs, access, (RegistryMetrics(),), settings, upstreams)
        stack.push_async_callback(registry.close)
        yield registry


async def serve_registry(
    settings: Settings,
    htpasswd: Path | None,
    *,
    read: Callable[[], Settings],
    ready: Callable[[Address], None],
    siblings: Siblings | None = None,
) -> None:
    """Serve the registry until SIGTERM; ``ready`` is called with the address once it listens.

    ``read`` reads the settings again, for SIGHUP. With ``siblings``, this is one of several processes of a server.
    Raises HtpasswdError, SettingsError and the errors of open_registry.
    """
    processes = len(siblings.listeners) if siblings is not None else 1
    # Nothing here depends on the client's address or scheme, which reverse proxies report.
    options = msgspec.structs.replace(HTTPOptions.of(settings, processes), report_proxies=False)
    refusals = _Refusals(Upstreams(settings.mirrors, allow_unnamed=True), read_only=settings.read_only)
    reload = SettingsReload(settings, read)
    access = ReadOnlyAccess(HtpasswdAccess(htpasswd) if htpasswd else AnonymousAccess(), refusals.refusal)
    async with open_registry(settings, access, refusals.upstreams) as registry:
        if siblings is None or siblings.number == 0:
            await registry.try_storage()
        if siblings is not None:
            siblings.share({"deletions": registry.deletions.wanted, "garbage": registry.garbage.requested})
        with listening(settings.address, siblings) as listener:
            address: Address = listener.getsockname()[:2]
            health = Health(registry, settings.data_folder, Stopping())
            telemetry = ServerTelemetry(settings, registry.database, health, (measure_storage,), siblings)
            housekeeping = leading(siblings, Maintenance(), (registry.run_housekeeping,))
            async with running(housekeeping, reload.run()), telemetry.running():
                own = RegistryApplication(registry)
                application: ASGIApp = OwnPagesOnly(own, settings.public_url)
                shortcut: Shortcut = own.shortcut
                if not htpasswd and not settings.tls_cert:
                    known = application = KnownHosts(application, HostNames(settings, address))
                    shortcut = known.guard(shortcut)
                    reload.listeners.append(lambda new: known.apply(HostNames(new, address)))
                reload.listeners += (lambda new: _apply(registry, refusals, new), telemetry.apply)
                ready(address)
                await serve(
                    traced_application(HealthPaths(application, health)),
                    listener,
                    options,
                    reload,
                    observer=telemetry.observer,
                    stopping=health.stopping,
                    siblings=siblings,
                    shortcut=untraced(shortcut),
                )


class _Refusals:
    """What may not be changed: mirrored repositories, or everything while the registry is read-only."""

    def __init__(self, upstreams: Upstreams, *, read_only: bool) -> None:
        self.upstreams = upstreams
        self.read_only = read_only

    def refusal(self, repository: str) -> str:
        """See Refusal."""
        return refuse_all(repository) if self.read_only else self.upstreams.refusal(repository)


def _apply(registry: RegistryServices, refusals: _Refusals, settings: Settings) -> None:
    set_up_logging(settings.log_format, settings.log_level)
    refusals.read_only = settings.read_only
    registry.apply(settings, Upstreams(settings.mirrors, allow_unnamed=True))
