"""Second factors: what signs in, what does not, and what an attacker with the password or a session can do."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pyotp
import pytest
from tests.parts.authenticator import Authenticator
from tests.unit.hub.services import PASSWORD, Services

from hythe.hub.accounts.user import Visibility
from hythe.hub.actor import ANONYMOUS, HubActor, Right
from hythe.hub.errors import (
    ConfirmationNeeded,
    Invalid,
    NotFound,
    Refused,
    SecondFactorNeeded,
    SignInNeeded,
    TooManyAttempts,
)
from hythe.hub.organizations.invitations import NewInvitation
from hythe.hub.organizations.organization import RoleWord
from hythe.hub.organizations.organizations import NewOrganization, OrganizationChange
from hythe.hub.organizations.teams import NewGrant, NewTeam
from hythe.hub.page import Paging
from hythe.hub.repositories.repositories import NewRepository
from hythe.hub.sign_in import totp
from hythe.hub.sign_in.account_throttle import FREE_FAILURES
from hythe.hub.sign_in.login_throttle import MAX_FAILURES
from hythe.hub.sign_in.passkeys import PasskeyRejected, RelyingParty
from hythe.hub.sign_in.pending_sign_ins import WrongCode
from hythe.hub.sign_in.sign_in_states import StateExpired
from hythe.hub.tokens.personal_tokens import NewPersonalToken
from hythe.hub.tokens.tokens import TokenRequest

PARTY = RelyingParty("https://hub.example.com")
HERE = "192.0.2.1"


class Account:
    """A user with a session, who sets up second factors and signs in with them."""

    def __init__(self, services: Services, name: str = "ann") -> None:
        self.services = services
        self.run = services.run
        self.factors = services.hub.second_factors
        services.user(name)
        self.name = name
        self.session = self.start_session()
        self.secret = ""

    def start_session(self) -> HubActor:
        """A session by password alone."""
        return self.actor(self.run(self.services.hub.sessions.sign_in(self.name, PASSWORD, HERE)).token)

    def actor(self, token: str) -> HubActor:
        actor: HubActor = self.run(self.services.hub.sessions.actor(token))
        return actor

    def add_app(self) -> tuple[str, ...]:
        """Set up an authenticator app; return the recovery codes."""
        new = self.run(self.factors.new_app(self.session, "hub.example.com"))
        self.secret = new.secret
        codes: tuple[str, ...] = self.run(self.factors.activate_app(self.session, new.state, self.code()))
        return codes

    def code(self, steps: int = 0) -> str:
        """What the app shows now, or some steps later."""
        return str(pyotp.TOTP(self.secret).at(int(self.services.clock.now.timestamp()) + totp.STEP * steps))

    def next_code(self) -> str:
        """A code that was not used yet."""
        self.services.clock.forward(seconds=60)
        return self.code()

    def add_passkey(self, key: Authenticator, session: HubActor | None = None) -> tuple[str, ...]:
        """Add a passkey; return the recovery codes."""
        actor = session or self.session
        options = self.run(self.factors.passkey_options(actor, PARTY))
        response = json.dumps(key.create(plain(options)))
        _, codes = self.run(self.factors.add_passkey(actor, PARTY, "laptop", response))
        return tuple(codes)

    def pending(self, password: str = PASSWORD) -> str:
        """The state of a sign-in after the right password."""
        with pytest.raises(SecondFactorNeeded) as caught:
            self.run(self.services.hub.sessions.check_password(self.name, password, HERE))
        return caught.value.state

    def by_code(self, code: str, state: str = "", address: str = HERE) -> HubActor:
        found: HubActor = self.run(self.services.hub.pending_sign_ins.by_code(state or self.pending(), code, address))
        return found


def plain(options: Any) -> dict[str, Any]:
    """Options as a browser gets them."""
    found: dict[str, Any] = json.loads(msgspec.json.encode(options))
    return found


@pytest.fixture
def account(services: Services) -> Account:
    """A user without second factors."""
    return Account(services)


def test_a_password_alone_ends(services: Services, account: Account) -> None:
    """With the first factor the password is refused everywhere, and what it started ends, but tokens work on."""
    hub, run = services.hub, services.run
    secret, _ = run(hub.personal_tokens.create(account.session, NewPersonalToken("ci", (Right.READ,))))
    login = run(hub.tokens.issue(run(hub.credentials.by_password("ann", PASSWORD)), TokenRequest(offline=True)))
    other = run(hub.sessions.sign_in("ann", PASSWORD, HERE)).token

    assert len(account.add_app()) == totp.RECOVERY_CODES
    with pytest.raises(SecondFactorNeeded, match="personal access token"):
        run(hub.credentials.by_password("ann", PASSWORD))
    with pytest.raises(SignInNeeded):
        run(hub.tokens.renew(login.refresh_token, TokenRequest()))
    assert account.actor(other) == ANONYMOUS
    assert run(hub.credentials.by_password("ann", secret)).name == "ann"
    assert run(account.factors.get(account.session)).active
    with pytest.raises(SignInNeeded) as caught:
        run(hub.credentials.by_password("ann", "wrong horse"))
    assert not isinstance(caught.value, SecondFactorNeeded)


def test_a_code_works_once(account: Account) -> None:
    """The code that confirmed the app, a used code and earlier ones are refused; one step of skew is not."""
    account.add_app()
    with pytest.raises(WrongCode):
        account.by_code(account.code())

    assert account.by_code(account.next_code()).name == "ann"
    with pytest.raises(WrongCode):
        account.by_code(account.code())
    with pytest.raises(WrongCode):
        account.by_code(account.code(-1))
    assert account.by_code(account.code(1)).name == "ann"
    account.services.clock.forward(minutes=5)
    with pytest.raises(WrongCode):
        account.by_code(account.code(2))
    with pytest.raises(WrongCode):
        account.by_code(account.code(-2))
    assert account.by_code(f" {account.code()[:3]} {account.code()[3:]} ").name == "ann"


def test_recovery_codes(account: Account) -> None:
    """Each signs in once; new ones replace those that are left."""
    first, second, *_ = account.add_app()

    assert account.by_code(first.upper()).name == "ann"
    with pytest.raises(WrongCode):
        account.by_code(first)
    assert account.run(account.factors.get(account.session)).recovery_codes == totp.RECOVERY_CODES - 1
    new = account.run(account.factors.new_recovery_codes(account.session))
    with pytest.raises(WrongCode):
        account.by_code(second)
    assert account.by_code(new[0]).name == "ann"


@pytest.mark.parametrize("code", ["", "-", "0" * 100_000, "äöü", "\ud800", "12345", "¹²³⁴⁵⁶"])
def test_texts_that_are_no_codes(account: Account, code: str) -> None:
    """Nothing that a client sends breaks the check."""
    account.add_app()
    with pytest.raises(WrongCode):
        account.by_code(code)


def test_guesses_are_throttled(account: Account) -> None:
    """A thief of the password gets few guesses, from one network and from many; the owner signs in at home."""
    account.add_app()
    account.by_code(account.next_code())
    state = account.pending()
    wrong = 0
    for number in range(FREE_FAILURES + 5):
        try:
            account.by_code("000000", state, f"198.51.100.{number}")
        except WrongCode:
            wrong += 1
        except TooManyAttempts:
            break
    assert wrong == FREE_FAILURES

    assert account.by_code(account.next_code()).name == "ann"
    for _ in range(MAX_FAILURES):
        with pytest.raises(WrongCode):
            account.by_code("000000")
    with pytest.raises(TooManyAttempts):
        account.by_code("000000")


def test_a_password_does_not_make_a_network_known(services: Services, account: Account) -> None:
    """Only a finished sign-in exempts a network from the throttle of guesses."""
    account.add_app()
    with pytest.raises(SecondFactorNeeded) as caught:
        services.run(services.hub.sessions.check_password("ann", PASSWORD, "203.0.113.9"))
    state = caught.value.state
    for number in range(FREE_FAILURES):
        with pytest.raises(WrongCode):
            account.by_code("000000", state, f"198.51.100.{number}")

    with pytest.raises(TooManyAttempts):
        account.by_code("000000", state, "203.0.113.9")


def test_a_pending_state_is_good_for_nothing_else(services: Services, account: Account) -> None:
    """It is no session, it is used once, it expires, and it ends with the password."""
    codes = account.add_app()
    state = account.pending()

    assert account.actor(state) == ANONYMOUS
    with pytest.raises(SignInNeeded):
        services.run(services.hub.credentials.by_token(state))
    for purpose in (account.factors.activate_app(account.session, state, account.code()),):
        with pytest.raises(StateExpired):
            services.run(purpose)
    with pytest.raises(StateExpired):
        account.by_code(account.next_code(), state[:-4] + "AAAA")
    assert account.by_code(account.next_code(), state).name == "ann"
    with pytest.raises(StateExpired):
        account.by_code(codes[0], state)
    old, older = account.pending(), account.pending()
    services.run(services.hub.users.set_password(account.session, "ann", "another long horse", PASSWORD))
    with pytest.raises(StateExpired):
        account.by_code(codes[1], old)
    services.clock.forward(hours=1)
    with pytest.raises(StateExpired):
        account.by_code(codes[1], older)


def test_a_stolen_session_changes_nothing(services: Services, account: Account) -> None:
    """After ten minutes a session needs the password or a factor again; tokens may never change factors."""
    run, factors, confirmations = services.run, account.factors, services.hub.confirmations
    codes = account.add_app()
    services.clock.forward(minutes=11)
    key = Authenticator()
    for forbidden in (
        lambda: factors.passkey_options(account.session, PARTY),
        lambda: factors.add_passkey(account.session, PARTY, "thief", "{}"),
        lambda: factors.new_app(account.session, "hub"),
        lambda: factors.remove_app(account.session),
        lambda: factors.new_recovery_codes(account.session),
    ):
        with pytest.raises(ConfirmationNeeded):
            run(forbidden())
    with pytest.raises(Invalid):
        run(confirmations.by_password(account.session, "wrong"))
    with pytest.raises(Invalid):
        run(confirmations.by_code(account.session, "000000", HERE))
    with pytest.raises(ConfirmationNeeded):
        run(factors.remove_app(account.session))

    run(confirmations.by_password(account.session, PASSWORD))
    account.add_passkey(key)
    services.clock.forward(minutes=11)
    run(confirmations.by_code(account.session, codes[0], HERE))
    secret, _ = run(services.hub.personal_tokens.create(account.session, NewPersonalToken("t", (Right.ACCOUNT,))))
    services.clock.forward(minutes=11)
    options = plain(run(confirmations.passkey_options(account.session, PARTY)))
    run(confirmations.by_passkey(account.session, PARTY, json.dumps(key.get(options))))
    run(factors.remove_app(account.session))
    with pytest.raises(Refused, match="token"):
        run(factors.remove_passkey(run(services.hub.credentials.by_token(secret)), 1))


class Keys:
    """A user with a passkey, and how it signs in."""

    def __init__(self, account: Account) -> None:
        self.account, self.key = account, Authenticator()
        self.codes = account.add_passkey(self.key)
        self.pending = account.services.hub.pending_sign_ins

    def alone(self, options: dict[str, Any] | None = None, browser: str = "b", party: RelyingParty = PARTY) -> HubActor:
        return self.send(self.key.get(options or self.options(browser)), browser, party)

    def options(self, browser: str = "b") -> dict[str, Any]:
        return plain(self.pending.passkey_options(PARTY, browser))

    def send(self, response: dict[str, Any], browser: str = "b", party: RelyingParty = PARTY) -> HubActor:
        finished = self.pending.by_passkey_alone(party, browser, json.dumps(response), HERE)
        actor: HubActor = self.account.run(finished)
        return actor

    def second(self, state: str, *, handle: bool = True) -> HubActor:
        run = self.account.run
        shown = run(self.pending.get(state, PARTY))
        assert shown.passkeys is not None
        response = json.dumps(self.key.get(plain(shown.passkeys), handle=handle))
        actor: HubActor = run(self.pending.by_passkey(state, PARTY, response, HERE))
        return actor


@pytest.fixture
def keys(account: Account) -> Keys:
    """A user with a passkey."""
    return Keys(account)


def test_passkeys_sign_in(keys: Keys) -> None:
    """Alone, and after the password; the latter also from a key that verifies no user and keeps no names."""
    assert len(keys.codes) == totp.RECOVERY_CODES
    assert keys.alone().name == "ann"
    keys.key.verifies = False
    assert keys.second(keys.account.pending(), handle=False).name == "ann"
    (passkey,) = keys.account.run(keys.account.factors.get(keys.account.session)).passkeys
    assert (passkey.name, passkey.backed_up, passkey.used_at) == ("laptop", False, keys.account.services.clock.now)


def test_a_passkey_alone_verifies_its_user(keys: Keys) -> None:
    """A key that only anyone touched counts as one factor."""
    keys.key.verifies = False
    with pytest.raises(PasskeyRejected):
        keys.alone()


def test_a_challenge_works_once_and_for_one_browser(keys: Keys) -> None:
    """Neither a response nor a challenge can be replayed, moved to another browser, or used for something else."""
    options = keys.options()
    response = keys.key.get(options)
    assert keys.send(response).name == "ann"
    with pytest.raises((StateExpired, PasskeyRejected)):
        keys.send(response)
    with pytest.raises(StateExpired):
        keys.alone(options)
    with pytest.raises(StateExpired):
        keys.alone(keys.options("victim"), "thief")
    with pytest.raises(StateExpired):
        keys.alone(options | {"challenge": "AAAA"})
    shown = keys.account.run(keys.pending.get(keys.account.pending(), PARTY))
    with pytest.raises(StateExpired):
        keys.alone(plain(shown.passkeys))
    old = keys.options()
    keys.account.services.clock.forward(hours=1)
    with pytest.raises(StateExpired):
        keys.alone(old)


@pytest.mark.parametrize(
    "broken",
    [{"origin": "https://hub.examp1e.com"}, {"rp_id": "examp1e.com"}, {"sign_count": -1}, {"user_handle": "x"}],
)
def test_responses_that_are_refused(keys: Keys, broken: dict[str, Any]) -> None:
    """The origin and host of a phishing page, a sign count of a cloned key, and another user's name."""
    keys.alone()
    for name, value in broken.items():
        setattr(keys.key, name, value)
    with pytest.raises(PasskeyRejected):
        keys.alone()


