"""One worker at a time uses a folder: the next one would remove what the builds of the first have there."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.parts import preloaded
from tests.parts.hub import HYTHE

from hythe.worker.folder_lock import FolderInUse, folder_locked

WAITING = """
import sys
from pathlib import Path
from hythe.worker.folder_lock import folder_locked
with folder_locked(Path(sys.argv[1]), lambda text: print(text, flush=True), wait=True) as held:
    print(held, flush=True)
"""


@pytest.fixture
def waiting(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that waits for the lock of the folder, with a pipe as its standard input."""
    words = [sys.executable, "-c", WAITING, str(tmp_path)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


def line_of(process: subprocess.Popen[str]) -> str:
    """Return the next line that a process prints."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_a_second_worker_is_refused(tmp_path: Path) -> None:
    """Also by the command, with a hint; what the first one has there stays. Afterwards, the folder is free."""
    left = tmp_path / "work/a-build"
    left.mkdir(parents=True)
    with folder_locked(tmp_path, print, wait=False) as held:
        assert held
        with pytest.raises(FolderInUse), folder_locked(tmp_path, print, wait=False):
            pass
        words = ["worker", "--url", "http://127.0.0.1:9", "--builds-folder", str(tmp_path), "--worker-token", "x"]
        refused, as_json = (
            preloaded.run([str(HYTHE), *words, *more], stdin="", env=dict(os.environ))
            for more in ((), ("--log-format", "json"))
        )

    assert refused.returncode == as_json.returncode == 7
    assert f"error: another worker uses {tmp_path}\nhint: stop it first, or use another" in refused.stderr
    assert f"another worker uses {tmp_path}; hint: stop it first" in as_json.stderr
    assert left.exists()
    with folder_locked(tmp_path, print, wait=False) as held:
        assert held


def test_the_worker_of_a_server_waits_for_the_other_one(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """So that one of several servers on a folder runs its builds, and another one does when that has ended."""
    with folder_locked(tmp_path, print, wait=False):
        process = request.getfixturevalue("waiting")
        assert line_of(process) == f"another worker uses {tmp_path}: this one waits for its end"

    assert line_of(process) == "True"
    assert process.wait(30) == 0


def test_the_wait_ends_with_the_server(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Its worker's standard input ends with it."""
    with folder_locked(tmp_path, print, wait=False):
        process = request.getfixturevalue("waiting")
        assert "waits for its end" in line_of(process)
        process.stdin.close()

        assert line_of(process) == "False"
        assert process.wait(30) == 0
