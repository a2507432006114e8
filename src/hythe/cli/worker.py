"""``hythe worker``: carries out Trusted Builds for a hub, on this host."""

import os
import signal
import sys
import threading
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from pathlib import Path

from hythe.cli.command import Command, CommandFailed
from hythe.cli.setting_flags import add_setting_flags, load_settings

SETTINGS = ("worker_token", "builds_builder", "builds_folder", "builds_isolation", "builds_first_uid")
FOLDER = "/var/lib/hythe-worker"

EXAMPLES = """\
HYTHE_WORKER_TOKEN=.. hythe worker --url https://hub.example.org
hythe worker --url https://hub.example.org --worker-token TOKEN --together 4 --builds-folder /srv/builds"""


def _configure(parser: ArgumentParser) -> None:
    parser.add_argument("--url", required=True, help="the hub's address")
    parser.add_argument("--together", type=int, default=1, metavar="N", help="builds at once (default: 1)")
    parser.add_argument("--until-end-of-input", action="store_true", help="stop when standard input ends")
    parser.add_argument("--check", action="store_true", help="only say which isolation there is")
    add_setting_flags(parser, SETTINGS)
    parser.add_argument("--token", dest="worker_token", help="the same as --worker-token")


def _run(arguments: Namespace) -> int:
    import msgspec

    from hythe.builds.isolation.choice import choose
    from hythe.builds.isolation.errors import IsolationUnavailable
    from hythe.builds.worker.worker import Worker

    settings = load_settings(arguments).settings
    folder = Path(settings.builds_folder or FOLDER).absolute()
    try:
        isolation = choose(folder, settings.builds_first_uid, weaker=settings.builds_isolation == "weaker")
    except (IsolationUnavailable, OSError) as error:
        raise CommandFailed(str(error), "docs/builds.md says what builds need of their host") from error
    if settings.builds_builder.startswith("docker="):
        isolation = msgspec.structs.replace(isolation, docker=settings.builds_builder.removeprefix("docker="))
    _say(f"isolation: {isolation}")
    if arguments.check:
        return 0
    if not settings.worker_token:
        raise CommandFailed("no worker token", "set HYTHE_WORKER_TOKEN to the hub's worker_token")
    os.environ.pop("HYTHE_WORKER_TOKEN", None)
    worker = Worker(arguments.url, settings.worker_token, isolation, _say, together=arguments.together)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: worker.stop())
    if arguments.until_end_of_input:
        threading.Thread(target=_stop_at_end, args=(worker.stop,), daemon=True).start()
    worker.run()
    return 0


def _stop_at_end(stop: Callable[[], None]) -> None:
    sys.stdin.buffer.read()
    stop()


def _say(text: str) -> None:
    print(f"worker: {text}", file=sys.stderr, flush=True)


command = Command(_configure, _run, EXAMPLES)
"""``hythe worker``."""
