"""Tokens: their form, rights and repositories, rotation, robots, reports of leaks, and servers of two versions."""

import zlib
from datetime import timedelta

import pytest
from sqlalchemy import insert, select, update
from tests.unit.hub.services import Services
from tests.unit.hub.test_credentials import basic

from hythe.database.tables.hub import personal_tokens
from hythe.hub.accounts.user import Visibility
from hythe.hub.actor import EVERY_RIGHT, HubActor, Right
from hythe.hub.errors import Invalid, NotFound, Refused, SignInNeeded, Taken
from hythe.hub.organizations.name_patterns import matches, repository_patterns_problem
from hythe.hub.organizations.organizations import NewOrganization
from hythe.hub.page import Paging
from hythe.hub.repositories.repositories import NewRepository
from hythe.hub.tokens.leaked_tokens import LeakedToken, LeakReport
from hythe.hub.tokens.personal_token import TokenKind, could_be_secret, digest_of, new_secret, new_token_secret
from hythe.hub.tokens.personal_tokens import NewPersonalToken, PersonalTokenChange
from hythe.hub.tokens.robots import NewRobot, RobotChange
from hythe.hub.tokens.token_terms import MAX_TOKENS, Rotation, TokenTerms
from hythe.hub.tokens.tokens import TokenRequest
from hythe.oci.errors import WireError
from hythe.oci.scope import CATALOG, Scope
from hythe.registry.access import Action

PUSH = (Right.READ, Right.WRITE)


def test_secrets_have_a_checksum() -> None:
    """A changed letter is noticed without a query; secrets of older versions are still recognized."""
    secret = new_token_secret(TokenKind.ROBOT)
    other = "a" if secret[20] != "a" else "b"

    assert could_be_secret(secret)
    assert secret.startswith("hythe_r")
    assert len(secret) == 53
    assert not could_be_secret(secret[:20] + other + secret[21:])
    assert not could_be_secret(secret + "x")
    assert could_be_secret(new_secret("hythe_"))
    alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    checksum = sum(alphabet.index(digit) * 62**place for place, digit in enumerate(reversed(secret[-6:])))
    assert checksum == zlib.crc32(secret[:-6].encode())


def test_patterns() -> None:
    """``*`` stands for any text. Hostile patterns cost no time."""
    assert matches("acme/*", "acme/web")
    assert matches("acme/web-*-*", "acme/web-a-b")
    assert not matches("acme/web-*", "acme/web")
    assert not matches("acme/*", "acme-evil/web")
    assert not matches("a*a", "a")
    assert not matches("*a" * 5 + "b", "a" * 10_000)
    assert repository_patterns_problem(("acme/web", "acme/*")) is None
    for bad in (("*",), ("*/web",), ("acme",), ("acme/../x",), ("ACME/x",), ("a/" + "x" * 300,), ("a/*",) * 51, ()):
        assert repository_patterns_problem(bad), bad


def _request(services: Services, token: str, repository: str, *actions: str) -> HubActor:
    """Return the actor of an access token that was requested with a personal token."""
    issued = services.run(services.hub.credentials.by_header(f"Bearer {token}"))
    wanted = TokenRequest(scopes=(Scope.repository(repository, *actions), CATALOG))
    reply = services.run(services.hub.tokens.issue(issued, wanted))
    actor: HubActor = services.run(services.hub.credentials.by_token(reply.token))
    return actor


