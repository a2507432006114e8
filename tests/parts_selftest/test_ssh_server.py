"""With an authorized key, clients can read over SSH, but not write."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.parts.git_server import GitServer
from tests.parts.process import program
from tests.parts.ssh_server import SSHServer


def test_a_key_opens_git_for_reading(ssh_server: SSHServer, git_server: GitServer, tmp_path: Path) -> None:
    """Without an authorized key a clone fails; with it, a clone works and a push fails."""
    git = git_server.create("o/r")
    git.commit({"a": "1"})
    key = tmp_path / "key"
    make = [program("ssh-keygen", "openssh-client"), "-q", "-t", "ed25519", "-N", "", "-f", str(key)]
    subprocess.run(make, check=True)
    options = (
        f"-i {key} -o IdentitiesOnly=yes -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null"
    )

    def try_git(*words: str) -> int:
        environment = {**os.environ, "GIT_SSH_COMMAND": f"ssh {options}"}
        return subprocess.run(["git", *words], env=environment, capture_output=True, check=False).returncode

    before = try_git("ls-remote", ssh_server.url(git.bare))
    ssh_server.authorize([Path(f"{key}.pub").read_text().strip()])

    assert before != 0
    assert try_git("clone", "-q", ssh_server.url(git.bare), str(tmp_path / "clone")) == 0
    assert try_git("-C", str(tmp_path / "clone"), "push", "origin", "HEAD:refs/heads/other") != 0
