"""Runs a server in one process or in several."""

from collections.abc import Callable, Coroutine
from typing import Any

import uvloop

from hythe.cli.server_report import run_logged
from hythe.registry.installation import Kind
from hythe.server.data_lock import data_locked
from hythe.server.listening import Address
from hythe.server.processes import process_count, run_processes
from hythe.server.siblings import Siblings
from hythe.settings import Settings
from hythe.telemetry.tracing import traces


def run_server(
    settings: Settings,
    kind: Kind,
    read: Callable[[], Settings],
    serve: Callable[[Settings, Callable[[Address], None], Siblings | None], Coroutine[Any, Any, None]],
    ready: Callable[[Address], None],
) -> int:
    """Serve in this process, or in as many as the settings ask for, until SIGTERM; return the exit code.

    ``serve`` is called with the settings, with what it calls once it listens, and with the other processes, if there
    are any. ``read`` reads the settings again, for SIGHUP. ``ready`` is called once, when the whole server is ready.
    Raises DataInUse, and what ``serve`` raises.
    """

    def run(settings: Settings, siblings: Siblings | None = None) -> int:
        announce = ready if siblings is None else _tell_no_one

        def run_traced() -> None:
            with traces("hythe", settings.otlp_endpoint):
                uvloop.run(serve(settings, announce, siblings))

        return run_logged(settings.log_format, run_traced)

    with data_locked(settings.data_folder, kind, shared=bool(settings.database_url)):
        return run(settings) if process_count(settings) == 1 else run_processes(settings, read, run, ready)


def _tell_no_one(_address: Address) -> None:
    """The supervisor says when the server is ready."""
