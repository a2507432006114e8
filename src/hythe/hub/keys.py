"""The ES256 keys that sign access tokens. The first start creates one in the database, so all servers share it.

The newest key signs. Older keys still verify the tokens that they signed.
"""

import json
import time
from base64 import urlsafe_b64decode
from collections.abc import Callable
from datetime import datetime
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from hythe.database import Database
from hythe.hub.sql import keys as store
from hythe.hub.sql.keys import StoredKey

ALGORITHM = "ES256"

_RELOAD_AFTER = 10.0
"""Minimum seconds between two queries for an unknown key."""


class BadToken(Exception):
    """The token was not signed by one of our keys."""


class SigningKeys:
    """Signs and verifies JSON web tokens (RFC 7519)."""

    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock
        self._keys: dict[str, ECKey] = {}
        self._signing = ""
        self._loaded = float("-inf")

    async def open(self) -> None:
        """Load the keys; create the first one if there is none."""
        await self._load()
        if not self._signing:
            await self.rotate()

    async def rotate(self) -> None:
        """Create a new signing key. Older keys no longer sign."""
        key = ECKey.generate_key("P-256", auto_kid=True)
        stored = StoredKey(str(key.kid), json.dumps(key.as_dict(private=True)), None)
        async with self._database.writing() as session:
            await store.retire_all(session, self._clock())
            await store.add(session, stored, self._clock())
        await self._load()

    async def _load(self) -> None:
        self._loaded = time.monotonic()
        async with self._database.reading() as session:
            found = await store.listed(session)
        self._keys = {key.id: ECKey.import_key(json.loads(key.private_key)) for key in found}
        self._signing = next((key.id for key in found if key.retired_at is None), "")

    def sign(self, claims: dict[str, Any]) -> str:
        """Return ``claims`` as a signed token."""
        return jwt.encode({"alg": ALGORITHM, "kid": self._signing, "typ": "JWT"}, claims, self._keys[self._signing])

    def signing_key(self) -> tuple[EllipticCurvePrivateKey, str]:
        """Return the current signing key and its id, for signatures other than tokens."""
        key = self._keys[self._signing].private_key
        if key is None:
            raise LookupError("the signing key has no private part")
        return key, self._signing

    def public_keys(self) -> list[EllipticCurvePublicKey]:
        """Return the public parts of all keys, the current signing key first."""
        ordered = sorted(self._keys, key=lambda each: each != self._signing)
        return [self._keys[each].public_key for each in ordered]

    async def verify(self, token: str) -> dict[str, Any]:
        """Return the claims of a token that one of our keys signed, regardless of its expiry. Raises BadToken."""
        try:
            header = json.loads(_decoded(token.partition(".")[0]))
            key = await self._key(header["kid"])
            return dict(jwt.decode(token, key, algorithms=[ALGORITHM]).claims)
        except (JoseError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise BadToken(str(error)) from error

    async def _key(self, key_id: str) -> ECKey:
        """Return a key by its id. Another server may have rotated the keys since the last query."""
        if key_id not in self._keys and time.monotonic() - self._loaded > _RELOAD_AFTER:
            await self._load()
        return self._keys[key_id]


def _decoded(part: str) -> bytes:
    return urlsafe_b64decode(part + "=" * (-len(part) % 4))
