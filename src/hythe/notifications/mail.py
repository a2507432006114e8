"""E-mail about builds."""

from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid
from urllib.parse import unquote, urlsplit

import aiosmtplib
import msgspec

from hythe.notifications.event import EventKind
from hythe.notifications.webhook import WebhookDelivery

TIMEOUT_SECONDS = 10


class Mailer:
    """Sends e-mail through the mail server of the settings."""

    def __init__(self, server: str, sender: str) -> None:
        self._server = server
        self._sender = sender

    async def send(self, address: str, delivery: WebhookDelivery) -> tuple[int, str]:
        """Send one e-mail; return 200 or 0, and a description of the outcome."""
        if not self._server:
            return 200, "no mail server is configured"
        server = urlsplit(self._server)
        try:
            await aiosmtplib.send(
                _message(delivery, self._sender, address),
                hostname=server.hostname,
                port=server.port or (465 if server.scheme == "smtps" else 25),
                username=unquote(server.username) if server.username else None,
                password=unquote(server.password) if server.password else None,
                use_tls=server.scheme == "smtps",
                timeout=TIMEOUT_SECONDS,
            )
        except (aiosmtplib.SMTPException, OSError, ValueError) as error:
            return 0, f"{type(error).__name__}: {error}"
        return 200, "sent"


def _message(delivery: WebhookDelivery, sender: str, receiver: str) -> EmailMessage:
    body = msgspec.json.decode(delivery.body)
    build, repository = body["build"], body["repository"]
    name = repository["repo_name"]
    state = "failed" if delivery.event is EventKind.FAILURE else "works again"
    message = EmailMessage()
    message["From"], message["To"] = sender, receiver
    message["Date"] = format_datetime(datetime.now(UTC))
    message["Message-ID"] = make_msgid(domain=sender.rpartition("@")[2])
    message["Subject"] = f"[hythe] build {build['number']} of {name} {state}"
    paragraphs = (
        f"Build {build['number']} of {name} ({build['source']}, commit {build['commit']}): {build['status']}.",
        str(build["reason"]),
        f"{repository['repo_url']}/-/builds/{build['number']}",
    )
    message.set_content("\n\n".join(text for text in paragraphs if text) + "\n")
    return message
