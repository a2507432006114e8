"""The values of an e-mail to a user."""

from datetime import datetime, timedelta
from enum import Enum

import msgspec


class Purpose(Enum):
    """What a message is about."""

    CONFIRM_EMAIL = "confirm-email"
    EMAIL_CHANGED = "email-changed"
    RESET_PASSWORD = "reset-password"  # noqa: S105 (no password)
    PASSWORD_CHANGED = "password-changed"  # noqa: S105 (no password)
    INVITATION = "invitation"
    TRANSFER_OFFERED = "transfer-offered"
    TOKEN_LEAKED = "token-leaked"  # noqa: S105 (no password)


class NewMail(msgspec.Struct, frozen=True, kw_only=True):
    """A message to send. ``secret``: its text contains a link that signs in or changes an account.

    It is not sent after ``lifetime``. It is deleted with the account ``user_id``.
    """

    recipient: str
    subject: str
    text: str
    purpose: Purpose
    user_id: int | None = None
    secret: bool = False
    lifetime: timedelta = timedelta(days=2)


class MailMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A queued message. ``due_at`` None: delivered or given up. ``text`` is empty if it was erased."""

    id: int
    purpose: str
    recipient: str
    subject: str
    text: str
    secret: bool
    created_at: datetime
    expires_at: datetime
    attempts: int
    due_at: datetime | None
    sent_at: datetime | None
    outcome: str
