"""Finding a runtime, and the meaning of its errors."""

from pathlib import Path

import pytest

from hythe.containers.errors import CannotStart
from hythe.containers.runtime import exit_code_for, find_runtime, last_error


def test_a_chosen_runtime_must_be_installed(tmp_path: Path) -> None:
    """The error names it."""
    with pytest.raises(CannotStart, match="no-such-runtime is not installed"):
        find_runtime("no-such-runtime", tmp_path)


def test_the_variable_selects_the_runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """HYTHE_RUNTIME is the default for the flag, and can be a path."""
    program = tmp_path / "own-runtime"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("HYTHE_RUNTIME", str(program))

    assert find_runtime("", tmp_path / "state").program == str(program)
    with pytest.raises(CannotStart):
        find_runtime("other", tmp_path)


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ('unable to start container process: exec: "x": executable file not found in $PATH', 127),
        ('unable to start container process: exec: "/x": stat /x: no such file or directory', 127),
        ('unable to start container process: exec: "/etc": is a directory', 126),
        ('unable to start container process: exec: "/etc/passwd": permission denied', 126),
        ("executable file `x` not found in $PATH: No such file or directory", 127),
        ("open executable: Permission denied", 126),
        ("error mounting /data: no such file or directory", 125),
        ("cgroups in hybrid mode not supported", 125),
    ],
)
def test_exit_codes(message: str, code: int) -> None:
    """Docker's exit codes for messages of runc and crun."""
    assert exit_code_for(message) == code


def test_the_last_error_of_a_log(tmp_path: Path) -> None:
    """JSON lines including warnings; other text is an error itself."""
    log = tmp_path / "log"
    assert last_error(log) == ""
    log.write_text('{"level":"error","msg":"first"}\n{"level":"error","msg":"last"}\n{"level":"warning","msg":"x"}\n')
    assert last_error(log) == "last"
    log.write_text("plain words\n")
    assert last_error(log) == "plain words"
