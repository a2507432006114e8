"""Access by an htpasswd file, as Debian's ``htpasswd -B`` writes it, and access that only reads."""

from __future__ import annotations

import asyncio
import base64
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.parts.database import Run
from tests.parts.process import program

from hythe.oci.errors import ErrorCode, WireError
from hythe.registry.access import Action, Actor
from hythe.registry.anonymous import AnonymousAccess
from hythe.registry.htpasswd import HtpasswdAccess, HtpasswdError
from hythe.registry.read_only import ReadOnlyAccess


def write(path: Path, name: str, password: str) -> None:
    """Add a line by the real program."""
    create = [] if path.exists() else ["-c"]
    command = [program("htpasswd", "apache2-utils"), *create, "-Bb", "-C", "5", str(path), name, password]
    subprocess.run(command, check=True, capture_output=True)
    os.utime(path, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns + 1))


def basic(name: str, password: str) -> str:
    """The header of a client."""
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file in which ann is."""
    path = tmp_path / "htpasswd"
    write(path, "ann", "pässword")
    return path


def test_right_password(file: Path, run: Run[Any]) -> None:
    """Again and again, the second time from memory."""
    access = HtpasswdAccess(file)

    assert [run(access.authenticate(basic("ann", "pässword"))) for _ in range(2)] == [Actor("ann")] * 2


@pytest.mark.parametrize(
    "header", [None, basic("ann", "wrong"), basic("ben", "pässword"), "Basic !", "Bearer x", "Basic", basic("", "")]
)
def test_everything_else_is_refused(file: Path, run: Run[Any], header: str | None) -> None:
    """No header, a wrong password, an unknown name, a broken header: 401 with Basic offered."""
    access = HtpasswdAccess(file)

    with pytest.raises(WireError) as refused:
        run(access.authenticate(header))

    assert refused.value.code is ErrorCode.UNAUTHORIZED
    assert str(access.challenge(None, [])) == 'Basic realm="hythe registry"'


def test_changed_file_counts_at_once(file: Path, run: Run[Any]) -> None:
    """Who is added may enter, who is removed may not any more; a broken file changes nothing."""
    access = HtpasswdAccess(file)
    run(access.authenticate(basic("ann", "pässword")))
    file.unlink()
    write(file, "ben", "other")

    assert run(access.authenticate(basic("ben", "other"))) == Actor("ben")
    with pytest.raises(WireError):
        run(access.authenticate(basic("ann", "pässword")))
    file.write_text("nonsense")
    assert run(access.authenticate(basic("ben", "other"))) == Actor("ben")


def test_a_password_that_is_taken_away_while_it_is_checked(file: Path, run: Run[Any]) -> None:
    """A sign-in that began before the file changed is not remembered: the next one is checked by the new file."""
    access = HtpasswdAccess(file)

    async def scenario() -> None:
        checking = asyncio.ensure_future(access.authenticate(basic("ann", "pässword")))
        await asyncio.sleep(0)  # the check is in its thread
        file.unlink()
        write(file, "ben", "other")
        with pytest.raises(WireError):
            await access.authenticate(basic("nobody", "x"))
        await checking
        await access.authenticate(basic("ann", "pässword"))

    with pytest.raises(WireError):
        run(scenario())


@pytest.mark.parametrize("content", ["ann", "ann:{SHA}x", ":$2y$05$x", "ann:$apr1$x$y", "ann:$2y$05$cut"])
def test_unusable_file_says_which_line(tmp_path: Path, content: str) -> None:
    """The error names the line and the command that makes a right one."""
    path = tmp_path / "htpasswd"
    path.write_text(f"# people\n\n{content}\n")

    with pytest.raises(HtpasswdError, match=r"line 3.*htpasswd -nB"):
        HtpasswdAccess(path)


def test_read_only_lets_nobody_change(run: Run[Any]) -> None:
    """Pulls are for the access inside to decide, everything else is unsupported."""
    access = ReadOnlyAccess(AnonymousAccess())
    run(access.require(Actor(), "a", Action.PULL))

    for action in (Action.PUSH, Action.DELETE):
        with pytest.raises(WireError) as refused:
            run(access.require(Actor(), "a", action))
        assert refused.value.code is ErrorCode.UNSUPPORTED
