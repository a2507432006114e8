"""Which user and group numbers of the host stand for those inside a build.

A worker that is root gives each build a range of 65,536 numbers that nobody else has. One that is not root takes the
range that /etc/subuid gives its user, through newuidmap; root inside is then the worker's own, ordinary user.
"""

import os
import pwd
import subprocess
from pathlib import Path

import msgspec

from hythe.worker.errors import IsolationUnavailable

RANGE = 65536


class IdMapping(msgspec.Struct, frozen=True):
    """Maps root inside to ``owner`` on the host and, when ``base`` is set, the numbers from 1 on to ``base`` on."""

    owner: int
    base: int
    helper: bool
    """Whether newuidmap and newgidmap write the maps, as the worker may not."""

    def write_maps(self, pid: int) -> None:
        """Give the user namespace of process ``pid`` its numbers. Raises IsolationUnavailable."""
        if self.helper:
            for program in ("newuidmap", "newgidmap"):
                self._by_helper(program, pid)
            return
        try:
            for name in ("uid_map", "gid_map"):
                Path(f"/proc/{pid}/{name}").write_text(f"0 {self.base} {RANGE}\n")
        except OSError as error:
            raise IsolationUnavailable(f"a user namespace cannot be given its numbers: {error}") from error

    def _by_helper(self, program: str, pid: int) -> None:
        command = [program, str(pid), "0", str(self.owner), "1", "1", str(self.base), str(RANGE - 1)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise IsolationUnavailable(
                f"{program} refused: {done.stderr.strip()}: give the worker's user 65536 numbers in /etc/subuid and "
                "/etc/subgid (package uidmap)"
            )


def identity(slot: int, first: int) -> IdMapping:
    """Return the numbers of the build in ``slot``; ``first`` is where the ranges begin. Raises IsolationUnavailable."""
    if os.geteuid() == 0:
        base = first + slot * RANGE
        return IdMapping(base, base, helper=False)
    return IdMapping(os.geteuid(), _own_range(), helper=True)


def _own_range() -> int:
    names = {str(os.geteuid()), pwd.getpwuid(os.geteuid()).pw_name}
    path = Path("/etc/subuid")
    for line in path.read_text().splitlines() if path.exists() else ():
        name, _, numbers = line.partition(":")
        start, _, count = numbers.partition(":")
        if name in names and count.isdigit() and int(count) >= RANGE - 1:
            return int(start)
    raise IsolationUnavailable("the worker's user has no numbers of its own in /etc/subuid: 'usermod --add-subuids ..'")
