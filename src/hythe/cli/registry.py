"""``registry``: the private registry, without a hub."""

import asyncio
from argparse import ArgumentParser, Namespace
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hythe.cli.backup import add_backup
from hythe.cli.command import Command, CommandFailed
from hythe.cli.environment import ignore_hangup, warn_of_unknown_variables
from hythe.cli.housekeeping import add_housekeeping
from hythe.cli.server_report import report_ready
from hythe.cli.setting_flags import add_setting_flags, load_settings

if TYPE_CHECKING:
    from hythe.registry.service import RegistryServices
    from hythe.server.siblings import Siblings
    from hythe.settings import Settings

DATA = "~/.local/share/hythe/registry"
"""The default data folder of the private registry, separate from a hub's."""

SETTINGS = (
    "listen", "processes", "read_only", "allowed_hosts", "data", "database_url", "blob_store",
    "redirect_blobs", "tls_cert", "tls_key",
    "manifest_size", "sparse_images", "protect_images",
    "mirrors", "mirror_age", "mirror_size", "internal_networks", "grace_period", "garbage_interval",
    "upload_lifetime", "replaced_lifetime",
    "idle_timeout", "stall_timeout", "transfer_rate", "connections", "connections_per_address",
    "drain_delay", "stop_timeout", "trusted_proxies",
    "log_format", "log_level", "access_log", "slow_request", "slow_query", "metrics_listen", "otlp_endpoint",
)  # fmt: skip
"""The settings that apply without a hub."""

EXAMPLES = """\
hythe registry serve --data /srv/registry --listen 0.0.0.0:5000
htpasswd -Bc users ann && hythe registry serve --htpasswd users --tls-cert host.pem --tls-key host.key
hythe registry import /var/lib/docker-registry --data /srv/registry
hythe registry gc --dry-run --data /srv/registry
hythe registry verify --data /srv/registry
hythe registry backup /mnt/backups --keep 7 --data /srv/registry
hythe registry serve --listen 127.0.0.1:5001 --mirror https://registry-1.docker.io"""


def _configure(parser: ArgumentParser) -> None:
    verbs = parser.add_subparsers(title="verbs", dest="verb", required=True, metavar="VERB")
    serve = verbs.add_parser("serve", help="start a private registry")
    serve.add_argument("--htpasswd", type=Path, metavar="FILE", help="users and passwords, created by 'htpasswd -B'")
    serve.add_argument(
        "--mirror",
        action="append",
        default=[],
        metavar="[NAME=]URL",
        help="pull through and cache this registry; can be repeated, with NAMEs",
    )
    add_setting_flags(serve, SETTINGS)
    serve.set_defaults(handler=_serve)

    importer = verbs.add_parser("import", help="import the data of a docker-registry, and verify every blob")
    importer.add_argument("folder", type=Path, metavar="FOLDER", help="rootdirectory of the docker-registry")
    add_setting_flags(importer, ("data", "database_url", "blob_store", "manifest_size", "sparse_images"))
    importer.set_defaults(handler=_import)

    add_housekeeping(verbs, _registry, "registry", {"data": DATA})
    add_backup(verbs, "registry", {"data": DATA})


def _run(arguments: Namespace) -> int:
    handler: Callable[[Namespace], int] = arguments.handler
    return handler(arguments)


def _serve(arguments: Namespace) -> int:
    ignore_hangup()
    import msgspec

    from hythe.cli.server_processes import run_server
    from hythe.registry.installation import Kind
    from hythe.registry.mirror.upstreams import Upstreams
    from hythe.server.log import set_up_logging
    from hythe.server.private_registry import serve_registry
    from hythe.server.start_checks import REGISTRY_CHECKS
    from hythe.server.welcome import ready_event, registry_welcome
    from hythe.settings import InvalidValue, Settings, SettingsError

    def read() -> Settings:
        loaded = load_settings(arguments, {"data": DATA}, REGISTRY_CHECKS)
        mirrors = " ".join([loaded.settings.mirrors, *arguments.mirror])
        try:
            Upstreams(mirrors, allow_unnamed=True)
        except InvalidValue as error:
            raise SettingsError(f"--mirror: {error}") from error
        return msgspec.structs.replace(loaded.settings, mirrors=mirrors.strip())

    settings = read()
    set_up_logging(settings.log_format, settings.log_level)
    warn_of_unknown_variables()

    def ready(address: tuple[str, int]) -> None:
        report_ready(settings.log_format, registry_welcome(settings, address), ready_event(settings, address))

    def serve(
        now: "Settings", announce: Callable[[tuple[str, int]], None], siblings: "Siblings | None"
    ) -> Coroutine[Any, Any, None]:
        return serve_registry(now, arguments.htpasswd, read=read, ready=announce, siblings=siblings)

    return run_server(settings, Kind.REGISTRY, read, serve, ready)


@asynccontextmanager
async def _registry(arguments: Namespace, *, new: bool = False) -> AsyncIterator["RegistryServices"]:
    """Open the registry that the settings name. With ``new``, it does not have to exist yet."""
    from hythe.database.opening import sqlite_in_use
    from hythe.registry.anonymous import AnonymousAccess
    from hythe.registry.mirror.upstreams import Upstreams
    from hythe.server.private_registry import open_registry

    settings = load_settings(arguments, {"data": DATA}).settings
    if not (new or settings.database_url or sqlite_in_use(settings.data_folder)):
        raise CommandFailed(
            f"there is no registry in {settings.data_folder}",
            "use --data FOLDER with the folder that 'hythe registry serve' prints",
        )
    async with open_registry(settings, AnonymousAccess(), Upstreams(""), pace=True) as registry:
        yield registry


def _import(arguments: Namespace) -> int:
    from hythe.registry.importing import Import, RegistryFolder

    folder = RegistryFolder(arguments.folder)

    async def import_all() -> tuple[int, int]:
        imported = rejected = 0
        async with _registry(arguments, new=True) as registry:
            async for manifest in Import(registry, folder).run():
                name = f"{manifest.repository}@{manifest.digest}" if manifest.digest else manifest.repository
                reason = f" not imported: {manifest.problem}" if manifest.problem else ""
                print(" ".join([name, *manifest.tags]) + reason)
                imported, rejected = imported + (not manifest.problem), rejected + bool(manifest.problem)
        return imported, rejected

    imported, rejected = asyncio.run(import_all())
    print(f"imported {imported} manifests into {load_settings(arguments, {'data': DATA}).settings.data_folder}")
    if rejected:
        raise CommandFailed(
            f"{rejected} manifests were not imported", "see the lines above; the other manifests were imported"
        )
    return 0


command = Command(_configure, _run, EXAMPLES)
