"""Deploy keys as OpenSSH knows them."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.parts.process import program

from hythe.builds.forge_webhooks import new_key


def test_the_two_halves_belong_together(tmp_path: Path) -> None:
    """ssh-keygen reads the private half without a passphrase and derives the line that goes to the forge."""
    private, public = new_key("hythe alice/app")
    file = tmp_path / "key"
    file.write_text(private)
    file.chmod(0o600)

    command = [program("ssh-keygen", "openssh-client"), "-y", "-f", str(file)]
    derived = subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert public == f"{derived.strip()} hythe alice/app"
