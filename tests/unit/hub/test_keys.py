"""Signing keys: sealed in the database, rotated while servers run, and kept as long as what they signed."""

import asyncio
import base64
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from joserfc import jwt
from sqlalchemy import text
from tests.unit.hub.services import Services

from hythe.database import Database
from hythe.hub.actor import HubActor
from hythe.hub.errors import SignInNeeded
from hythe.hub.secret_box import SecretBox, SecretBoxError
from hythe.hub.service import open_foundation
from hythe.hub.tokens.keys import LONGEST_TOKEN, PUBLISHED_FIRST, KeyPurpose, SigningKeys, open_secret_box
from hythe.hub.tokens.tokens import TokenRequest
from hythe.provenance.envelope import open_envelope, sign
from hythe.registry.installation import Kind, join_installation
from hythe.settings import Settings


async def stored(database: Database) -> list[Any]:
    """Return the rows of all keys, oldest first."""
    async with database.reading() as session:
        return list(await session.rows(text("SELECT * FROM signing_keys ORDER BY created_at, purpose")))


def another_server(services: Services) -> SigningKeys:
    """Return the keys as another server on the same database has them."""
    keys = SigningKeys(services.database, services.foundation.secret_box, services.clock)
    services.run(keys.open())
    return keys


def token(services: Services, actor: HubActor) -> str:
    """Return a new access token of the actor."""
    return str(services.run(services.hub.tokens.issue(actor, TokenRequest())).token)


def key_id(signed: str) -> str:
    """Return the id of the key that signed a token."""
    return str(json.loads(base64.urlsafe_b64decode(signed.partition(".")[0] + "=="))["kid"])


def test_private_keys_are_sealed(services: Services) -> None:
    """Each purpose has its own key, and the database has no private part of any."""
    rows = services.run(stored(services.database))

    assert sorted(row.purpose for row in rows) == ["provenance", "tokens"]
    assert not any('"d"' in row.private_key or '"d"' in row.public_key for row in rows)


def test_plain_keys_of_an_older_version_are_sealed(services: Services, ann: HubActor) -> None:
    """The first start seals the old key, which goes on signing both kinds; two servers can start at once."""
    key = services.hub.keys._keys[services.hub.keys._signing(KeyPurpose.TOKENS)]
    plain = json.dumps(key.as_dict(private=True))

    async def scenario() -> None:
        async with services.database.writing() as session:
            await session.run(text("DELETE FROM signing_keys"))
            await session.run(
                text("INSERT INTO signing_keys (id, private_key, created_at) VALUES (:id, :key, :at)"),
                {"id": str(key.kid), "key": plain, "at": services.clock.now.replace(tzinfo=None)},
            )

    services.run(scenario())
    before = token(services, ann)
    first, second = another_server(services), another_server(services)

    (row,) = services.run(stored(services.database))
    assert '"d"' not in row.private_key
    assert row.private_key != plain
    assert services.run(first.verify(before))["sub"] == "ann"
    private, signer = second.provenance_key()
    assert signer == row.id
    assert open_envelope(sign(b"{}", private, signer), first.provenance_public_keys()) == b"{}"


def test_a_wrong_or_missing_key_creates_no_new_keys(services: Services, settings: Settings) -> None:
    """The error names the setting, and the database stays as it is."""
    before = services.run(stored(services.database))
    services.run(another_box(services, settings))  # the right key opens
    settings.data_folder.joinpath("secret.key").rename(settings.data_folder / "lost")

    with pytest.raises(SecretBoxError, match="set secret_key"):
        services.run(another_box(services, settings))

    wrong = SigningKeys(services.database, SecretBox(b"w" * 32), services.clock)
    with pytest.raises(SecretBoxError, match="secret_key is another key than that of this installation"):
        services.run(wrong.open())
    assert services.run(stored(services.database)) == before
    assert not settings.data_folder.joinpath("secret.key").exists()


async def open_another(database: Database, settings: Settings) -> None:
    """Start another hub on the same database."""
    async with open_foundation(database, settings):
        pass


async def installation(database: Database) -> Any:
    """Return the row of the installation."""
    async with database.reading() as session:
        return await session.row(text("SELECT key_fingerprint FROM installation"))


def test_a_server_with_another_key_does_not_start(services: Services, settings: Settings, tmp_path: Path) -> None:
    """Whether it has a key file, the setting, or neither; the database has the key's fingerprint, not the key."""
    fingerprint = services.foundation.secret_box.fingerprint
    other = tmp_path / "other"
    elsewhere = Settings(data=str(other), database_url=settings.database_url)
    services.run(join_installation(services.database, services.registry.verification._storage, Kind.HUB))
    services.run(open_another(services.database, settings))  # as the first start of this version
    assert services.run(installation(services.database)) == (fingerprint,)
    assert base64.b64decode((tmp_path / "secret.key").read_text()).hex() not in fingerprint

    with pytest.raises(SecretBoxError, match=r"other/secret.key is missing.*copy the file from another server"):
        services.run(open_another(services.database, elsewhere))
    assert not (other / "secret.key").exists()
    SecretBox.open(other)
    with pytest.raises(SecretBoxError, match=r"other/secret.key is another key than that of this installation: copy"):
        services.run(open_another(services.database, elsewhere))
    wrong = msgspec.structs.replace(elsewhere, secret_key=base64.b64encode(b"w" * 32).decode())
    with pytest.raises(SecretBoxError, match=r"^secret_key is another key than that of this installation: copy"):
        services.run(open_another(services.database, wrong))
    right = msgspec.structs.replace(elsewhere, secret_key=(tmp_path / "secret.key").read_text())
    services.run(open_another(services.database, right))


