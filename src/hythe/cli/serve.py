"""``serve``: start a hub."""

import sys
from argparse import ArgumentParser, Namespace

from hythe.cli.command import Command
from hythe.cli.environment import ignore_hangup, warn_of_unknown_variables
from hythe.cli.server_report import report_ready
from hythe.cli.setting_flags import add_setting_flags, load_settings
from hythe.settings import Settings

OF_PRIVATE_REGISTRY = frozenset({"allowed_hosts"})
"""Settings that have no effect on a hub."""

EXAMPLES = """\
hythe serve
hythe serve --listen 0.0.0.0:443 --tls-cert hub.pem --tls-key hub.key --public-url https://hub.example.org
hythe serve --database-url postgresql://hythe@db/hythe"""


def _run(arguments: Namespace) -> int:
    ignore_hangup()

    from hythe.cli.server_processes import run_server
    from hythe.registry.installation import Kind
    from hythe.server.hub import serve_hub
    from hythe.server.log import set_up_logging
    from hythe.server.start_checks import HUB_CHECKS
    from hythe.server.welcome import hub_welcome, ready_event

    def read() -> Settings:
        return load_settings(arguments, checks=HUB_CHECKS).settings

    settings = read()
    set_up_logging(settings.log_format, settings.log_level)
    warn_of_unknown_variables()

    def ready(address: tuple[str, int]) -> None:
        welcome = hub_welcome(settings, address, sys.argv[0])
        report_ready(settings.log_format, welcome, ready_event(settings, address))

    return run_server(
        settings, Kind.HUB, read, lambda now, announce, siblings: serve_hub(now, read, announce, siblings), ready
    )


def _configure(parser: ArgumentParser) -> None:
    add_setting_flags(parser, (name for name in Settings.__struct_fields__ if name not in OF_PRIVATE_REGISTRY))


command = Command(_configure, _run, EXAMPLES)
