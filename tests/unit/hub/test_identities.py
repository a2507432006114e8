"""Sign-in by a real OpenID Connect provider: first sign-ins, accounts that exist, links, groups, and attacks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import msgspec
import pytest
from tests.parts.oidc_provider import CLIENT_ID, SECRET, OpenIDProvider
from tests.unit.hub.services import PASSWORD, Services

from hythe.egress.policy import EgressPolicy
from hythe.hub.actor import ANONYMOUS, HubActor
from hythe.hub.errors import (
    AccountBlocked,
    ConfirmationNeeded,
    ProviderDown,
    Refused,
    SignInNeeded,
    Taken,
)
from hythe.hub.organizations.organizations import Conversion, NewOrganization
from hythe.hub.organizations.teams import NewTeam
from hythe.hub.page import Paging
from hythe.hub.roles import OrganizationRole
from hythe.hub.service import make_hub
from hythe.hub.sign_in.identities import Completed, IdentityService
from hythe.hub.sign_in.identity_accounts import NewAccount
from hythe.identity_providers.account_rules import AccountRules
from hythe.identity_providers.configured import open_identity_providers
from hythe.identity_providers.external_identity import ExternalIdentity

HUB = "https://hub.example"
OPTIONS = "?sign_up=yes&administrators=admins&team=devs:acme/devs&team=ops:acme/ops"


@dataclass
class Company:
    """A hub with the provider ``company``."""

    services: Services
    identities: IdentityService
    provider: OpenIDProvider

    def begin(self, target: str = "/") -> tuple[str, str]:
        """Begin a sign-in; return the address at the provider, and the cookie."""
        redirection = self.services.run(self.identities.begin_sign_in("company", HUB, target))
        return redirection.url, redirection.cookie

    def respond(self, url: str, sub: str) -> dict[str, str]:
        """Sign in at the provider; return the query of its response."""
        return dict(parse_qsl(urlsplit(self.provider.sign_in(url, sub)).query))

    def complete(self, response: dict[str, str], cookie: str, actor: HubActor = ANONYMOUS) -> Completed:
        """Complete a sign-in."""
        completed: Completed = self.services.run(self.identities.complete("company", response, cookie, actor))
        return completed

    def sign_in(self, sub: str) -> Completed:
        """Sign in from beginning to end."""
        url, cookie = self.begin()
        return self.complete(self.respond(url, sub), cookie)

    def session_of(self, name: str) -> HubActor:
        """Return a user who signed in just now with their password."""
        started = self.services.run(self.services.hub.sessions.sign_in(name, PASSWORD, "192.0.2.1"))
        actor: HubActor = self.services.run(self.services.hub.sessions.actor(started.token))
        return actor


@pytest.fixture
def company(services: Services, oidc_provider: OpenIDProvider) -> Iterator[Company]:
    """A hub on each database, with the real time, because the provider has it."""
    services.clock.now = datetime.now(UTC)
    stack = AsyncExitStack()
    credentials = f"{quote(CLIENT_ID)}:{quote(SECRET, safe='')}"
    setting = f"company=oidc+http://{credentials}@127.0.0.1:{oidc_provider.port}{OPTIONS}"
    providers = services.run(stack.enter_async_context(open_identity_providers(setting, EgressPolicy())))
    hub = make_hub(services.foundation, services.registry, providers=providers)
    services.hub = hub
    yield Company(services, hub.identities, oidc_provider)
    services.run(stack.aclose())


def _claims(name: str, *groups: str, verified: bool = True) -> dict[str, Any]:
    email = f"{name}@company.example"
    return {"preferred_username": name, "email": email, "email_verified": verified, "groups": list(groups)}


def test_the_first_sign_in_makes_an_account_and_the_next_finds_it(company: Company) -> None:
    """The account has the provider's name and address, and no password; a new name at the provider changes nothing."""
    company.provider.put("1", **_claims("zoe"))
    first = company.sign_in("1")
    company.provider.put("1", **_claims("zoe-married"))
    second = company.sign_in("1")

    assert first.actor is not None
    assert second.actor is not None
    assert (first.actor.name, second.actor.user_id) == ("zoe", first.actor.user_id)
    user = company.services.run(company.services.hub.users.me(first.actor))
    assert (user.email, user.email_confirmed) == ("zoe@company.example", True)
    with pytest.raises(SignInNeeded):
        company.services.run(company.services.hub.credentials.by_password("zoe", ""))


@pytest.mark.parametrize("claims", [_claims("ann"), {**_claims("eve"), "email": "ann@example.com"}])
def test_no_account_is_taken_over(company: Company, ann: HubActor, claims: dict[str, Any]) -> None:
    """With the name or the verified address of an account, a user has to choose others, and gets another account."""
    company.provider.put("2", **claims)
    completed = company.sign_in("2")

    assert completed.actor is None
    with pytest.raises(Taken):
        company.services.run(company.identities.create_account(completed.cookie, "ann", "eve@example.com", ""))
    with pytest.raises(Taken):
        company.services.run(company.identities.create_account(completed.cookie, "eve", "ann@example.com", ""))
    made = company.services.run(company.identities.create_account(completed.cookie, "eve", "eve@example.com", ""))
    assert (made.actor.name, made.actor.user_id == ann.user_id) == ("eve", False)
    assert not company.services.run(company.services.hub.users.me(made.actor)).email_confirmed


