"""``settings``: list all settings with their values and sources."""

import json
from argparse import ArgumentParser, Namespace

from hythe.cli.command import Command
from hythe.cli.setting_flags import add_setting_flags, load_settings


def _configure(parser: ArgumentParser) -> None:
    add_setting_flags(parser)
    parser.add_argument("--json", action="store_true", help="print a JSON array")


def _run(arguments: Namespace) -> int:
    rows = list(load_settings(arguments).origins())
    if arguments.json:
        print(json.dumps([{name: getattr(row, name) for name in row.__struct_fields__} for row in rows], indent=2))
        return 0
    for row in rows:
        print(f"{row.name} = {row.value or '(empty)'}")
        print(f"    {row.meaning}")
        print(f"    from: {row.source}")
    return 0


command = Command(_configure, _run, "hythe settings\nHYTHE_LISTEN=0.0.0.0:5000 hythe settings --json")
