"""The environment of a server's process: variables, of which mistyped ones are reported, and signals."""

import difflib
import logging
import os
import re
import signal
from collections.abc import Iterator, Mapping

from hythe.client.configuration import DESCRIPTIONS, variable_of
from hythe.settings import Settings

PREFIX = "HYTHE_"

KNOWN = frozenset(
    {
        *(f"{PREFIX}{name.upper()}" for name in Settings.__struct_fields__),
        *map(variable_of, DESCRIPTIONS),
        "HYTHE_CONFIG",
        "HYTHE_DEBUG",
        "HYTHE_ID_TOKEN",
        "HYTHE_RUNTIME",
        "HYTHE_STATE",
        "HYTHE_STORE",
    }
)
"""Every variable that hythe reads."""

_OF_KUBERNETES = re.compile(
    r"HYTHE(_\w+)?_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP)(_\w+)?)=.*|HYTHE(_\w+)?_PORT=(tcp|udp)://.*"
)
"""Variables that Kubernetes sets in containers for a service whose name begins with ``hythe``."""

log = logging.getLogger(__name__)


def unknown_variables(environment: Mapping[str, str] = os.environ) -> Iterator[tuple[str, str]]:
    """Yield each unknown HYTHE_ variable with the closest known one (empty if none is close)."""
    for name, value in sorted(environment.items()):
        if name.startswith(PREFIX) and name not in KNOWN and not _OF_KUBERNETES.fullmatch(f"{name}={value}"):
            near = difflib.get_close_matches(name, sorted(KNOWN), n=1, cutoff=0.7)
            yield name, near[0] if near else ""


def warn_of_unknown_variables() -> None:
    """Log a warning for each unknown HYTHE_ variable."""
    for name, near in unknown_variables():
        advice = f"did you mean {near}?" if near else "'hythe settings' lists all settings"
        log.warning("ignoring unknown environment variable %s: %s", name, advice)


def ignore_hangup() -> None:
    """Ignore SIGHUP until the server handles it: the default would end a server that is starting.

    Unlike SIG_IGN, a handler is not inherited by the programs that the server starts.
    """
    signal.signal(signal.SIGHUP, lambda *_: None)
