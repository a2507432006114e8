"""A real sshd on a free loopback port: it lets in the keys that it is given, to read git repositories."""

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
    """Serves every path of this machine to whoever holds one of the keys."""

    folder: Path
    port: int
    user: str

    def url(self, path: Path) -> str:
        """The address by which git clones the repository at `path`."""
        return f"ssh://{self.user}@127.0.0.1:{self.port}{path}"

    def admit(self, public_keys: Iterable[str]) -> None:
        """Let these keys in, and no other; they may only read."""
        reading = 'restrict,command="eval \\"git-upload-pack ${SSH_ORIGINAL_COMMAND#* }\\""'
        lines = "".join(f"{reading} {key}\n" for key in public_keys)
        (self.folder / "authorized_keys").write_text(lines)


@contextlib.contextmanager
def running_ssh_server(folder: Path) -> Iterator[SSHServer]:
    """Run sshd with its keys in `folder`."""
    port = free_port()
    key = [program("ssh-keygen", "openssh-client"), "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "host_key")]
    subprocess.run(key, check=True)
    (folder / "sshd_config").write_text(CONFIG.format(port=port, folder=folder))
    (folder / "authorized_keys").write_text("")
    Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    command = [program("sshd", "openssh-server"), "-D", "-e", "-f", str(folder / "sshd_config")]
    started = Program(command, folder / "log", dict(os.environ))
    started.wait_until(lambda: listening(port), 20)
    try:
        yield SSHServer(folder, port, os.environ.get("USER", "root"))
    finally:
        started.stop()


@pytest.fixture
def ssh_server() -> Iterator[SSHServer]:
    """An sshd that lets nobody in until `.admit(keys)`."""
    with own_folder("sshd") as folder, running_ssh_server(folder) as server:
        yield server
