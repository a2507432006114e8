"""A real sshd on a free loopback port; with an authorized key, clients can read git repositories."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.parts.process import Program, free_port, listening, own_folder, program

CONFIG = """\
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/authorized_keys
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
PermitRootLogin prohibit-password
StrictModes no
PidFile none
"""


@dataclass(slots=True)
class SSHServer:
    """Serves every git repository of this machine to clients with an authorized key."""

    folder: Path
    port: int
    user: str

    def url(self, path: Path) -> str:
        """Return the clone URL of the repository at `path`."""
        return f"ssh://{self.user}@127.0.0.1:{self.port}{path}"

    def authorize(self, public_keys: Iterable[str]) -> None:
        """Replace the authorized keys; all of them are read-only."""
        options = 'restrict,command="eval \\"git-upload-pack ${SSH_ORIGINAL_COMMAND#* }\\""'
        lines = "".join(f"{options} {key}\n" for key in public_keys)
        (self.folder / "authorized_keys").write_text(lines)


@contextlib.contextmanager
def running_ssh_server(folder: Path) -> Iterator[SSHServer]:
    """Run sshd with its host key, configuration and log in `folder`."""
    port = free_port()
    key = [program("ssh-keygen", "openssh-client"), "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "host_key")]
    subprocess.run(key, check=True)
    (folder / "sshd_config").write_text(CONFIG.format(port=port, folder=folder))
    (folder / "authorized_keys").write_text("")
    Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    command = [program("sshd", "openssh-server"), "-D", "-e", "-f", str(folder / "sshd_config")]
    sshd = Program(command, folder / "log", dict(os.environ))
    sshd.wait_until(lambda: listening(port), 20)
    try:
        yield SSHServer(folder, port, os.environ.get("USER", "root"))
    finally:
        sshd.stop()


@pytest.fixture
def ssh_server() -> Iterator[SSHServer]:
    """An sshd without authorized keys; `.authorize(keys)` adds them."""
    with own_folder("sshd") as folder, running_ssh_server(folder) as server:
        yield server
