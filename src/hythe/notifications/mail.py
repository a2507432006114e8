"""E-mail about builds."""

import msgspec

from hythe.hub.mail.mailer import Mailer, MailFailed
from hythe.notifications.event import EventKind
from hythe.notifications.webhook import WebhookDelivery


async def send_mail(mailer: Mailer, address: str, delivery: WebhookDelivery) -> tuple[int, str]:
    """Send one e-mail; return 200 or 0, and a description of the outcome."""
    if not mailer.configured:
        return 200, "no mail server is configured"
    try:
        await mailer.send(address, *_subject_and_text(delivery))
    except MailFailed as error:
        return 0, str(error)
    return 200, "sent"


def _subject_and_text(delivery: WebhookDelivery) -> tuple[str, str]:
    body = msgspec.json.decode(delivery.body)
    build, repository = body["build"], body["repository"]
    name = repository["repo_name"]
    state = "failed" if delivery.event is EventKind.FAILURE else "works again"
    paragraphs = (
        f"Build {build['number']} of {name} ({build['source']}, commit {build['commit']}): {build['status']}.",
        str(build["reason"]),
        f"{repository['repo_url']}/-/builds/{build['number']}",
    )
    text = "\n\n".join(paragraph for paragraph in paragraphs if paragraph) + "\n"
    return f"[hythe] build {build['number']} of {name} {state}", text
