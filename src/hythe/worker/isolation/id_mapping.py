"""Maps user and group IDs in a build to IDs on the host.

A worker that runs as root gives each build its own range of 65,536 IDs. Another worker uses its user's range in
/etc/subuid through newuidmap; root inside is the worker's own, unprivileged user.
"""

import os
import pwd
import subprocess
from pathlib import Path

import msgspec

from hythe.worker.errors import IsolationUnavailable

RANGE = 65536


class IdMapping(msgspec.Struct, frozen=True):
    """Maps root inside to ``owner`` on the host and, if ``base`` is set, IDs from 1 to IDs from ``base``."""

    owner: int
    base: int
    helper: bool
    """Whether newuidmap and newgidmap write the maps, because the worker may not."""

    def write_maps(self, pid: int) -> None:
        """Write the ID maps of the user namespace of process ``pid``. Raises IsolationUnavailable."""
        if self.helper:
            for program in ("newuidmap", "newgidmap"):
                self._run_helper(program, pid)
            return
        try:
            for name in ("uid_map", "gid_map"):
                Path(f"/proc/{pid}/{name}").write_text(f"0 {self.base} {RANGE}\n")
        except OSError as error:
            raise IsolationUnavailable(f"failed to write the ID maps of a user namespace: {error}") from error

    def _run_helper(self, program: str, pid: int) -> None:
        command = [program, str(pid), "0", str(self.owner), "1", "1", str(self.base), str(RANGE - 1)]
        completed = subprocess.run(command, capture_output=True, text=True, check=False)
        if completed.returncode:
            raise IsolationUnavailable(
                f"{program} failed: {completed.stderr.strip()}: give the worker's user 65536 IDs in /etc/subuid and "
                "/etc/subgid (package uidmap)"
            )


def map_ids(slot: int, first: int) -> IdMapping:
    """Return the ID mapping of build ``slot``; the ranges start at ``first``. Raises IsolationUnavailable."""
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
    raise IsolationUnavailable("the worker's user has no IDs in /etc/subuid: run 'usermod --add-subuids ..'")
