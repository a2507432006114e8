"""The private registry: no accounts, no index. Imports nothing of the hub."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

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
from hythe.settings import Settings


@asynccontextmanager
async def open_registry(settings: Settings, access: Access, upstreams: Upstreams) -> AsyncIterator[RegistryServices]:
    """Open the registry of these settings until the block ends.

    Raises SchemaError, UnavailableError, StorageUnavailable and WrongInstallation.
    """
    async with AsyncExitStack() as stack:
        stores = await stack.enter_async_context(open_stores(settings, Kind.REGISTRY))
        registry = make_registry(stores.database, stores.blobs, access, (), settings, upstreams)
        stack.push_async_callback(registry.close)
        yield registry


async def serve_registry(
    settings: Settings,
    upstreams: Upstreams,
    htpasswd: Path | None,
    *,
    read_only: bool,
    ready: Callable[[Address], None],
) -> None:
    """Serve the registry until SIGTERM; ``ready`` is called with the address once it listens.

    Raises HtpasswdError, SettingsError and the errors of open_registry.
    """
    options = HTTPOptions.of(settings)
    access = _access(htpasswd, upstreams, read_only=read_only)
    async with open_registry(settings, access, upstreams) as registry:
        await registry.try_storage()
        with bind(settings.address) as listener:
            async with running(registry.run_housekeeping()):
                address: Address = listener.getsockname()[:2]
                application: ASGIApp = OwnPagesOnly(RegistryApplication(registry), settings.public_url)
                if not htpasswd and not settings.tls_cert:
                    application = KnownHosts(application, HostNames(settings, address))
                ready(address)
                await serve(application, listener, options)


def _access(htpasswd: Path | None, upstreams: Upstreams, *, read_only: bool) -> Access:
    access: Access = HtpasswdAccess(htpasswd) if htpasswd else AnonymousAccess()
    if read_only:
        return ReadOnlyAccess(access)
    return ReadOnlyAccess(access, upstreams.refusal) if upstreams else access
