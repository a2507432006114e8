"""The fixture that runs containers with hythe."""

from pathlib import Path

import pytest
from tests.parts.hythe_containers import hythe_with_containers
from tests.parts.process import processes_naming

pytestmark = pytest.mark.clients


def test_it_runs_containers_and_leaves_nothing() -> None:
    """The image exists, containers run, and everything is removed afterwards."""
    with hythe_with_containers() as tool:
        assert tool.ok("run", "--rm", "box", "cat", "/etc/first", "/etc/second") == "1\n2"
        tool.ok("run", "-d", "box", "sleep", "300")
        folder = tool.folder

    assert not folder.exists()
    assert processes_naming(str(folder)) == []
    assert str(folder) not in Path("/proc/self/mounts").read_text()