def test_limits_apply_everywhere_and_at_once(services: Services, ann: HubActor) -> None:
    """A token reaches only its repositories, in the registry, the API and lists; a change also ends access tokens'."""
    for name in ("web-a", "db"):
        services.run(services.hub.repositories.create(ann, NewRepository("ann", name, visibility=Visibility.PRIVATE)))
    new = NewPersonalToken("ci", PUSH, repositories=("ann/web-*",))
    secret, token = services.run(services.hub.personal_tokens.create(ann, new))
    actor = services.run(services.hub.credentials.by_header(basic("ann", secret), "192.0.2.7"))
    web = _request(services, secret, "ann/web-a", "pull", "push")
    database = _request(services, secret, "ann/db", "pull", "push")
    access, repositories = services.foundation.access, services.hub.repositories

    services.run(access.require(web, "ann/web-a", Action.PUSH))
    services.run(access.require(actor, "ann/web-new", Action.PUSH))
    services.run(repositories.get(actor, "ann/web-a"))
    for refused in (actor, database):
        with pytest.raises(WireError):
            services.run(access.require(refused, "ann/db", Action.PULL))
    with pytest.raises(NotFound):
        services.run(repositories.get(actor, "ann/db"))
    with pytest.raises(Refused):
        services.run(repositories.create(actor, NewRepository("ann", "other")))
    assert services.run(repositories.in_namespace(actor, "ann", Paging())).items == ()
    assert services.run(access.visible(web, ("ann/web-a", "ann/db"))) == {"ann/web-a"}
    [listed] = services.run(services.hub.personal_tokens.list(ann))
    assert (listed.used_from, listed.repositories) == ("192.0.2.7", ("ann/web-*",))

    change = PersonalTokenChange(rights=(Right.READ,), repositories=("ann/*",))
    services.run(services.hub.personal_tokens.change(ann, token.id, change))
    with pytest.raises(WireError):
        services.run(access.require(web, "ann/web-a", Action.PUSH))
    whole = services.run(services.hub.credentials.by_header(basic("ann", secret)))
    assert len(services.run(repositories.in_namespace(whole, "ann", Paging())).items) == 2


def test_a_limited_token_cannot_manage_the_account(services: Services, ann: HubActor) -> None:
    """It could create a token without limits."""
    new = NewPersonalToken("x", (Right.ACCOUNT,), repositories=("ann/web",))
    with pytest.raises(Invalid):
        services.run(services.hub.personal_tokens.create(ann, new))


def test_rotation(services: Services, ann: HubActor) -> None:
    """After a rotation the old secret, and logins with it, work for the overlap, and the new one at once."""
    service = services.hub.personal_tokens
    old, token = services.run(service.create(ann, NewPersonalToken("ci", PUSH)))
    issued = services.run(services.hub.credentials.by_token(old))
    refresh = services.run(services.hub.tokens.issue(issued, TokenRequest(offline=True))).refresh_token
    access_token = _request(services, old, "ann/web", "pull", "push")
    new, _ = services.run(service.rotate(ann, token.id, Rotation(overlap_hours=2)))

    services.run(services.hub.credentials.by_token(new))
    services.clock.forward(minutes=119)
    services.run(services.hub.credentials.by_token(old))
    services.run(services.hub.credentials.by_refresh_token(refresh))
    services.run(services.foundation.access.require(access_token, "ann/web", Action.PUSH))
    services.clock.forward(minutes=2)
    for attempt in (services.hub.credentials.by_token(old), services.hub.credentials.by_refresh_token(refresh)):
        with pytest.raises(SignInNeeded):
            services.run(attempt)
    with pytest.raises(WireError):
        services.run(services.foundation.access.require(access_token, "ann/web", Action.PUSH))
    newest, _ = services.run(service.rotate(ann, token.id, Rotation()))
    with pytest.raises(SignInNeeded):
        services.run(services.hub.credentials.by_token(new))
    services.run(services.hub.credentials.by_token(newest))


def test_bounds(services: Services, ann: HubActor, monkeypatch: pytest.MonkeyPatch) -> None:
    """The number of tokens has a bound, and a setting limits their lifetime."""
    monkeypatch.setattr("hythe.hub.tokens.personal_tokens.MAX_TOKENS", 1)
    services.run(services.hub.personal_tokens.create(ann, NewPersonalToken("one", PUSH)))
    with pytest.raises(Refused, match="1 tokens"):
        services.run(services.hub.personal_tokens.create(ann, NewPersonalToken("two", PUSH)))

    terms = TokenTerms(services.clock, 30 * 86400)
    assert MAX_TOKENS == 200
    assert terms.expiry(30) == services.clock.now + timedelta(days=30)
    for days in (None, 31):
        with pytest.raises(Invalid, match="30 days"):
            terms.expiry(days)


