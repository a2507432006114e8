"""Sends e-mail through the mail server of the settings."""

from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid
from typing import Any
from urllib.parse import unquote, urlsplit

import aiosmtplib

from hythe.settings import Settings

TIMEOUT_SECONDS = 10


class MailFailed(Exception):
    """A message was not delivered; ``permanent``: it would not be at the next attempt, either."""

    def __init__(self, message: str, *, permanent: bool = False) -> None:
        self.permanent = permanent
        super().__init__(message)


class Mailer:
    """The mail server. One for the whole hub."""

    def __init__(self, settings: Settings) -> None:
        self.apply(settings)

    def apply(self, settings: Settings) -> None:
        """Take over a changed mail server or sender."""
        self._server = settings.mail_server
        self._sender = settings.mail_from

    @property
    def configured(self) -> bool:
        """Whether there is a mail server."""
        return bool(self._server)

    async def connect(self) -> None:
        """Connect to the mail server and sign in, without sending anything. Raises MailFailed."""
        try:
            async with aiosmtplib.SMTP(**_connection(self._server)):
                pass
        except (aiosmtplib.SMTPException, OSError, ValueError) as error:
            raise MailFailed(f"{type(error).__name__}: {error}") from error

    async def send(self, recipient: str, subject: str, text: str) -> None:
        """Send one e-mail. Raises MailFailed."""
        try:
            await aiosmtplib.send(_message(self._sender, recipient, subject, text), **_connection(self._server))
        except aiosmtplib.SMTPRecipientsRefused as error:
            refusals = error.recipients
            permanent = all(500 <= refusal.code < 600 for refusal in refusals)
            raise MailFailed(
                "; ".join(f"{each.code} {each.message}" for each in refusals), permanent=permanent
            ) from error
        except (aiosmtplib.SMTPException, OSError, ValueError) as error:
            raise MailFailed(f"{type(error).__name__}: {error}") from error


def _connection(url: str) -> dict[str, Any]:
    """Return the arguments with which aiosmtplib connects to the server of the setting."""
    server = urlsplit(url)
    return {
        "hostname": server.hostname,
        "port": server.port or (465 if server.scheme == "smtps" else 25),
        "username": unquote(server.username) if server.username else None,
        "password": unquote(server.password) if server.password else None,
        "use_tls": server.scheme == "smtps",
        "timeout": TIMEOUT_SECONDS,
    }


def _message(sender: str, recipient: str, subject: str, text: str) -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"] = sender, recipient
    message["Date"] = format_datetime(datetime.now(UTC))
    message["Message-ID"] = make_msgid(domain=sender.rpartition("@")[2])
    message["Subject"] = subject
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(text)
    return message
