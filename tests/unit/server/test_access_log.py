"""The access log: a line for each request that no client can forge, without secrets, and without blocking."""

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from hythe.server import access_log
from hythe.server.access_log import AccessLog, LineWriter, shown_path
from hythe.telemetry.request_record import RequestRecord

COMBINED = re.compile(
    r'\S+ - \S+ \[[^]]+\] "[A-Z]+ \S+ HTTP/1\.1" \d{3} \d+ "-" "(?:[^"\\]|\\.)*" \d+\.\d{6} [0-9a-f]{32}'
)


def logged(folder: Path, log_format: str, user: str = "alice", **changed: Any) -> list[str]:
    """Log one request, and return the lines."""
    file = folder / "log"
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT)
    writer = LineWriter(descriptor)
    record = RequestRecord()
    record.user, record.status, record.sent = user, 200, 17
    scope: dict[str, Any] = {
        "method": "GET",
        "path": "/v2/alice/app/manifests/1",
        "query_string": b"",
        "headers": [(b"user-agent", b"docker/27.1")],
        "http_version": "1.1",
        "client": ("192.0.2.7", 1),
    }
    AccessLog(writer, log_format).log({**scope, **changed}, record, 0.0123)
    writer.close()
    os.close(descriptor)
    return file.read_text().splitlines()


def test_text_is_the_combined_format_with_seconds_and_id(tmp_path: Path) -> None:
    """So that tools for the logs of nginx and Apache read it."""
    (line,) = logged(tmp_path, "text")

    assert COMBINED.fullmatch(line)
    assert line.startswith("192.0.2.7 - alice [")
    assert '"GET /v2/alice/app/manifests/1 HTTP/1.1" 200 17 "-" "docker/27.1" 0.012300 ' in line


HOSTILE = 'x" 200 0 "-" "-"\r\n192.0.2.9 - root [now] "GET / HTTP/1.1" 200 1 \\ \x1b[2J \u202e'


@pytest.mark.parametrize("log_format", ["text", "json"])
@pytest.mark.parametrize("field", ["path", "headers", "user"])
def test_what_clients_send_stays_in_its_field(tmp_path: Path, log_format: str, field: str) -> None:
    """One request is one line, whatever its path, user agent or user is."""
    changed: dict[str, Any] = {"path": {"path": "/" + HOSTILE}, "user": {"user": HOSTILE}}.get(
        field, {"headers": [(b"user-agent", HOSTILE.encode("latin-1", "replace"))]}
    )

    (line,) = logged(tmp_path, log_format, **changed)

    assert line.isprintable() or log_format == "json"
    assert "\x1b" not in line
    if log_format == "text":
        assert COMBINED.fullmatch(line)
    else:
        assert json.loads(line)["remote"] == "192.0.2.7"


@pytest.mark.parametrize(
    ("path", "query", "shown"),
    [
        ("/v2/a/b/tags/list", "n=5&last=x", "/v2/a/b/tags/list?n=5&last=x"),
        ("/token", "service=hub&scope=repository%3Aa%2Fb%3Apull", "/token?service=hub&scope=repository:a/b:pull"),
        ("/reset-password", "token=s3cret", "/reset-password?token=***"),
        ("/anything", "unknown=s3cret&n=1", "/anything?unknown=***&n=1"),
        ("/u/a/b/trigger/s3cret/", "", "/u/a/b/trigger/***"),
        ("/u/a/b/hook/s3cret/", "", "/u/a/b/hook/***"),
        ("/hooks/s3cret", "", "/hooks/***"),
        ("/a b", "", "/a%20b"),
        ("/\udcff", "", "/%3F"),
    ],
)
def test_secrets_in_addresses_are_not_shown(path: str, query: str, shown: str) -> None:
    """Only parameters that are known to be harmless are shown with their values."""
    assert shown_path({"path": path, "query_string": query.encode()}) == shown


def test_a_reader_that_is_too_slow_costs_lines_and_not_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The number of dropped lines is in the log."""
    monkeypatch.setattr(access_log, "MAX_PENDING", 3)
    reader, descriptor = os.pipe()
    writer = LineWriter(descriptor)
    monkeypatch.setattr(writer, "_run", lambda: None)  # a thread that never writes
    for number in range(5):
        writer.write(str(number))
    assert writer.dropped == 2

    writer._flush()

    assert os.read(reader, 1000).splitlines() == [
        *(b"0", b"1", b"2"),
        b"the access log dropped 2 lines: what reads it is too slow",
    ]
    os.close(reader)
    os.close(descriptor)
