"""The access log: a line for each request, without the secrets that addresses contain.

Lines are written by a thread, which many of them share a write of, so a slow terminal or disk delays no response. If it
cannot keep up, lines are dropped and counted.
"""

import contextlib
import os
import re
import threading
import time
from collections import deque
from urllib.parse import parse_qsl, quote, urlencode

import msgspec
from starlette.types import Scope

from hythe.control_characters import escape_line
from hythe.telemetry.request_record import RequestRecord

MAX_PENDING = 50_000
"""Lines that wait to be written; more are dropped."""

FLUSH_INTERVAL = 0.2
"""Seconds for which lines are collected."""

MAX_FIELD = 1000
"""Characters of a path or header that are logged."""

HIDDEN = "***"

_SECRET_PATH = re.compile(r"^(/u/.*?/(?:trigger|hook)/|/hooks/).+$", re.DOTALL)
"""Paths whose end is a secret: it alone starts builds, or reports the outcome of a webhook."""

_PLAIN_PATH = re.compile(r"[A-Za-z0-9/._:@+~-]*")

_SHOWN = frozenset(
    {"account", "artifactType", "client_id", "cursor", "digest", "from", "last", "mount", "n", "namespace", "ns", "q"}
    | {"page", "page_size", "query", "scope", "service", "sort", "tag"}
)
"""Parameters of queries whose values are logged; those of others may be secrets."""


class LineWriter:
    """Writes lines to a file descriptor from a thread, which starts with the first line."""

    def __init__(self, descriptor: int = 2) -> None:
        """``descriptor``: stderr, unless a test uses another one."""
        self._descriptor = descriptor
        self._pending: deque[str] = deque()
        self._wanted = threading.Event()
        self._thread: threading.Thread | None = None
        self._closed = False
        self.dropped = 0

    def write(self, line: str) -> None:
        """Write a line soon, or drop it if too many wait."""
        if len(self._pending) >= MAX_PENDING:
            self.dropped += 1
            return
        self._pending.append(line)
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="access-log", daemon=True)
            self._thread.start()
        self._wanted.set()

    def close(self) -> None:
        """Write what waits, and end the thread."""
        self._closed = True
        self._wanted.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _run(self) -> None:
        while not self._closed or self._pending:
            self._wanted.wait()
            self._wanted.clear()
            self._flush()
            if not self._closed:
                time.sleep(FLUSH_INTERVAL)

    def _flush(self) -> None:
        lines = [self._pending.popleft() for _ in range(len(self._pending))]
        dropped, self.dropped = self.dropped, 0
        if dropped:
            lines.append(f"the access log dropped {dropped} lines: what reads it is too slow")
        content = memoryview("".join(f"{line}\n" for line in lines).encode())
        with contextlib.suppress(OSError):  # there is no other place to report it
            while content:
                content = content[os.write(self._descriptor, content) :]


class AccessLog:
    """Formats requests like the combined log of Apache and nginx, or as JSON."""

    def __init__(self, writer: LineWriter, log_format: str) -> None:
        """``log_format``: text or json."""
        self._writer = writer
        self._json = log_format == "json"
        self._second = 0
        self._time = ""

    def log(self, scope: Scope, record: RequestRecord, seconds: float) -> None:
        """Log a request that took ``seconds`` until its last byte was sent."""
        client = scope.get("client")
        fields = {
            "remote": client[0] if client else "-",
            "user": record.user,
            "method": scope["method"],
            "path": shown_path(scope),
            "protocol": f"HTTP/{scope['http_version']}",
            "status": record.status,
            "bytes": record.sent,
            "received": record.received,
            "seconds": round(seconds, 6),
            "user_agent": _header(scope, b"user-agent"),
            "request_id": record.id,
        }
        if self._json:
            now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            line = {"event": "request", "level": "info", "timestamp": now, **fields}
            self._writer.write(msgspec.json.encode(line).decode())
        else:
            self._writer.write(self._text(fields))

    def _text(self, fields: dict[str, object]) -> str:
        # Paths are encoded. Names in an htpasswd file, and user agents, can contain anything.
        user, agent = str(fields["user"]), str(fields["user_agent"])
        if not _PLAIN_PATH.fullmatch(user):
            user = quote(user, errors="replace")
        return (
            f"{fields['remote']} - {user or '-'} [{self._now()}] "
            f'"{fields["method"]} {fields["path"]} {fields["protocol"]}" {fields["status"]} {fields["bytes"]} "-" '
            f'"{_quoted(agent) or "-"}" {fields["seconds"]:.6f} {fields["request_id"]}'
        )

    def _now(self) -> str:
        second = int(time.time())
        if second != self._second:
            self._second = second
            self._time = time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(second))
        return self._time


def shown_path(scope: Scope) -> str:
    """Return the path and query of a request without the secrets in them."""
    # The decoded path, in which an encoded secret looks like any other.
    path = _SECRET_PATH.sub(rf"\1{HIDDEN}", scope["path"][:MAX_FIELD])
    if not _PLAIN_PATH.fullmatch(path):
        path = quote(path, safe="/:@+*,", errors="replace")
    query = str(scope["query_string"][:MAX_FIELD], "latin-1")
    return f"{path}?{_shown_query(query)}" if query else path


def _shown_query(query: str) -> str:
    pairs = parse_qsl(query, keep_blank_values=True)
    return urlencode([(name, value if name in _SHOWN else HIDDEN) for name, value in pairs], safe="*/:@,")


def _header(scope: Scope, name: bytes) -> str:
    return next((str(value[:MAX_FIELD], "latin-1") for key, value in scope["headers"] if key == name), "")


def _quoted(text: str) -> str:
    """Escape what would end a quoted field, or a line."""
    return escape_line(text.replace("\\", "\\\\").replace('"', '\\"'))
