"""The values of web sessions, and how browsers are named."""

import re
from datetime import datetime

import msgspec


class WebSession(msgspec.Struct, frozen=True, kw_only=True):
    """A session of an account. ``network`` is where it was last used: an IPv4 address, or an IPv6 /64 network.

    ``used_at`` is recorded at most once an hour. ``current``: the request that lists the sessions belongs to it.
    """

    id: str
    created_at: datetime
    used_at: datetime | None
    expires_at: datetime
    network: str
    browser: str
    current: bool = False


_BROWSERS = (
    # In this order: most browsers also claim to be those after them.
    ("Edge", r"Edg(?:e|A|iOS)?/(\d+)"),
    ("Opera", r"OPR/(\d+)"),
    ("Samsung Internet", r"SamsungBrowser/(\d+)"),
    ("Firefox", r"(?:Firefox|FxiOS)/(\d+)"),
    ("Chrome", r"(?:Chrome|CriOS)/(\d+)"),
    ("Safari", r"Version/(\d+)\S* (?:Mobile/\S+ )?Safari/"),
)

_SYSTEMS = (
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("Windows", "Windows"),
    ("ChromeOS", "CrOS"),
    ("macOS", "Mac OS X|Macintosh"),
    ("Linux", "Linux"),
)

_PROGRAM = re.compile(r"([A-Za-z][\w.-]{0,30})(?:/(\d+)|$|\s)")


def browser_name(user_agent: str) -> str:
    """Name the browser or program of a User-Agent header: ``Firefox 145 on Linux``, ``curl 8``; empty if unknown.

    Clients choose the header freely, so the name is a help for people and proves nothing.
    """
    system = next((name for name, mark in _SYSTEMS if re.search(mark, user_agent)), "")
    for name, pattern in _BROWSERS:
        if found := re.search(pattern, user_agent):
            return f"{name} {found[1]}{f' on {system}' if system else ''}"
    program = _PROGRAM.match(user_agent)
    if program is None or program[1] == "Mozilla":
        return f"Browser on {system}" if system else ""
    return " ".join(filter(None, program.groups()))