@pytest.mark.parametrize("text", ["", "{}", "[]", "\x00", "{" * 5000, '{"id":"a","response":{"clientDataJSON":"!"}}'])
def test_responses_that_are_nonsense(keys: Keys, text: str) -> None:
    """Nothing that a client sends breaks the check."""
    with pytest.raises(SignInNeeded):
        keys.account.run(keys.pending.by_passkey_alone(PARTY, "b", text, HERE))
    with pytest.raises((Invalid, SignInNeeded)):
        keys.account.run(keys.account.factors.add_passkey(keys.account.session, PARTY, "x", text))


def test_a_passkey_of_another_account(services: Services, keys: Keys) -> None:
    """It neither finishes nor confirms for this one, and its credential cannot be registered again."""
    eve = Account(services, "eve")
    other = Keys(eve)
    state = keys.account.pending()
    shown = plain(services.run(keys.pending.get(state, PARTY)).passkeys)
    with pytest.raises(PasskeyRejected):
        services.run(keys.pending.by_passkey(state, PARTY, json.dumps(other.key.get(shown)), HERE))
    options = plain(services.run(services.hub.confirmations.passkey_options(keys.account.session, PARTY)))
    response = json.dumps(other.key.get(options))
    with pytest.raises(PasskeyRejected):
        services.run(services.hub.confirmations.by_passkey(keys.account.session, PARTY, response))
    with pytest.raises(Invalid):
        keys.account.add_passkey(other.key)
    (own,) = services.run(eve.factors.get(eve.session)).passkeys
    with pytest.raises(NotFound):
        services.run(keys.account.factors.remove_passkey(keys.account.session, own.id))
    with pytest.raises(NotFound):
        services.run(keys.account.factors.rename_passkey(keys.account.session, own.id, "mine"))
    assert keys.second(state).name == "ann"