def test_links(company: Company, ann: HubActor, ben: HubActor) -> None:
    """A user links an identity to their account and signs in with it; another account cannot have the same one."""
    company.provider.put("3", **_claims("someone"))
    session = company.session_of("ann")
    redirection = company.services.run(company.identities.begin_link(session, "company", HUB))
    response = company.respond(redirection.url, "3")
    with pytest.raises(Refused, match="another user"):
        company.complete(response, redirection.cookie, company.session_of("ben"))
    company.complete(response, redirection.cookie, session)

    signed_in = company.sign_in("3").actor
    assert signed_in is not None
    assert signed_in.name == "ann"
    other = company.session_of("ben")
    redirection = company.services.run(company.identities.begin_link(other, "company", HUB))
    with pytest.raises(Taken):
        company.complete(company.respond(redirection.url, "3"), redirection.cookie, other)
    (linked,) = company.services.run(company.identities.list(session))
    company.services.run(company.identities.unlink(session, linked.id))
    assert company.services.run(company.identities.list(session)) == ()


def test_links_need_a_recent_sign_in(company: Company, ann: HubActor) -> None:
    """A session that began an hour ago, and may be stolen, cannot add another way to sign in."""
    session = company.session_of("ann")
    company.services.clock.forward(hours=1)

    with pytest.raises(ConfirmationNeeded):
        company.services.run(company.identities.begin_link(session, "company", HUB))


def test_the_only_way_to_sign_in_stays(company: Company) -> None:
    """An account without a password keeps its last identity."""
    company.provider.put("4", **_claims("yan"))
    actor = company.sign_in("4").actor
    started = company.services.run(company.services.hub.sessions.start(actor, "192.0.2.1"))
    session = company.services.run(company.services.hub.sessions.actor(started.token))
    (linked,) = company.services.run(company.identities.list(session))

    with pytest.raises(Refused, match="only way"):
        company.services.run(company.identities.unlink(session, linked.id))


def test_blocked_accounts_stay_blocked(company: Company) -> None:
    """A block counts for every way to sign in."""
    company.provider.put("5", **_claims("max"))
    company.sign_in("5")
    company.services.run(company.services.hub.administration.block(HubActor.operator(), "max"))

    with pytest.raises(AccountBlocked):
        company.sign_in("5")


def test_groups_give_teams_and_administrators(company: Company, ann: HubActor, curator: HubActor) -> None:
    """Memberships follow the groups at each sign-in, in the teams of the setting alone."""
    hub, run = company.services.hub, company.services.run
    run(hub.organizations.create(ann, NewOrganization("acme")))
    for team in ("devs", "ops", "guests"):
        run(hub.teams.create(ann, "acme", NewTeam(team)))

    def members(team: str) -> list[str]:
        return [each.name for each in run(hub.teams.members(ann, "acme", team, Paging())).items]

    company.provider.put("6", **_claims("uma", "devs", "admins", "others"))
    actor = company.sign_in("6").actor
    assert actor is not None
    run(hub.teams.add_member(ann, "acme", "guests", "uma"))
    assert (actor.admin, members("devs"), members("ops")) == (True, ["uma"], [])

    company.provider.put("6", **_claims("uma", "ops"))
    actor = company.sign_in("6").actor
    assert actor is not None
    assert (actor.admin, members("devs"), members("ops"), members("guests")) == (False, [], ["uma"], ["uma"])


@pytest.mark.parametrize(("sign_up", "made"), [(None, False), (True, True), (False, False)])
def test_sign_up_for_users_of_a_provider_alone(services: Services, sign_up: bool | None, made: bool) -> None:
    """On a hub where no one can sign up, a provider makes accounts only if its own option says so."""
    accounts = services.foundation.identity_accounts
    accounts.apply(msgspec.structs.replace(services.foundation.settings, sign_up=False))
    identity = ExternalIdentity(issuer="https://id.example", subject="1")
    attempt = accounts.create(
        identity, AccountRules(sign_up), NewAccount("tom", "tom@example.com", True), HubActor(address="192.0.2.1")
    )

    if made:
        assert services.run(attempt).account.name == "tom"
    else:
        with pytest.raises(Refused, match="sign-up is disabled"):
            services.run(attempt)


