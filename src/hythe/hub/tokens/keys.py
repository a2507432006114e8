"""The ES256 keys that sign access tokens and provenance. The first start creates them, and all servers share them.

The database has the private keys sealed with the installation's key (``secret_box``). ``rotate`` adds a key for each
purpose. Every server learns of it within ``RELOAD_INTERVAL``, and only after ``PUBLISHED_FIRST`` it signs: until then
the older one does. A replaced key of tokens is deleted when its last token has expired. Of a replaced key of provenance
the public part stays permanently, because images that it signed stay.
"""

import json
import time
from base64 import urlsafe_b64decode
from collections.abc import Callable
from datetime import datetime, timedelta
from enum import Enum
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from hythe.database import Database, Session
from hythe.hub.secret_box import KEY_FILE, SecretBox, SecretBoxError, SecretLost
from hythe.hub.sql import keys as store
from hythe.hub.sql.keys import StoredKey
from hythe.periodic import repeat
from hythe.registry.sql import installation as installation_store
from hythe.settings import Settings

ALGORITHM = "ES256"

SIGNING_KEY = "signing key"
"""The purpose for which private keys are sealed."""

RELOAD_INTERVAL = 10.0
"""Seconds between two looks for keys that another server created."""

PUBLISHED_FIRST = timedelta(seconds=30)
"""A new key signs only after this time, when every server can verify what it signs."""

LONGEST_TOKEN = timedelta(seconds=600)
"""The lifetime of the push token of a build, the longest unless the setting ``token_lifetime`` is longer."""

_MIN_RELOAD_INTERVAL = 1.0
"""Minimum seconds between two queries for an unknown key."""


class KeyPurpose(Enum):
    """What a key signs. Each purpose has its own keys, so that a signature of one can never count as another."""

    TOKENS = "tokens"
    PROVENANCE = "provenance"


class BadToken(Exception):
    """The token was not signed by one of our keys."""


async def open_secret_box(database: Database, settings: Settings) -> SecretBox:
    """Return the box of the installation; create its key file, but not if the database has keys that another sealed.

    Raises SecretBoxError, StorageUnavailable.
    """
    async with database.reading() as session:
        sealed = any(map(_is_sealed, await store.listed(session)))
    box = SecretBox.open(settings.data_folder, settings.secret_key, create=not sealed)
    if sealed:
        async with database.reading() as session:
            await _require_same_key(session, box)
    return box


async def _require_same_key(session: Session, box: SecretBox) -> None:
    """Return if this is the key of the installation, as far as that is recorded. Raises SecretBoxError."""
    row = await installation_store.find(session)
    if row is not None and row.key_fingerprint not in (None, box.fingerprint):
        raise _other_key(box)


def _other_key(box: SecretBox) -> SecretBoxError:
    return SecretBoxError(
        f"{box.source} is another key than that of this installation: copy {KEY_FILE} from a server that works, or "
        "from a backup, or set secret_key to its content on every server"
    )


