"""Control groups of builds."""

import signal
import subprocess
from pathlib import Path

from hythe.worker.isolation.cgroup import make_group, remove_groups
from hythe.worker.isolation.selection import TRIAL


def test_workers_on_one_machine_do_not_interfere(tmp_path: Path) -> None:
    """Two workers run builds with the same number: each ends only its own processes."""
    mine, others = (make_group(tmp_path / name, "1", TRIAL) for name in ("mine", "others"))
    process = subprocess.Popen(["sleep", "60"])
    mine.add(process.pid)

    others.close()
    remove_groups(tmp_path / "others", ["1"])
    left = process.poll()
    mine.close()

    assert left is None
    assert process.wait(10) == -signal.SIGKILL
