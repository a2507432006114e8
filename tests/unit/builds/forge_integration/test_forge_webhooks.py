"""Deploy keys in OpenSSH's format."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.parts.process import program

from hythe.builds.forge_integration.forge_webhooks import new_key_pair


def test_public_key_matches_private_key(tmp_path: Path) -> None:
    """ssh-keygen reads the private key without a passphrase and derives the same public key."""
    private, public = new_key_pair("hythe alice/app")
    file = tmp_path / "key"
    file.write_text(private)
    file.chmod(0o600)

    command = [program("ssh-keygen", "openssh-client"), "-y", "-f", str(file)]
    derived = subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert public == f"{derived.strip()} hythe alice/app"
