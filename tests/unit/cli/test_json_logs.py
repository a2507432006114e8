"""With ``--log-format json``, every line that a server or worker prints is JSON, its failure included."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

HYTHE = [sys.executable, "-m", "hythe.cli.main"]


def lines_of(command: list[str], environment: dict[str, str] | None = None) -> tuple[list[str], int]:
    """Run a command, and end it once it is ready; return its lines and exit code."""
    with subprocess.Popen(
        [*HYTHE, *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"HYTHE_UNKNOWN": "1", "HYTHE_BUILDS_WORKERS": "0"} | (environment or {}),
    ) as process:
        lines = []
        for line in process.stdout or ():
            lines.append(line)
            if found := re.search(r"ready at (http://[^;]+);", line):
                with suppress(HTTPError):
                    urlopen(f"{found[1]}/v2/", timeout=60).close()  # from here on it handles SIGTERM
                process.send_signal(signal.SIGTERM)
        return lines, process.wait(60)


@pytest.mark.parametrize("verb", [["serve"], ["registry", "serve"]])
def test_every_line_of_a_server_is_json(verb: list[str], tmp_path: Path) -> None:
    """From the warnings at its start to its end."""
    command = [*verb, "--data", str(tmp_path), "--listen", "127.0.0.1:0", "--log-format", "json"]

    lines, code = lines_of(command)

    events = [json.loads(line)["event"] for line in lines]
    assert any(event.startswith("ready at http://127.0.0.1:") for event in events)
    assert any("HYTHE_UNKNOWN" in event for event in events)
    assert code == 0


@pytest.mark.parametrize("verb", [["serve"], ["registry", "serve"]])
def test_a_failure_is_json(verb: list[str], tmp_path: Path) -> None:
    """A server that cannot start says so in its log, with the same exit code as in text."""
    (tmp_path / "hythe.db").write_bytes(b"not a database, but long enough to be read as one" * 100)
    command = [*verb, "--data", str(tmp_path), "--listen", "127.0.0.1:0", "--log-format", "json"]

    lines, code = lines_of(command)

    last = json.loads(lines[-1])
    assert [json.loads(line)["event"] for line in lines]
    assert "is no SQLite database" in last["event"]
    assert last["level"] == "error"
    assert code == 5


def test_every_line_of_a_worker_is_json(tmp_path: Path) -> None:
    """Its hub is away, or its settings lack the token."""
    command = ["worker", "--url", "http://127.0.0.1:9", "--builds-folder", str(tmp_path), "--log-format", "json"]

    lines, code = lines_of(command, {"HYTHE_WORKER_TOKEN": ""})

    assert "no worker token" in json.loads(lines[-1])["event"]
    assert all(json.loads(line)["event"].startswith("worker: ") for line in lines)
    assert code == 1
