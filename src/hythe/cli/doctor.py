"""``hythe admin doctor``: examines the installation and says what to do."""

import sys
from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING, Any

from hythe.cli.environment import unknown_variables
from hythe.cli.output import add_json_flag, print_json
from hythe.cli.setting_flags import add_setting_flags, load_settings
from hythe.control_characters import escape_line

if TYPE_CHECKING:
    from hythe.server.doctor.diagnosis import Diagnosis

SUBJECT_WIDTH = 15


def add_doctor(verbs: Any) -> None:
    """Add ``doctor`` to the verbs of ``hythe admin``."""
    parser: ArgumentParser = verbs.add_parser("doctor", help="check the installation, and say what to do")
    add_json_flag(parser)
    parser.set_defaults(handler=_examine)
    add_setting_flags(parser)


def _examine(arguments: Namespace) -> int:
    """Print the findings as they come; return 1 if one is a problem."""
    import asyncio
    import logging

    from hythe.server.doctor.diagnosis import Severity
    from hythe.server.doctor.examination import examine

    settings = load_settings(arguments).settings
    found: list[Diagnosis] = []

    async def run() -> None:
        async for finding in examine(settings, unknown_variables()):
            found.append(finding)
            if not arguments.json:
                _print(finding)

    logging.disable(logging.ERROR)  # what the log would say is a finding
    try:
        asyncio.run(run())
    finally:
        logging.disable(logging.NOTSET)
    problems = sum(finding.severity is Severity.PROBLEM for finding in found)
    warnings = sum(finding.severity is Severity.WARNING for finding in found)
    if arguments.json:
        print_json(found)
    else:
        print(f"\n{problems} problems, {warnings} warnings")
    return 1 if problems else 0


def _print(finding: "Diagnosis") -> None:
    mark = {"good": "ok", "warning": "warning", "problem": "PROBLEM"}[finding.severity.value]
    print(f"{finding.subject:<{SUBJECT_WIDTH}} {mark:<8} {escape_line(finding.message)}")
    if finding.hint:
        print(f"{'':<{SUBJECT_WIDTH}} {'':<8} hint: {escape_line(finding.hint)}")
    sys.stdout.flush()
