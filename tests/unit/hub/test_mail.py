"""Queued e-mail: delivered by a real mail server, or shown to administrators."""

import re
from collections.abc import Iterator

import msgspec
import pytest
from tests.parts.mail_server import Mailbox, running_mail_server
from tests.unit.hub.services import Services

from hythe.hub.actor import HubActor
from hythe.hub.errors import Refused
from hythe.hub.mail.mail import KEPT_FOR, RETRY_DELAYS
from hythe.hub.mail.mail_message import MailMessage, NewMail, Purpose
from hythe.hub.page import Paging
from hythe.settings import Settings

OPERATOR = HubActor.operator()


@pytest.fixture
def mailbox(services: Services) -> Iterator[Mailbox]:
    """A running mail server, which the hub uses."""
    with running_mail_server() as running:
        services.hub.mailer.apply(msgspec.structs.replace(Settings(), mail_server=running.url, mail_from="hub@x.test"))
        yield running


def queue(services: Services, recipient: str = "ann@x.test", *, secret: bool = True) -> None:
    """Queue a message in a transaction of its own."""

    async def add() -> None:
        async with services.database.writing() as session:
            mail = NewMail(
                recipient=recipient, subject="Hi", text="a link\n", purpose=Purpose.RESET_PASSWORD, secret=secret
            )
            await services.hub.mail_queue.add(session, mail)

    services.run(add())


def listed(services: Services) -> tuple[MailMessage, ...]:
    """The messages as the operator sees them."""
    found: tuple[MailMessage, ...] = services.run(services.hub.mail.list(OPERATOR, Paging())).items
    return found


def test_without_a_mail_server_administrators_read_the_message(services: Services, ann: HubActor) -> None:
    """It waits; nobody else sees it; it is deleted after some days, and delivered if a server is configured before."""
    queue(services)
    services.run(services.hub.mail_queue.deliver())

    assert [(each.text, each.sent_at, each.attempts) for each in listed(services)] == [("a link\n", None, 0)]
    with pytest.raises(Refused):
        services.run(services.hub.mail.list(ann, Paging()))

    services.clock.forward(seconds=KEPT_FOR.total_seconds() + 1)
    services.run(services.hub.mail_queue.deliver())
    assert listed(services) == ()


def test_delivery(services: Services, mailbox: Mailbox) -> None:
    """Each message is sent once, also by two servers at a time; a secret is erased, and is not shown before."""
    queue(services)
    queue(services, secret=False)
    assert {each.text for each in listed(services)} == {"", "a link\n"}

    async def deliver_twice() -> None:
        await services.hub.mail_queue.deliver()
        await services.foundation.mail_queue.deliver()

    services.run(deliver_twice())

    assert [(each["To"], each["From"], str(each.get_content()).strip()) for each in mailbox.messages] == [
        ("ann@x.test", "hub@x.test", "a link")
    ] * 2
    services.hub.mailer.apply(Settings())
    assert [(each.text, each.outcome, each.due_at) for each in listed(services)] == [
        ("a link\n", "sent", None),
        ("", "sent", None),
    ]


def test_failed_deliveries(services: Services, mailbox: Mailbox) -> None:
    """A temporary failure is tried again until the message expires, a permanent one is not."""
    mailbox.refused = {"full@x.test": "452 mailbox full", "gone@x.test": "550 no such user"}
    queue(services, "full@x.test")
    queue(services, "gone@x.test")

    for delay in (0, *RETRY_DELAYS):
        services.clock.forward(seconds=delay + 1)
        services.run(services.hub.mail_queue.deliver())

    outcomes = {each.recipient: (each.attempts, each.outcome, each.due_at) for each in listed(services)}
    assert outcomes == {
        "full@x.test": (len(RETRY_DELAYS) + 1, "452 mailbox full", None),
        "gone@x.test": (1, "550 no such user", None),
    }
    queue(services, "late@x.test")
    services.clock.forward(days=3)
    services.run(services.hub.mail_queue.deliver())
    assert re.match("expired", listed(services)[0].outcome)
    assert mailbox.messages == []
