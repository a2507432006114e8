"""E-mail addresses: confirmed by a link, changed with the password, restored after a theft."""

import re

import pytest
from tests.unit.hub.services import PASSWORD, Services

from hythe.hub.accounts.email_addresses import EmailChange, EmailState
from hythe.hub.accounts.users import NewUser
from hythe.hub.actor import ANONYMOUS, HubActor
from hythe.hub.errors import Invalid, NotFound, Refused, SignInNeeded, Taken, TooManyAttempts
from hythe.hub.mail.mail_links import MAX_LINKS, LinkPurpose
from hythe.hub.organizations.organizations import NewOrganization
from hythe.hub.page import Paging
from hythe.hub.repositories.repositories import NewRepository
from hythe.oci.errors import WireError

OPERATOR = HubActor.operator()


def secret_of(services: Services, recipient: str, path: str = "/confirm-email") -> str:
    """The secret of the newest link to an address."""
    messages = services.run(services.hub.mail.list(OPERATOR, Paging())).items
    pattern = re.compile(rf"{re.escape(path)}\?token=(\S+)")
    texts = [message.text for message in messages if message.recipient == recipient]
    return next(found[1] for text in texts if (found := pattern.search(text)))


def sign_up(services: Services, name: str = "eve") -> HubActor:
    """Sign up as anybody does; the address is not confirmed."""
    services.run(services.hub.users.create(ANONYMOUS, NewUser(name, f"{name}@example.com", PASSWORD), "192.0.2.1"))
    actor: HubActor = services.run(services.hub.credentials.by_password(name, PASSWORD, "192.0.2.1"))
    return actor


def state(services: Services, actor: HubActor) -> EmailState:
    """The address of an account."""
    found: EmailState = services.run(services.hub.emails.state(actor))
    return found


def test_confirmation(services: Services, ann: HubActor) -> None:
    """A new account can sign in at once; its link confirms the address once, without signing in."""
    eve = sign_up(services)
    assert state(services, eve) == EmailState("eve@example.com", False, "")
    assert state(services, ann).confirmed, "the operator created it"

    secret = secret_of(services, "eve@example.com")
    services.run(services.hub.emails.find(secret, LinkPurpose.CONFIRM))  # as a mail scanner does
    services.run(services.hub.emails.confirm(secret, "192.0.2.9"))

    assert state(services, eve).confirmed
    with pytest.raises(NotFound):
        services.run(services.hub.emails.confirm(secret, "192.0.2.9"))
    with pytest.raises(Refused, match="confirmed already"):
        services.run(services.hub.emails.send_again(eve))


def test_a_link_expires_and_is_sent_again(services: Services) -> None:
    """After a day; a minute lies between two e-mails, and there are a few in a day."""
    eve = sign_up(services)
    old = secret_of(services, "eve@example.com")
    with pytest.raises(TooManyAttempts):
        services.run(services.hub.emails.send_again(eve))
    for _ in range(MAX_LINKS - 1):
        services.clock.forward(seconds=61)
        services.run(services.hub.emails.send_again(eve))
    services.clock.forward(seconds=61)
    with pytest.raises(TooManyAttempts) as caught:
        services.run(services.hub.emails.send_again(eve))
    assert caught.value.retry_after > 23 * 3600

    services.clock.forward(hours=24)
    with pytest.raises(NotFound):
        services.run(services.hub.emails.confirm(old, ""))
    services.run(services.hub.emails.send_again(eve))
    services.run(services.hub.emails.confirm(secret_of(services, "eve@example.com"), ""))
    assert state(services, eve).confirmed


def test_change_of_address(services: Services, ann: HubActor, ben: HubActor) -> None:
    """It needs the password, and has an effect once the new address is confirmed; the old one is told."""
    emails = services.hub.emails
    for change, error in (
        (EmailChange("new@example.com", "wrong"), Invalid),
        (EmailChange("nowhere", PASSWORD), Invalid),
        (EmailChange("BEN@example.com", PASSWORD), Taken),
    ):
        with pytest.raises(error):
            services.run(emails.request_change(ann, change))

    pending = services.run(emails.request_change(ann, EmailChange("New@example.com", PASSWORD)))
    assert pending == EmailState("ann@example.com", True, "new@example.com")
    services.run(emails.confirm(secret_of(services, "new@example.com"), ""))

    assert state(services, ann) == EmailState("new@example.com", True, "")
    sign_up_as = NewUser("eve", "ann@example.com", PASSWORD)
    with pytest.raises(Taken):
        services.run(services.hub.users.create(ANONYMOUS, sign_up_as, "192.0.2.1"))


def test_an_address_that_was_taken_before_its_confirmation(services: Services, ann: HubActor) -> None:
    """Who signs up first with an address has it."""
    services.run(services.hub.emails.request_change(ann, EmailChange("eve@example.com", PASSWORD)))
    secret = secret_of(services, "eve@example.com")
    sign_up(services)

    with pytest.raises(Taken):
        services.run(services.hub.emails.confirm(secret, ""))
    assert state(services, ann).email == "ann@example.com"


def test_undo_after_a_theft(services: Services, ann: HubActor) -> None:
    """The link in the e-mail to the old address restores it, also after a second change, and locks the thief out."""
    emails = services.hub.emails
    for address in ("thief@example.com", "thief2@example.com"):
        services.run(emails.request_change(ann, EmailChange(address, PASSWORD)))
        services.run(emails.confirm(secret_of(services, address), ""))
    thief = services.run(services.hub.sessions.sign_in("ann", PASSWORD, "192.0.2.66"))

    restored = services.run(emails.undo(secret_of(services, "ann@example.com", "/confirm-email/undo"), ""))

    assert (restored.email, restored.email_confirmed) == ("ann@example.com", True)
    assert services.run(services.hub.sessions.actor(thief.token)) == ANONYMOUS
    with pytest.raises(NotFound):
        services.run(emails.undo(secret_of(services, "thief@example.com", "/confirm-email/undo"), ""))
    reset = secret_of(services, "ann@example.com", "/reset-password")
    services.run(services.hub.password_resets.reset(reset, "another horse", ""))
    with pytest.raises(SignInNeeded):
        services.run(services.hub.credentials.by_password("ann", PASSWORD))


def test_administrators_set_an_address(services: Services, ann: HubActor, curator: HubActor) -> None:
    """It counts as confirmed; users cannot do it."""
    with pytest.raises(Refused):
        services.run(services.hub.emails.set(ann, "ann", "x@example.com"))
    with pytest.raises(Taken):
        services.run(services.hub.emails.set(curator, "ann", "curator@example.com"))
    sign_up(services)
    services.run(services.hub.emails.set(curator, "eve", "eve@example.com"))
    assert services.run(services.hub.users.get(curator, "eve")).email_confirmed


def test_a_hub_can_require_confirmed_addresses(services: Services) -> None:
    """Accounts sign in and read, but push and create only once they are confirmed."""
    services.hub.access.confirmed_only = True
    eve = sign_up(services)
    new = NewRepository(namespace="eve", name="web")
    with pytest.raises(WireError, match="confirm your e-mail address"):
        services.push(eve, "eve/web")
    with pytest.raises(Refused, match="confirm your e-mail address"):
        services.run(services.hub.repositories.create(eve, new))
    with pytest.raises(Refused, match="confirm your e-mail address"):
        services.run(services.hub.organizations.create(eve, NewOrganization("acme")))

    services.run(services.hub.emails.confirm(secret_of(services, "eve@example.com"), ""))
    services.push(eve, "eve/web")
    services.run(services.hub.organizations.create(eve, NewOrganization("acme")))
