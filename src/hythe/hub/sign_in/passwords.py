"""Hashes passwords with argon2id in a few threads, and briefly caches results so Basic on every request is cheap."""

import asyncio
import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError

from hythe.hub.sign_in.common_passwords import weakness

PASSWORD_LENGTH = (8, 256)
"""Minimum and maximum number of characters in a new password."""

DEFAULT_HASHER = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
"""The argon2id parameters that OWASP recommends."""

_CONCURRENCY = 2
_CACHE_SIZE = 1024
_CACHE_SECONDS = 300.0


def password_problem(password: str) -> str | None:
    """Explain why a new password is invalid; None if it is valid. ``Passwords.weakness`` checks more."""
    shortest, longest = PASSWORD_LENGTH
    if not shortest <= len(password) <= longest:
        return f"must have {shortest} to {longest} characters"
    return None


class Passwords:
    """Hashes and verifies passwords. At most ``_CONCURRENCY`` hashes (20 MB each) run at a time; others wait."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, hasher: PasswordHasher = DEFAULT_HASHER) -> None:
        self._hasher = hasher
        self._threads = ThreadPoolExecutor(_CONCURRENCY, thread_name_prefix="argon2")
        self._clock = clock
        self._secret = secrets.token_bytes(32)
        self._good_until: dict[bytes, float] = {}
        self._unknown_hash = self._hasher.hash(secrets.token_urlsafe())

    async def weakness(self, password: str, name: str, email: str) -> str | None:
        """Explain why a new password of an account is easy to guess; None if it is not known to be."""
        loop = asyncio.get_running_loop()
        names = (name, email, email.partition("@")[0])
        return await loop.run_in_executor(self._threads, weakness, password, PASSWORD_LENGTH[0], names)

    async def hash(self, password: str) -> str:
        """Return the argon2id hash of ``password``."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._hasher.hash, _bytes(password))

    def remembers(self, name: str, password: str, password_hash: str) -> bool:
        """Return whether ``matches`` found a moment ago that this is the account's password."""
        return self._good_until.get(self._key(name, password, password_hash), 0.0) > self._clock()

    async def matches(self, name: str, password: str, password_hash: str | None) -> bool:
        """Return whether this is the account's password.

        Without a hash (unknown account) it takes equally long and returns False.
        """
        if password_hash is not None and self.remembers(name, password, password_hash):
            return True
        loop = asyncio.get_running_loop()
        hash_ = password_hash or self._unknown_hash
        good = await loop.run_in_executor(self._threads, self._verify, hash_, password) and password_hash is not None
        if good:
            self._keep(self._key(name, password, hash_))
        return good

    def close(self) -> None:
        """Stop the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _verify(self, password_hash: str, password: str) -> bool:
        try:
            return self._hasher.verify(password_hash, _bytes(password))
        except (Argon2Error, InvalidHashError):
            return False

    def _key(self, *parts: str) -> bytes:
        message = b"\0".join(hashlib.sha256(_bytes(part)).digest() for part in parts)
        return hmac.digest(self._secret, message, "sha256")

    def _keep(self, key: bytes) -> None:
        if len(self._good_until) >= _CACHE_SIZE:
            del self._good_until[next(iter(self._good_until))]
        self._good_until[key] = self._clock() + _CACHE_SECONDS


def _bytes(password: str) -> bytes:
    """JSON may contain lone surrogates, which UTF-8 cannot encode: pass them through."""
    return password.encode("utf-8", "surrogatepass")
