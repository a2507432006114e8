"""The keys of a running hub: sealed in the database, rotated without a restart, and never replaced silently."""

from __future__ import annotations

import base64
import json
import shutil
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from joserfc.jwk import ECKey
from tests.parts.hub import HUB, HytheServer
from tests.security.registry_client import PASSWORD, RegistryClient, basic, bearer

from hythe.hub.secret_box import SecretBox

QUIET = {"HYTHE_BUILDS_WORKERS": "0"}
PEM = "/.well-known/hythe/builds.pem"


def rows(data: Path, statement: str, *values: object) -> list[tuple[str, ...]]:
    """Run a statement in the database of a hub and return its rows."""
    with closing(sqlite3.connect(data / "hythe.db", timeout=30)) as connection, connection:
        return connection.execute(statement, values).fetchall()


def key_id(token: str) -> str:
    """The id of the key that signed a token."""
    return str(json.loads(base64.urlsafe_b64decode(token.partition(".")[0] + "=="))["kid"])


@pytest.fixture
def hub(start_hub: Callable[..., HytheServer]) -> HytheServer:
    """A hub with ann."""
    started = start_hub(env=QUIET)
    started.create_user("ann", PASSWORD)
    return started


def test_a_stolen_database_signs_nothing(hub: HytheServer) -> None:
    """No file of the database has the private part of a key."""
    assert len(rows(hub.data, "SELECT id FROM signing_keys")) == 2
    for path in hub.data.glob("hythe.db*"):
        content = path.read_bytes()
        assert b'"kty"' not in content or b'"d"' not in content


def test_a_running_server_takes_up_new_keys(hub: HytheServer) -> None:
    """Tokens from before a rotation stay valid, and after a while new tokens are signed with the new key."""
    client = RegistryClient(hub.url)
    client.push("ann/app", basic("ann"))
    old = client.access_token(basic("ann"), "repository:ann/app:pull")["token"]
    old_pem = client.send("GET", PEM).text

    assert "which sign in 30 seconds" in hub.admin("rotate-keys")

    # As if the rotation had been a minute ago.
    moved = "UPDATE signing_keys SET created_at = datetime(created_at, '-60 seconds')"
    rows(hub.data, moved)
    end = time.monotonic() + 25
    while key_id(new := client.access_token(basic("ann"), "repository:ann/app:pull")["token"]) == key_id(old):
        assert time.monotonic() < end
        time.sleep(0.5)
    for token in (old, new):
        assert client.status("GET", "/v2/ann/app/manifests/latest", bearer(token)) == 200
    assert old_pem in client.send("GET", PEM).text
    assert client.send("GET", PEM).text.count("BEGIN PUBLIC KEY") == 2


def test_a_data_folder_of_an_older_version(hub: HytheServer) -> None:
    """Its key file is renamed, its plain key is sealed, and it signs what it signed before."""
    hub.stop()
    (hub.data / "secret.key").rename(hub.data / "builds.key")
    key = ECKey.generate_key("P-256", auto_kid=True)
    rows(hub.data, "DELETE FROM signing_keys")
    plain = json.dumps(key.as_dict(private=True))
    add = "INSERT INTO signing_keys (id, private_key, created_at) VALUES (?, ?, '2026-01-01 00:00:00.000000')"
    rows(hub.data, add, key.kid, plain)

    hub.start()

    assert (hub.data / "secret.key").exists()
    assert not (hub.data / "builds.key").exists()
    [(stored,)] = rows(hub.data, "SELECT private_key FROM signing_keys")
    assert json.loads(SecretBox.open(hub.data).unseal("signing key", stored)) == json.loads(plain)
    client = RegistryClient(hub.url)
    assert key_id(client.access_token(basic("ann"))["token"]) == key.kid
    assert client.send("GET", PEM).text.count("BEGIN PUBLIC KEY") == 1


@pytest.fixture(scope="module")
def data_with_ann(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder of a hub with ann, to be copied."""
    folder = tmp_path_factory.mktemp("ann")
    HytheServer(HUB, folder / "data", folder, env=QUIET).create_user("ann", PASSWORD)
    return folder / "data"


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ("missing", "secret.key is missing, but the database has secrets that its key sealed"),
        ("another", "secret.key is another key than that of this installation: copy secret.key from a server"),
        ("cut", "secret.key: the value is invalid: use 32 bytes in base64"),
        ("setting", "secret_key is another key than that of this installation: copy secret.key from a server"),
        ("setting not base64", "secret_key (environment HYTHE_SECRET_KEY): the value is invalid: use 32 bytes"),
        ("old setting", "the setting builds_key is now called secret_key"),
    ],
)
def test_without_the_right_key_the_hub_does_not_start(
    data_with_ann: Path, tmp_path: Path, damage: str, words: str
) -> None:
    """The error names the file or the setting, and the keys in the database stay."""
    hub = HytheServer(HUB, shutil.copytree(data_with_ann, tmp_path / "data"), tmp_path, env=QUIET)
    before = rows(hub.data, "SELECT * FROM signing_keys")
    file = hub.data / "secret.key"
    match damage:
        case "missing":
            file.unlink()
        case "another":
            file.write_bytes(base64.b64encode(b"x" * 32))
        case "cut":
            file.write_bytes(file.read_bytes()[:20])
        case "setting":
            hub.env = {**QUIET, "HYTHE_SECRET_KEY": base64.b64encode(b"x" * 32).decode()}
        case "setting not base64":
            hub.env = {**QUIET, "HYTHE_SECRET_KEY": "hush!"}
        case "old setting":
            hub.env = {**QUIET, "HYTHE_BUILDS_KEY": base64.b64encode(b"x" * 32).decode()}

    refused = hub.try_admin("list-users")

    assert refused.returncode == 2
    assert words in refused.stderr
    assert "Traceback" not in refused.stderr
    assert rows(hub.data, "SELECT * FROM signing_keys") == before
    assert file.exists() == (damage != "missing")