def test_attacks_on_the_response(company: Company) -> None:
    """Another state, another browser, another issuer, and a code that was used before are refused."""
    company.provider.put("8", **_claims("kim"))
    url, cookie = company.begin()
    response = company.respond(url, "8")
    _, other_cookie = company.begin()

    for attack, its_cookie, words in (
        ({**response, "state": "x" * 43}, cookie, "not begun in this browser"),
        (response, other_cookie, "not begun in this browser"),
        (response, "", "not begun in this browser"),
        ({**response, "iss": "https://evil.example"}, cookie, "not from company"),
        ({name: value for name, value in response.items() if name != "iss"}, cookie, "not from company"),
        ({"state": response["state"], "error": "access_denied", "iss": response["iss"]}, cookie, "access_denied"),
    ):
        with pytest.raises(Refused, match=words):
            company.complete(attack, its_cookie)
    assert company.complete(response, cookie).actor is not None
    with pytest.raises(Refused, match="no longer accepts"):
        company.complete(response, cookie)
    company.services.clock.forward(minutes=16)
    with pytest.raises(Refused, match="took too long"):
        company.complete(response, cookie)


def test_a_provider_that_is_down(services: Services) -> None:
    """The error names the provider, and says what to do."""
    stack = AsyncExitStack()
    setting = "gone=oidc+http://a:b@127.0.0.1:9"
    providers = services.run(stack.enter_async_context(open_identity_providers(setting, EgressPolicy())))
    hub = make_hub(services.foundation, services.registry, providers=providers)

    with pytest.raises(ProviderDown, match="gone"):
        services.run(hub.identities.begin_sign_in("gone", HUB, "/"))
    services.run(stack.aclose())


def test_an_earlier_sign_in_at_the_provider_confirms_nothing(company: Company) -> None:
    """The provider is to ask for a new sign-in; a thief who takes that out of the address gets nowhere."""
    services = company.services
    company.provider.put("1", **_claims("zoe"))
    signed_in = company.sign_in("1").actor
    assert signed_in is not None
    started = services.run(services.hub.sessions.start(signed_in, "192.0.2.1", ""))
    zoe = services.run(services.hub.sessions.actor(started.token))
    services.clock.forward(minutes=11)

    redirection = services.run(company.identities.begin_confirmation(zoe, "company", HUB, "/"))
    address = urlsplit(redirection.url)
    query = dict(parse_qsl(address.query))
    assert (query.pop("prompt"), query.pop("max_age")) == ("login", "0")
    shortened = address._replace(query=urlencode(query)).geturl()
    with pytest.raises(Refused, match="does not say when"):
        company.complete(company.respond(shortened, "1"), redirection.cookie, zoe)
    with pytest.raises(ConfirmationNeeded):
        services.run(services.hub.confirmations.require(zoe))
    company.complete(company.respond(redirection.url, "1"), redirection.cookie, zoe)
    services.run(services.hub.confirmations.require(zoe))


def test_a_provider_that_proves_no_new_sign_in_confirms_nothing(
    company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Plain OAuth can sign in, but its answer may come from a session of yesterday."""
    services = company.services
    company.provider.put("1", **_claims("zoe"))
    monkeypatch.setattr("hythe.identity_providers.oidc.OpenIDProvider.proves_sign_in", False)
    zoe = company.sign_in("1").actor
    assert zoe is not None

    assert services.run(company.identities.confirmation_means(zoe)).providers == ()
    with pytest.raises(Refused, match="company cannot confirm"):
        services.run(company.identities.begin_confirmation(zoe, "company", HUB, "/"))


def test_an_account_without_a_password_is_converted(company: Company) -> None:
    """An identity of the account confirms its session, and no other one does."""
    services, ben = company.services, company.services.user("ben")
    hub = services.hub
    for sub, name in (("1", "zoe"), ("2", "eve")):
        company.provider.put(sub, **_claims(name))
    signed_in = company.sign_in("1").actor
    assert signed_in is not None
    company.sign_in("2")
    zoe = services.run(hub.sessions.actor(services.run(hub.sessions.start(signed_in, "192.0.2.1", "")).token))
    means = services.run(company.identities.confirmation_means(zoe))
    assert (means.password, [each.title for each in means.providers]) == (False, ["company"])
    assert services.run(company.identities.confirmation_means(ben)).password
    services.clock.forward(minutes=11)
    with pytest.raises(ConfirmationNeeded):
        services.run(hub.organizations.convert(zoe, Conversion("ben", "zoe")))

    redirection = services.run(company.identities.begin_confirmation(zoe, "company", HUB, "/account/conversion"))
    with pytest.raises(Refused, match="not linked"):
        company.complete(company.respond(redirection.url, "2"), redirection.cookie, zoe)
    response = company.respond(redirection.url, "1")
    with pytest.raises(Refused, match="another user"):
        company.complete(response, redirection.cookie, ben)
    with pytest.raises(ConfirmationNeeded):
        services.run(hub.organizations.convert(zoe, Conversion("ben", "zoe")))
    completed = company.complete(response, redirection.cookie, zoe)
    assert (completed.target, completed.actor) == ("/account/conversion", None)
    services.run(hub.organizations.convert(zoe, Conversion("ben", "zoe")))
    assert services.run(hub.organizations.role(ben, "zoe")) is OrganizationRole.OWNER
