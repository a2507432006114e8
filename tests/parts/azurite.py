"""Azure blob storage, emulated by azurite (from npm, see tests/parts/package.json)."""

from __future__ import annotations

import base64
import email.utils
import hmac
import os
import urllib.parse
import urllib.request
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from tests.parts.process import ROOT, free_port, listening, own_folder, program, running

ACCOUNT = "hythe"
KEY = "b25seSBmb3IgdGVzdHMgb25seSBmb3IgdGVzdHMgb25seSBmb3IgdGVzdHM="
VERSION = "2021-12-02"
SCRIPT = ROOT / ".cache/node/node_modules/azurite/dist/src/blob/main.js"


@dataclass(frozen=True, slots=True)
class AzureAccount:
    """A storage account, as obstore's `azure_*` settings or AZURE_STORAGE_* variables."""

    endpoint: str
    account: str = ACCOUNT
    key: str = KEY

    @property
    def env(self) -> dict[str, str]:
        """The usual environment variables."""
        return {
            "AZURE_STORAGE_ACCOUNT_NAME": self.account,
            "AZURE_STORAGE_ACCOUNT_KEY": self.key,
            "AZURE_STORAGE_ENDPOINT": self.endpoint,
            "AZURE_ALLOW_HTTP": "true",
        }


def create_container(account: AzureAccount, name: str) -> None:
    """Create an empty container (`Put Container`, signed with the shared key), which obstore does not support."""
    path = urllib.parse.urlsplit(account.endpoint).path
    date = email.utils.formatdate(usegmt=True)
    headers = f"x-ms-date:{date}\nx-ms-version:{VERSION}"
    resource = f"/{account.account}{path}/{name}\nrestype:container"
    to_sign = f"PUT{12 * chr(10)}{headers}\n{resource}"
    digest = hmac.digest(base64.b64decode(account.key), to_sign.encode(), "sha256")
    request = urllib.request.Request(
        f"{account.endpoint}/{name}?restype=container",
        method="PUT",
        headers={
            "x-ms-date": date,
            "x-ms-version": VERSION,
            "Authorization": f"SharedKey {account.account}:{base64.b64encode(digest).decode()}",
        },
    )
    with urllib.request.urlopen(request, timeout=30):
        pass


@pytest.fixture(scope="session")
def azurite() -> Iterator[AzureAccount]:
    """The session's storage account."""
    if not SCRIPT.exists():
        pytest.fail("azurite is not installed. hint: run `make .cache/node/.stamp`", pytrace=False)
    with own_folder("azurite") as folder:
        port = free_port()
        flags = ["--silent", "--skipApiVersionCheck", "--disableTelemetry"]
        place = ["--blobHost", "127.0.0.1", "--blobPort", str(port), "--location", str(folder)]
        command = [program("node", "nodejs"), str(SCRIPT), *place, *flags]
        env = os.environ | {"AZURITE_ACCOUNTS": f"{ACCOUNT}:{KEY}"}
        with running(command, folder / "log", lambda: listening(port), env=env, cwd=folder):
            yield AzureAccount(f"http://127.0.0.1:{port}/{ACCOUNT}")


@pytest.fixture
def azure_container(azurite: AzureAccount) -> str:
    """Name of an empty container of the session's account."""
    name = f"test-{uuid.uuid4().hex}"
    create_container(azurite, name)
    return name
