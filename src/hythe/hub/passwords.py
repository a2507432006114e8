"""Passwords: argon2id in a few threads, and a short memory so that Basic on every request costs no hash each time."""

import asyncio
import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError

PASSWORD_LENGTH = (8, 256)
"""Fewest and most characters of a new password."""

_AT_ONCE = 2
_REMEMBERED = 1024
_REMEMBERED_FOR = 300.0


class Passwords:
    """Hashes and checks passwords. At most ``_AT_ONCE`` hashes (20 MB each) are made at a time; the others wait."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
        self._threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="argon2")
        self._clock = clock
        self._secret = secrets.token_bytes(32)
        self._good_until: dict[bytes, float] = {}
        self._nobody = self._hasher.hash(secrets.token_urlsafe())

    async def hash(self, password: str) -> str:
        """Return the argon2id hash of ``password``."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._hasher.hash, _bytes(password))

    async def matches(self, name: str, password: str, password_hash: str | None) -> bool:
        """Whether this is the password of the account; without a hash (no such account) it takes as long and is not."""
        remembered = self._key(name, password, password_hash or "")
        if self._good_until.get(remembered, 0.0) > self._clock():
            return True
        loop = asyncio.get_running_loop()
        hash_ = password_hash or self._nobody
        good = await loop.run_in_executor(self._threads, self._verify, hash_, password) and password_hash is not None
        if good:
            self._remember(remembered)
        return good

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _verify(self, password_hash: str, password: str) -> bool:
        try:
            return self._hasher.verify(password_hash, _bytes(password))
        except (Argon2Error, InvalidHashError):
            return False

    def _key(self, *parts: str) -> bytes:
        message = b"\0".join(hashlib.sha256(_bytes(part)).digest() for part in parts)
        return hmac.digest(self._secret, message, "sha256")

    def _remember(self, key: bytes) -> None:
        if len(self._good_until) >= _REMEMBERED:
            del self._good_until[next(iter(self._good_until))]
        self._good_until[key] = self._clock() + _REMEMBERED_FOR


def _bytes(password: str) -> bytes:
    """JSON may carry lone surrogates, which have no UTF-8: they are passed through, not choked on."""
    return password.encode("utf-8", "surrogatepass")
