"""``hythe worker``: runs Trusted Builds for a hub, on this host."""

import json
import os
import signal
import sys
import threading
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from hythe.cli.command import Command, CommandFailed
from hythe.cli.failure import explain
from hythe.cli.setting_flags import add_setting_flags, load_settings
from hythe.control_characters import escape_line
from hythe.unbuffered import write_text

if TYPE_CHECKING:
    from hythe.settings import Settings
    from hythe.worker.isolation.selection import ExternalBuilder, Isolation

SETTINGS = (
    "worker_token",
    "builds_builder",
    "builds_buildkit_certificates",
    "builds_buildkit_name",
    "builds_folder",
    "builds_isolation",
    "builds_first_uid",
    "log_format",
    "otlp_endpoint",
)
FOLDER = "/var/lib/hythe-worker"

EXAMPLES = """\
HYTHE_WORKER_TOKEN=.. hythe worker --url https://hub.example.org
hythe worker --url https://hub.example.org --worker-token TOKEN --concurrency 4 --builds-folder /srv/builds"""


def _configure(parser: ArgumentParser) -> None:
    parser.add_argument("--url", required=True, help="the hub's address")
    parser.add_argument(
        "--concurrency", type=int, default=1, metavar="N", help="number of concurrent builds (default: 1)"
    )
    parser.add_argument("--stop-on-eof", action="store_true", help="stop when standard input ends")
    parser.add_argument("--check", action="store_true", help="print the available isolation and builder, then exit")
    add_setting_flags(parser, SETTINGS)
    parser.add_argument("--token", dest="worker_token", help="the same as --worker-token")


def _run(arguments: Namespace) -> int:
    report = _report_json if load_settings(arguments).settings.log_format == "json" else _report
    try:
        return _work(arguments, report)
    except Exception as error:
        if report is _report:
            raise
        message, hint, code = explain(error)
        report(f"{message}; hint: {hint}" if hint else message)
        return code


def _work(arguments: Namespace, report: Callable[[str], None]) -> int:
    signal.signal(signal.SIGHUP, lambda *_: report("SIGHUP has no effect: restart the worker to change its settings"))
    from hythe.settings import InvalidValue, SettingsError
    from hythe.settings.addresses import parse_http_url
    from hythe.settings.folders import FOLDER_CHECKS
    from hythe.telemetry.tracing import traces

    try:
        from hythe.worker.folder_lock import folder_locked
        from hythe.worker.worker import Worker
    except ModuleNotFoundError as error:
        raise CommandFailed(f"{error.name} is not installed", "pip install 'hythe[worker]'") from error

    checks = {name: FOLDER_CHECKS[name] for name in ("builds_folder", "builds_buildkit_certificates")}
    loaded = load_settings(arguments, checks=checks)
    try:
        parse_http_url(arguments.url)
    except InvalidValue as error:
        raise SettingsError(f"--url: {error}") from error
    settings = loaded.settings
    folder = Path(settings.builds_folder or FOLDER).absolute()
    if arguments.check:
        return 0 if _isolate(folder, settings, report)[1] else 1
    with folder_locked(folder, report, wait=arguments.stop_on_eof) as held:
        if not held:
            return 0
        isolation, _ = _isolate(folder, settings, report)
        if not settings.worker_token:
            raise CommandFailed("no worker token", "set HYTHE_WORKER_TOKEN to the worker_token of the hub")
        os.environ.pop("HYTHE_WORKER_TOKEN", None)
        worker = Worker(arguments.url, settings.worker_token, isolation, report, concurrency=arguments.concurrency)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: worker.stop())
        if arguments.stop_on_eof:
            threading.Thread(target=_stop_at_end_of_input, args=(worker.stop,), daemon=True).start()
        with traces("hythe-worker", settings.otlp_endpoint):
            worker.run()
    return 0


def _isolate(folder: Path, settings: "Settings", report: Callable[[str], None]) -> "tuple[Isolation, bool]":
    """Report and return the isolation of builds, and whether their builder is available. Raises CommandFailed."""
    import msgspec

    from hythe.worker.errors import IsolationUnavailable
    from hythe.worker.isolation.selection import ExternalBuilder, choose_isolation

    try:
        isolation = choose_isolation(folder, settings.builds_first_uid, weaker=settings.builds_isolation == "weaker")
    except (IsolationUnavailable, OSError) as error:
        raise CommandFailed(str(error), "docs/builds.md lists what builds need from their host") from error
    external = ExternalBuilder.of(
        settings.builds_builder, settings.builds_buildkit_certificates, settings.builds_buildkit_name
    )
    isolation = msgspec.structs.replace(isolation, external=external)
    report(f"isolation: {isolation}")
    for problem in isolation.missing:
        report(f"missing: {problem}")
    return isolation, external is None or _is_available(external, report)


def _is_available(external: "ExternalBuilder", report: Callable[[str], None]) -> bool:
    """Report the builder's version, or why it cannot be reached. It can start later: each build connects again."""
    from hythe.worker.builders.selection import version_of
    from hythe.worker.errors import BuildFailed

    try:
        report(f"builder: {version_of(external)}; it isolates its builds itself, hythe does not: see docs/builds.md")
    except BuildFailed as error:
        report(f"builder: UNAVAILABLE: {error}")
        return False
    return True


def _stop_at_end_of_input(stop: Callable[[], None]) -> None:
    while os.read(0, 65536):  # sys.stdin would hold a lock that the interpreter needs when it exits
        pass
    stop()


def _report(text: str) -> None:
    write_text(sys.stderr, f"worker: {escape_line(text)}\n")


def _report_json(text: str) -> None:
    line = {"event": f"worker: {text}", "level": "info", "timestamp": datetime.now(UTC).isoformat()}
    write_text(sys.stderr, f"{json.dumps(line)}\n")


command = Command(_configure, _run, EXAMPLES)
"""``hythe worker``."""
