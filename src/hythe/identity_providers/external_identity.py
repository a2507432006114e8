"""What another system says about a user."""

from collections.abc import Iterable
from typing import Any

import msgspec

MAX_SUBJECT_LENGTH = 255
MAX_GROUPS = 2000
MAX_TEXT_LENGTH = 254


class ExternalIdentity(msgspec.Struct, frozen=True, kw_only=True):
    """A user of another system. ``issuer`` and ``subject`` identify them; all else can change at any time."""

    issuer: str
    subject: str
    user_name: str = ""
    email: str = ""
    email_verified: bool = False
    groups: frozenset[str] = frozenset()

    @property
    def email_domain(self) -> str:
        """The domain of the e-mail address in lower case; empty if the provider has not verified the address."""
        return self.email.rpartition("@")[2].lower() if self.email_verified else ""


def text_of(value: Any) -> str:
    """Return a claim or attribute that should be a short text; empty if it is something else."""
    return value.strip() if isinstance(value, str) and len(value) <= MAX_TEXT_LENGTH and value.isprintable() else ""


def groups_of(value: Any) -> frozenset[str]:
    """Return a claim or attribute that should be a list of groups, within bounds."""
    listed: Iterable[Any] = value if isinstance(value, list | tuple) else (value,)
    return frozenset([each for each in listed if isinstance(each, str) and each][:MAX_GROUPS])
