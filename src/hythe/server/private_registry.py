"""The private registry: no accounts, no index. Imports nothing of the hub."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import msgspec
from starlette.types import ASGIApp

from hythe.registry.access import Access
from hythe.registry.anonymous import AnonymousAccess
from hythe.registry.htpasswd import HtpasswdAccess
from hythe.registry.installation import Kind
from hythe.registry.mirror.upstreams import Upstreams
from hythe.registry.read_only import ReadOnlyAccess
from hythe.registry.routes.application import RegistryApplication
from hythe.registry.service import RegistryServices, make_registry
from hythe.server.background import running
from hythe.server.browser_protection import HostNames, KnownHosts, OwnPagesOnly
from hythe.server.http import Address, HTTPOptions, bind, serve
from hythe.server.installation import open_stores
from hythe.server.log import set_up_logging
from hythe.server.reloading import SettingsReload
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
        registry = make_registry(stores.database, stores.blobs, access, (), settings, upstreams)
        stack.push_async_callback(registry.close)
        yield registry


async def serve_registry(
    settings: Settings,
    htpasswd: Path | None,
    *,
    read_only: bool,
    read: Callable[[], Settings],
    ready: Callable[[Address], None],
) -> None:
    """Serve the registry until SIGTERM; ``ready`` is called with the address once it listens.

    ``read`` reads the settings again, for SIGHUP. Raises HtpasswdError, SettingsError and the errors of open_registry.
    """
    # Nothing here depends on the client's address or scheme, which reverse proxies report.
    options = msgspec.structs.replace(HTTPOptions.of(settings), report_proxies=False)
    upstreams = Upstreams(settings.mirrors, allow_unnamed=True)
    reload = SettingsReload(settings, read)
    access = _access(htpasswd, upstreams, read_only=read_only)
    async with open_registry(settings, access, upstreams) as registry:
        await registry.try_storage()
        with bind(settings.address) as listener:
            async with running(registry.run_housekeeping(), reload.run()):
                address: Address = listener.getsockname()[:2]
                application: ASGIApp = OwnPagesOnly(RegistryApplication(registry), settings.public_url)
                if not htpasswd and not settings.tls_cert:
                    known = application = KnownHosts(application, HostNames(settings, address))
                    reload.listeners.append(lambda new: known.apply(HostNames(new, address)))
                reload.listeners.append(lambda new: _apply(registry, new))
                ready(address)
                await serve(application, listener, options, reload)


def _apply(registry: RegistryServices, settings: Settings) -> None:
    set_up_logging(settings.log_format)
    registry.apply(settings, Upstreams(settings.mirrors, allow_unnamed=True))


def _access(htpasswd: Path | None, upstreams: Upstreams, *, read_only: bool) -> Access:
    access: Access = HtpasswdAccess(htpasswd) if htpasswd else AnonymousAccess()
    if read_only:
        return ReadOnlyAccess(access)
    return ReadOnlyAccess(access, upstreams.refusal) if upstreams else access