def test_the_last_factor_goes(services: Services, keys: Keys) -> None:
    """Removing it turns two-factor authentication off: the password signs in again, and recovery codes end."""
    factors, session = keys.account.factors, keys.account.session
    (passkey,) = services.run(factors.get(session)).passkeys
    services.run(factors.rename_passkey(session, passkey.id, " old laptop "))
    assert services.run(factors.get(session)).passkeys[0].name == "old laptop"
    services.run(factors.remove_passkey(session, passkey.id))

    shown = services.run(factors.get(session))
    assert (shown.active, shown.recovery_codes) == (False, 0)
    assert services.run(services.hub.credentials.by_password("ann", PASSWORD)).name == "ann"


def test_administrators_reset(services: Services, account: Account, curator: HubActor, ben: HubActor) -> None:
    """They remove the factors of others, and their sessions; not their own, which a stolen session could use."""
    account.add_app()
    with pytest.raises(Refused):
        services.run(account.factors.reset(ben, "ann"))
    with pytest.raises(Refused):
        services.run(account.factors.reset(curator, "curator"))
    services.run(account.factors.reset(curator, "ann"))

    assert services.run(services.hub.credentials.by_password("ann", PASSWORD)).name == "ann"
    with pytest.raises(ConfirmationNeeded):
        services.run(account.factors.new_app(account.session, "hub"))


