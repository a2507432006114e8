"""Forgotten passwords, and passwords that are refused."""

import pytest
from tests.unit.hub.services import PASSWORD, Services
from tests.unit.hub.test_email_addresses import secret_of, sign_up

from hythe.hub.accounts.users import NewUser
from hythe.hub.actor import ANONYMOUS, HubActor
from hythe.hub.errors import Invalid, NotFound, Refused, SignInNeeded, TooManyAttempts
from hythe.hub.page import Paging
from hythe.hub.sign_in.login_throttle import MAX_FAILURES
from hythe.hub.tokens.tokens import TokenRequest


def request(services: Services, account: str, address: str = "192.0.2.1") -> None:
    """Ask for a link, and let the server send it."""
    services.run(services.hub.password_resets.request(account, address))
    services.run(services.hub.password_resets.send())


def mail_count(services: Services) -> int:
    """How many messages were queued."""
    return int(services.run(services.hub.mail.list(HubActor.operator(), Paging())).total)


@pytest.mark.parametrize("account", ["ann", "ANN@example.com"])
def test_reset(services: Services, ann: HubActor, account: str) -> None:
    """The link sets a password once; sessions and logins end, and the account is told."""
    session = services.run(services.hub.sessions.sign_in("ann", PASSWORD, "here"))
    login = services.run(services.hub.tokens.issue(ann, TokenRequest(offline=True)))
    request(services, account)
    secret = secret_of(services, "ann@example.com", "/reset-password")
    with pytest.raises(Invalid):
        services.run(services.hub.password_resets.reset(secret, "short", ""))

    services.run(services.hub.password_resets.reset(secret, "another horse", "192.0.2.1"))

    assert services.run(services.hub.credentials.by_password("ann", "another horse")).name == "ann"
    assert services.run(services.hub.sessions.actor(session.token)) == ANONYMOUS
    with pytest.raises(SignInNeeded):
        services.run(services.hub.tokens.renew(login.refresh_token, TokenRequest()))
    with pytest.raises(NotFound):
        services.run(services.hub.password_resets.reset(secret, "a third horse", ""))
    newest = services.run(services.hub.mail.list(HubActor.operator(), Paging())).items[0]
    assert newest.purpose == "password-changed"


def test_a_request_does_not_tell_which_accounts_exist(services: Services, ann: HubActor, curator: HubActor) -> None:
    """Unknown and blocked accounts get the same response, and no e-mail."""
    services.run(services.hub.administration.block(curator, "ann"))
    for account in ("ghost", "ghost@example.com", "ann"):
        request(services, account)
    with pytest.raises(Invalid):
        request(services, "no such thing")
    assert mail_count(services) == 0


def test_requests_are_limited(services: Services, ann: HubActor) -> None:
    """For one account silently, by one network with an error."""
    for number in range(3):
        request(services, "ann", f"192.0.2.{number}")
    assert mail_count(services) == 1

    for _ in range(MAX_FAILURES):
        request(services, "ghost", "198.51.100.1")
    with pytest.raises(TooManyAttempts):
        request(services, "ghost", "198.51.100.1")
    services.run(services.hub.credentials.by_password("ann", PASSWORD, "198.51.100.1"))


def test_links_end(services: Services, ann: HubActor) -> None:
    """After an hour, and with a change of the password."""
    request(services, "ann")
    secret = secret_of(services, "ann@example.com", "/reset-password")
    services.clock.forward(minutes=2)
    request(services, "ann")
    newer = secret_of(services, "ann@example.com", "/reset-password")
    services.clock.forward(minutes=59)
    with pytest.raises(NotFound):
        services.run(services.hub.password_resets.user(secret))
    services.run(services.hub.users.set_password(ann, "ann", "another horse", PASSWORD))
    with pytest.raises(NotFound):
        services.run(services.hub.password_resets.user(newer))


def test_administrators_get_a_link(services: Services, curator: HubActor) -> None:
    """Without e-mail; it confirms no address."""
    eve = sign_up(services)
    with pytest.raises(Refused):
        services.run(services.hub.password_resets.link(eve, "eve"))
    url = services.run(services.hub.password_resets.link(curator, "eve"))
    services.run(services.hub.password_resets.reset(url.partition("token=")[2], "another horse", ""))

    assert not services.run(services.hub.users.get(curator, "eve")).email_confirmed


@pytest.mark.parametrize(
    "password",
    [
        "password",
        "Password1!",
        "P@ssw0rd",
        "12345678",
        "qwertyuiop",
        "dragon2024",
        "eve-marie",
        "x@y.example",
        "abababab",
    ],
)
def test_weak_passwords_are_refused(services: Services, ann: HubActor, password: str) -> None:
    """Common ones, disguised ones, and those with the account's name: at sign-up, change and reset."""
    named = NewUser("eve-marie", "x@y.example", password)
    with pytest.raises(Invalid) as caught:
        services.run(services.hub.users.create(ANONYMOUS, named, "192.0.2.1"))
    assert set(caught.value.fields) == {"password"}


def test_existing_weak_passwords_keep_working(services: Services, ann: HubActor) -> None:
    """Only new passwords are checked; words that are merely part of a phrase are not refused."""

    async def set_hash() -> None:
        from hythe.hub.sql import users

        async with services.database.writing() as session:
            hashed = await services.foundation.passwords.hash("password")
            await users.change(session, ann.user_id or 0, {"password_hash": hashed})

    services.run(set_hash())
    assert services.run(services.hub.credentials.by_password("ann", "password")).name == "ann"
    with pytest.raises(Invalid):
        services.run(services.hub.users.set_password(ann, "ann", "password1", "password"))
    services.run(services.hub.users.set_password(ann, "ann", "annual dragon password", "password"))
