"""Signing keys: sealed in the database, rotated while servers run, and kept as long as what they signed."""

import base64
import json
from datetime import timedelta
from typing import Any

import pytest
from joserfc import jwt
from sqlalchemy import text
from tests.unit.hub.services import Services

from hythe.database import Database
from hythe.hub.actor import HubActor
from hythe.hub.errors import SignInNeeded
from hythe.hub.keys import LONGEST_TOKEN, PUBLISHED_FIRST, Purpose, SigningKeys, open_secret_box
from hythe.hub.secret_box import SecretBox, SecretBoxError
from hythe.hub.tokens import TokenRequest
from hythe.provenance.envelope import open_envelope, sign
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
    key = services.hub.keys._keys[services.hub.keys._signing(Purpose.TOKENS)]
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
    with pytest.raises(SecretBoxError, match="another key sealed it; set secret_key"):
        services.run(wrong.open())
    assert services.run(stored(services.database)) == before
    assert not settings.data_folder.joinpath("secret.key").exists()


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