def test_robots(services: Services, ann: HubActor, ben: HubActor) -> None:
    """A robot acts in its namespace alone, under its own name; its owner manages it and no one else sees it."""
    robots = services.hub.robots
    services.run(services.hub.repositories.create(ben, NewRepository("ben", "app")))
    secret, robot = services.run(robots.create(ann, "ann", NewRobot("ci", (*PUSH, Right.BUILDS))))
    actor = services.run(services.hub.credentials.by_header(basic("ann+ci", secret)))

    services.push(actor, "ann/web")
    assert services.run(services.hub.repositories.get(ann, "ann/web")).namespace == "ann"
    assert robot.repositories == ("ann/*",)
    assert (actor.name, actor.credential, actor.admin) == ("ann+ci", "robot token", False)
    with pytest.raises(SignInNeeded):
        services.run(services.hub.credentials.by_header(basic("ann", secret)))
    with pytest.raises(WireError):
        services.push(actor, "ben/app")
    for refused in (services.hub.users.me(actor), robots.list(actor, "ann"), services.hub.personal_tokens.list(actor)):
        with pytest.raises(Refused):
            services.run(refused)
    with pytest.raises((NotFound, Refused)):
        services.run(robots.list(ben, "ann"))
    with pytest.raises(Taken):
        services.run(robots.create(ann, "ann", NewRobot("ci", PUSH)))
    for bad in (NewRobot("c", PUSH, ("ben/app",)), NewRobot("c", (Right.ACCOUNT,)), NewRobot("C+", PUSH)):
        with pytest.raises(Invalid):
            services.run(robots.create(ann, "ann", bad))

    services.run(robots.change(ann, "ann", "ci", RobotChange(name="nightly", repositories=("ann/web",))))
    assert services.run(services.hub.credentials.by_token(secret)).name == "ann+nightly"
    rotated, _ = services.run(robots.rotate(ann, "ann", "nightly", Rotation()))
    services.run(robots.delete(ann, "ann", "nightly"))
    with pytest.raises(SignInNeeded):
        services.run(services.hub.credentials.by_token(rotated))


def test_a_leaked_token_is_revoked(services: Services, ann: HubActor) -> None:
    """Whoever has the secret revokes the token, without an account."""
    secret, _ = services.run(services.hub.personal_tokens.create(ann, NewPersonalToken("ci", PUSH)))
    unknown = new_token_secret(TokenKind.PERSONAL)
    report = LeakReport((LeakedToken(secret, "https://example.com/gist"), LeakedToken(unknown), LeakedToken("x")))

    assert services.run(services.hub.leaked_tokens.report(HubActor(), report)) == (True, False, False)
    with pytest.raises(SignInNeeded):
        services.run(services.hub.credentials.by_token(secret))


def test_servers_of_two_versions(services: Services, ann: HubActor) -> None:
    """A token of an older version may do what it could; to an older server, a limited token allows nothing."""
    old = new_secret("hythe_")
    row = {"user_id": ann.user_id, "name": "old", "digest": digest_of(old), "created_at": services.clock.now}

    async def add_old() -> None:
        async with services.database.writing() as session:
            await session.run(insert(personal_tokens).values(**row, rights="repo:read repo:write"))

    async def columns() -> dict[str, str]:
        async with services.database.reading() as session:
            rows = await session.rows(select(personal_tokens.c.name, personal_tokens.c.rights))
        return {each.name: each.rights for each in rows}

    async def add_future_word() -> None:
        async with services.database.writing() as session:
            words = {"permissions": "repo:read repo:future"}
            await session.run(update(personal_tokens).where(personal_tokens.c.name == "old").values(words))

    services.run(add_old())
    made = (("all", tuple(EVERY_RIGHT), None), ("push", PUSH, None), ("web", PUSH, ("a/b",)))
    for name, rights, repositories in made:
        new = NewPersonalToken(name, rights, repositories=repositories)
        services.run(services.hub.personal_tokens.create(ann, new))

    rights = services.run(services.hub.credentials.by_token(old)).rights
    assert rights == {Right.READ, Right.WRITE, Right.BUILDS, Right.ADMIN}
    assert services.run(columns()) == {
        "old": "repo:read repo:write",
        "all": "repo:read repo:write repo:delete account",
        "push": "repo:read",
        "web": "",
    }
    services.run(add_future_word())
    assert services.run(services.hub.credentials.by_token(old)).rights == {Right.READ}


def test_robots_of_an_organization(services: Services, ann: HubActor, ben: HubActor) -> None:
    """Its owners manage them, and a robot pushes as the organization."""
    services.run(services.hub.organizations.create(ann, NewOrganization("acme")))
    secret, _ = services.run(services.hub.robots.create(ann, "acme", NewRobot("ci", PUSH)))
    actor = services.run(services.hub.credentials.by_header(basic("acme+ci", secret)))

    services.push(actor, "acme/web")

    assert services.run(services.hub.repositories.get(ann, "acme/web")).namespace == "acme"
    with pytest.raises((NotFound, Refused)):
        services.run(services.hub.robots.list(ben, "acme"))