class SigningKeys:
    """Signs and verifies JSON web tokens (RFC 7519), and signs provenance."""

    def __init__(
        self,
        database: Database,
        secret_box: SecretBox,
        clock: Callable[[], datetime],
        token_lifetime: timedelta = LONGEST_TOKEN,
    ) -> None:
        self._database = database
        self._secret_box = secret_box
        self._clock = clock
        self._kept = _keeping_time(token_lifetime)
        self._stored: dict[str, StoredKey] = {}
        self._keys: dict[str, ECKey] = {}
        self._loaded = float("-inf")

    def apply(self, settings: Settings) -> None:
        """Take over a longer lifetime of tokens; after a reduction, keys are kept for older tokens until a restart."""
        self._kept = max(self._kept, _keeping_time(timedelta(seconds=settings.token_lifetime)))

    async def open(self) -> None:
        """Load the keys, seal those that an older version left plain, and create missing ones.

        Raises SecretBoxError if the installation's key is missing or another one: no new key is created then.
        """
        await self._load()
        if not self._is_complete() or await self._fingerprint() != self._secret_box.fingerprint:
            async with self._database.writing() as session:
                await store.lock(session)
                await self._complete(session)
            await self._load()

    async def _fingerprint(self) -> str | None:
        async with self._database.reading() as session:
            row = await installation_store.find(session)
        return None if row is None else row.key_fingerprint

    def _is_complete(self) -> bool:
        keys = self._stored.values()
        plain = any(key.private_key and not _is_sealed(key) for key in keys)
        return not plain and all(any(_may_sign(key, purpose) for key in keys) for purpose in KeyPurpose)

    async def _complete(self, session: Session) -> None:
        """Record the key and create what it signs or seals in one transaction: the first server's key wins."""
        if any(map(_is_sealed, await store.listed(session))):
            await _require_same_key(session, self._secret_box)
            for key in await store.listed(session):
                self._imported(key)
        await installation_store.set_key_fingerprint(session, self._secret_box.fingerprint)
        await self._seal_plain(session)
        for purpose in KeyPurpose:
            if not any(_may_sign(key, purpose) for key in await store.listed(session)):
                await self._add(session, purpose)

    async def _seal_plain(self, session: Session) -> None:
        for key in await store.listed(session):
            if key.private_key and not _is_sealed(key):
                public = json.dumps(self._imported(key).as_dict(private=False))
                await store.set_private(session, key.id, self._secret_box.seal(SIGNING_KEY, key.private_key), public)

    async def run(self) -> None:
        """Look for new keys until cancelled."""
        await repeat(self._load, RELOAD_INTERVAL, "reload signing keys")

    async def rotate(self) -> timedelta:
        """Create a new key for each purpose; return after which time it signs. Deletes keys that nothing needs."""
        now = self._clock()
        async with self._database.writing() as session:
            await store.lock(session)
            await self._prune(session, now)
            await store.retire_all(session, now)
            for purpose in KeyPurpose:
                await self._add(session, purpose)
        await self._load()
        return PUBLISHED_FIRST

    async def _add(self, session: Session, purpose: KeyPurpose) -> None:
        key = ECKey.generate_key("P-256", auto_kid=True)
        private, public = (json.dumps(key.as_dict(private=private)) for private in (True, False))
        await store.add(
            session,
            StoredKey(
                id=str(key.kid),
                private_key=self._secret_box.seal(SIGNING_KEY, private),
                public_key=public,
                purpose=purpose.value,
                created_at=self._clock(),
            ),
        )

    async def _prune(self, session: Session, now: datetime) -> None:
        """Delete replaced keys of tokens, and the private part of others, once nothing that they signed is valid."""
        for key in await store.listed(session):
            if not self._is_outdated(key, now):
                continue
            if key.purpose == KeyPurpose.TOKENS.value:
                await store.remove(session, key.id)
            elif key.private_key:
                await store.set_private(session, key.id, "", json.dumps(self._imported(key).as_dict(private=False)))

    def _is_outdated(self, key: StoredKey, now: datetime) -> bool:
        return key.retired_at is not None and now - key.retired_at > self._kept

    async def _load(self) -> None:
        self._loaded = time.monotonic()
        async with self._database.reading() as session:
            found = await store.listed(session)
        if any(key.private_key and self._is_outdated(key, self._clock()) for key in found):
            async with self._database.writing() as session:
                await store.lock(session)
                await self._prune(session, self._clock())
                found = await store.listed(session)
        keys = {key.id: self._imported(key) for key in found}
        self._stored, self._keys = {key.id: key for key in found}, keys

    def _imported(self, key: StoredKey) -> ECKey:
        """Return a stored key. Raises SecretBoxError."""
        known = self._keys.get(key.id)
        if known is not None and self._stored[key.id] == key:
            return known
        if not key.private_key:
            return ECKey.import_key(json.loads(key.public_key or ""))
        try:
            plain = self._secret_box.unseal(SIGNING_KEY, key.private_key) if _is_sealed(key) else key.private_key
        except SecretLost as error:
            raise _other_key(self._secret_box) from error
        return ECKey.import_key(json.loads(plain))

    def _signing(self, purpose: KeyPurpose) -> str:
        """Return the id of the key that signs now: the newest one that every server knows."""
        able = [key for key in self._stored.values() if _may_sign(key, purpose)]
        known_everywhere = [key for key in able if self._clock() - key.created_at >= PUBLISHED_FIRST]
        if known_everywhere:
            return max(known_everywhere, key=_age).id
        # Without an older key the first one signs at once.
        return min(able, key=_age).id

    def sign(self, claims: dict[str, Any]) -> str:
        """Return ``claims`` as a signed token."""
        key_id = self._signing(KeyPurpose.TOKENS)
        return jwt.encode({"alg": ALGORITHM, "kid": key_id, "typ": "JWT"}, claims, self._keys[key_id])

    def provenance_key(self) -> tuple[EllipticCurvePrivateKey, str]:
        """Return the key that signs provenance now, and its id."""
        key_id = self._signing(KeyPurpose.PROVENANCE)
        key = self._keys[key_id].private_key
        if key is None:
            raise LookupError("the signing key has no private part")
        return key, key_id

    def provenance_public_keys(self) -> list[EllipticCurvePublicKey]:
        """Return the public parts of all keys that ever signed provenance, the newest first."""
        return [self._keys[key.id].public_key for key in self._stored.values() if _serves(key, KeyPurpose.PROVENANCE)]

    async def verify(self, token: str) -> dict[str, Any]:
        """Return the claims of a token that one of our keys signed, regardless of its expiry. Raises BadToken."""
        try:
            header = json.loads(_decoded(token.partition(".")[0]))
            key = await self._key(header["kid"])
            return dict(jwt.decode(token, key, algorithms=[ALGORITHM]).claims)
        except (JoseError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise BadToken(str(error)) from error

    async def _key(self, key_id: str) -> ECKey:
        """Return a key of tokens by its id. Another server may have created it since the last query."""
        if key_id not in self._keys and time.monotonic() - self._loaded > _MIN_RELOAD_INTERVAL:
            await self._load()
        stored = self._stored[key_id]
        if not _serves(stored, KeyPurpose.TOKENS) or self._is_outdated(stored, self._clock()):
            raise KeyError(key_id)
        return self._keys[key_id]


def _keeping_time(token_lifetime: timedelta) -> timedelta:
    """Return how long a replaced key is kept: until the last token that it signed has expired."""
    return PUBLISHED_FIRST + max(token_lifetime, LONGEST_TOKEN)


def _age(key: StoredKey) -> tuple[datetime, bool, bool]:
    """Return the order of keys, oldest first."""
    return key.created_at, key.retired_at is None, key.purpose is not None


def _serves(key: StoredKey, purpose: KeyPurpose) -> bool:
    return key.purpose in (None, purpose.value)


def _may_sign(key: StoredKey, purpose: KeyPurpose) -> bool:
    return bool(key.private_key) and _serves(key, purpose)


def _is_sealed(key: StoredKey) -> bool:
    """Return whether a private key is sealed. Older versions stored JSON."""
    return bool(key.private_key) and not key.private_key.startswith("{")


def _decoded(part: str) -> bytes:
    return urlsafe_b64decode(part + "=" * (-len(part) % 4))