def test_an_organization_requires_a_factor(services: Services, account: Account, curator: HubActor) -> None:
    """A member cannot remove the last one; without one nothing of the organization is shared, in lists neither."""
    ben, hub, run = Account(services, "ben"), services.hub, services.run
    account.add_app()
    ben.add_app()
    run(hub.organizations.create(account.session, NewOrganization("acme")))
    invitation = run(hub.invitations.invite(account.session, "acme", NewInvitation("ben")))
    run(hub.invitations.accept(ben.session, invitation.id))
    run(hub.organizations.change(account.session, "acme", OrganizationChange(require_second_factor=True)))
    run(hub.repositories.create(account.session, NewRepository("acme", "secret", visibility=Visibility.PRIVATE)))
    run(hub.teams.create(account.session, "acme", NewTeam("crew")))
    run(hub.teams.add_member(account.session, "acme", "crew", "ben"))
    run(hub.teams.grant(account.session, "acme", "crew", NewGrant("secret", RoleWord.READ)))

    def shared() -> tuple[int, int, int]:
        access = hub.access.context(ben.session, "acme/secret")
        reached = len(hub.access.reached(ben.session, "acme/secret", run(access)))
        in_namespace = len(run(hub.repositories.in_namespace(ben.session, "acme", Paging())).items)
        return reached, in_namespace, len(run(hub.search.find(ben.session, "secret", Paging())).items)

    assert shared() == (1, 1, 1)
    with pytest.raises(Refused, match="acme requires"):
        run(ben.factors.remove_app(ben.session))
    assert run(ben.factors.get(ben.session)).required_by == ("acme",)
    run(ben.factors.reset(curator, "ben"))
    assert shared() == (0, 0, 0)
