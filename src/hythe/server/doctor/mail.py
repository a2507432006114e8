"""Examines the mail server by signing in to it; sends no message."""

from collections.abc import AsyncIterator

from hythe.hub.mail.mailer import Mailer, MailFailed
from hythe.server.doctor.diagnosis import Diagnosis, good, problem, warning
from hythe.settings import Settings

SUBJECT = "mail"


async def examine_mail(settings: Settings) -> AsyncIterator[Diagnosis]:
    """Yield whether the hub can send e-mail."""
    mailer = Mailer(settings)
    if not mailer.configured:
        yield warning(
            SUBJECT,
            "mail_server is empty: users who forget their password need 'hythe admin reset-password'",
            "set mail_server and mail_from",
        )
        return
    try:
        await mailer.connect()
    except MailFailed as error:
        yield problem(SUBJECT, f"the mail server cannot be used: {error}", "check mail_server: address, user, password")
        return
    yield good(SUBJECT, "the mail server accepts the connection and the password")
