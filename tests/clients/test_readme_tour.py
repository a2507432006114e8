"""The tour of the README, word for word: `make serve` in one terminal, all commands of the tour in another."""

import os
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.parts.engines import Docker
from tests.parts.process import Program, http_answers

ROOT = Path(__file__).parents[2]
TOUR = re.compile(r"<!-- tour -->\n```sh\n(.*?)```", re.DOTALL)
HUB = "http://127.0.0.1:5000"

pytestmark = pytest.mark.clients


@pytest.fixture
def make_serve(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A hub started by `make serve` for a user with an empty home; yields the user's environment."""
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", 5000)), f"something listens at {HUB}, which the tour needs: stop it first"
    # Not those either that `make test ARGS=..` hands down to every make below it.
    strange = ("HYTHE_", "XDG_", "MAKE", "MFLAGS", "ARGS")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(strange)}
    environment |= {"HOME": str(tmp_path), "NO_SYSTEM_PACKAGES": "1"}
    hub = Program(["make", "-C", str(ROOT), "serve"], tmp_path / "stderr", environment, out=tmp_path / "stdout")
    hub.wait_until(lambda: http_answers(HUB), 60)
    yield environment
    hub.stop()


def test_every_command_of_the_tour_works(make_serve: dict[str, str], docker: Docker, busybox_tar: Path) -> None:
    """Each command succeeds with the output that the text shows."""
    docker.import_image(busybox_tar, "busybox")
    blocks = TOUR.findall((ROOT / "README.md").read_text())
    script = "\n".join(["set -euo pipefail", *blocks])

    toured = subprocess.run(
        ["bash", "-m", "-c", script],
        cwd=ROOT,
        env=make_serve | {key: value for key, value in docker.env.items() if key.startswith("DOCKER_")},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )

    assert toured.returncode in (0, 128 + signal.SIGTERM), toured.stdout + toured.stderr
    output = toured.stdout
    assert len(blocks) == 7
    assert '"username":"ann"' in output
    assert output.count("Login Succeeded") == 2
    assert "\nahoy\n" in output
    assert re.search(r"^ann/kickassapp\b", output, re.MULTILINE)
    assert '"visibility":"private"' in output
    assert '"status":404' in output
    assert re.search(r"^busybox\b.*\[OK\]", output, re.MULTILINE)
    assert re.search(r"^captain/answer\b", output, re.MULTILINE)
    assert output.count("latest: digest: sha256:") == 4