def test_of_two_first_starts_one_key_wins(services: Services, settings: Settings, tmp_path: Path) -> None:
    """The other server does not start, and keeps no key file that would be in the way of the right one."""
    folders = [tmp_path / name for name in ("one", "two", "three")]

    async def scenario() -> list[BaseException | None]:
        await join_installation(services.database, services.registry.verification._storage, Kind.HUB)
        async with services.database.writing() as session:
            await session.run(text("DELETE FROM signing_keys"))
        starts = (open_another(services.database, msgspec.structs.replace(settings, data=str(f))) for f in folders)
        return await asyncio.gather(*starts, return_exceptions=True)

    results = services.run(scenario())

    assert [type(result).__name__ for result in results].count("SecretBoxError") == 2
    assert [(folder / "secret.key").exists() for folder in folders] == [result is None for result in results]


def test_a_lost_key_can_be_given_up(services: Services, settings: Settings, tmp_path: Path) -> None:
    """Without signing keys the next start creates new ones, and its key is that of the installation."""

    async def scenario() -> None:
        await join_installation(services.database, services.registry.verification._storage, Kind.HUB)
        await open_another(services.database, settings)
        (tmp_path / "secret.key").unlink()
        async with services.database.writing() as session:
            await session.run(text("DELETE FROM signing_keys"))
        await open_another(services.database, settings)

    services.run(scenario())

    assert services.run(installation(services.database)) == (SecretBox.open(tmp_path).fingerprint,)


def test_what_is_derived_from_the_key() -> None:
    """Servers with one key derive the same secrets; each purpose has its own."""
    one, same, other = SecretBox(b"k" * 32), SecretBox(b"k" * 32), SecretBox(b"o" * 32)

    assert one.derive("worker token") == same.derive("worker token")
    assert len({one.derive("worker token"), other.derive("worker token"), one.fingerprint, other.fingerprint}) == 4


async def another_box(services: Services, settings: Settings) -> None:
    """Open the installation's box as a second start does."""
    await open_secret_box(services.database, settings)


def test_a_new_key_signs_when_every_server_knows_it(services: Services, ann: HubActor) -> None:
    """Right after a rotation the old key still signs, so no server meets a token that it cannot verify."""
    services.clock.forward(minutes=1)
    other = another_server(services)
    old = token(services, ann)
    services.run(services.hub.keys.rotate())

    assert key_id(token(services, ann)) == key_id(old)
    services.clock.forward(seconds=PUBLISHED_FIRST.total_seconds())
    services.run(services.hub.keys._load())
    new = token(services, ann)

    assert key_id(new) != key_id(old)
    other._loaded = float("-inf")
    for signed in (old, new):
        assert services.run(other.verify(signed))["sub"] == "ann"


def test_replaced_keys_end_with_their_tokens(services: Services, ann: HubActor) -> None:
    """Keys of tokens are deleted; of keys of provenance the public part stays, and the private one is erased."""
    services.clock.forward(minutes=1)
    old = token(services, ann)
    private, signer = services.hub.keys.provenance_key()
    envelope = sign(b"{}", private, signer)
    services.run(services.hub.keys.rotate())
    services.clock.forward(seconds=(PUBLISHED_FIRST + LONGEST_TOKEN + timedelta(seconds=1)).total_seconds())

    server = another_server(services)

    rows = {row.id: row for row in services.run(stored(services.database))}
    assert key_id(old) not in rows
    assert rows[signer].private_key == ""
    assert len(rows) == 3
    assert open_envelope(envelope, server.provenance_public_keys()) == b"{}"
    assert server.provenance_key()[1] != signer
    with pytest.raises(SignInNeeded):
        services.run(services.hub.credentials.by_token(old))


def test_a_key_of_provenance_signs_no_tokens(services: Services) -> None:
    """A token that the other key signed is refused, although the database has that key."""
    keys = services.hub.keys
    _, signer = keys.provenance_key()
    forged = jwt.encode({"alg": "ES256", "kid": signer}, {"iss": "hythe", "sub": "ann"}, keys._keys[signer])

    with pytest.raises(SignInNeeded):
        services.run(services.hub.credentials.by_token(forged))


def test_rotating_often_leaves_one_key_for_each_purpose_signing(services: Services, ann: HubActor) -> None:
    """Several rotations within seconds break nothing."""
    for _ in range(3):
        services.run(services.hub.keys.rotate())
        services.clock.forward(seconds=1)
    signed = token(services, ann)
    services.clock.forward(hours=1)

    fresh = another_server(services)

    assert len([row for row in services.run(stored(services.database)) if row.private_key]) == 2
    assert key_id(signed) not in [row.id for row in services.run(stored(services.database)) if row.private_key]
    assert fresh.sign({"sub": "x"})
