"""Authentication: passwords, personal access tokens, access tokens, sessions, and too many failures."""

import asyncio
import base64
from datetime import timedelta

import pytest
from sqlalchemy import update
from tests.unit.hub.services import PASSWORD, Services

from hythe.database.tables.hub import personal_tokens
from hythe.hub.actor import ANONYMOUS, HubActor, Right
from hythe.hub.errors import Invalid, NotFound, SignInNeeded, TooManyAttempts
from hythe.hub.sign_in.login_throttle import MAX_FAILURES, WAIT
from hythe.hub.sign_in.passwords import Passwords
from hythe.hub.tokens.access_token import claims_for
from hythe.hub.tokens.personal_tokens import NewPersonalToken
from hythe.hub.tokens.tokens import REFRESH_LIFETIME, TokenRequest
from hythe.oci.errors import ErrorCode, WireError
from hythe.oci.scope import CATALOG, Scope
from hythe.registry.access import Action


def basic(name: str, password: str) -> str:
    """Return the Basic header for a name and password."""
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


def test_no_header_is_nobody(services: Services) -> None:
    """A request without credentials is anonymous."""
    assert services.run(services.hub.credentials.by_header(None)) == ANONYMOUS


def test_basic(services: Services, ann: HubActor) -> None:
    """A correct password authenticates the account; passwords may contain colons."""
    services.run(services.hub.users.set_password(HubActor.operator(), "ann", "with:colons:äöü"))

    assert services.run(services.hub.credentials.by_header(basic("ann", "with:colons:äöü"))).name == "ann"


WRONG = (
    basic("ann", "wrong"),
    basic("ghost", PASSWORD),
    basic("ann", ""),
    basic("a\0n", PASSWORD),
    basic("ann", "hythe_forged"),
    "Basic !!!",
    "Basic " + base64.b64encode(b"no colon").decode(),
    "Basic " + base64.b64encode(b"\xff\xfe:x").decode(),
    "Bearer x",
    "Bearer hythe_forged",
    "Bearer a.b.c",
    "Bearer eyJhbGciOiJub25lIn0.e30.",
    "Digest x",
    "",
)


def test_wrong_credentials(services: Services, ann: HubActor) -> None:
    """Invalid headers are refused without a server error."""
    for number, header in enumerate(WRONG):
        with pytest.raises(SignInNeeded):
            services.run(services.hub.credentials.by_header(header, f"10.0.0.{number}"))


def test_a_personal_token_is_password_and_bearer(services: Services, ann: HubActor, ben: HubActor) -> None:
    """A token authenticates its owner by Basic and Bearer, with its own rights, and not under another name."""
    secret, token = services.run(services.hub.personal_tokens.create(ann, NewPersonalToken("ci", (Right.READ,))))

    by_basic = services.run(services.hub.credentials.by_header(basic("ann", secret)))
    by_bearer = services.run(services.hub.credentials.by_header(f"Bearer {secret}"))

    assert secret.startswith("hythe_")
    assert by_basic == by_bearer
    assert (by_basic.name, by_basic.rights) == ("ann", frozenset({Right.READ}))
    with pytest.raises(SignInNeeded):
        services.run(services.hub.credentials.by_header(basic("ben", secret)))
    assert services.run(services.hub.personal_tokens.list(ann))[0].used_at == services.clock.now
    assert token.used_at is None


def test_a_personal_token_ends(services: Services, ann: HubActor) -> None:
    """A token ends on its expiry, or when it is revoked."""
    short, _ = services.run(services.hub.personal_tokens.create(ann, NewPersonalToken("a", (Right.READ,), 1)))
    taken, token = services.run(services.hub.personal_tokens.create(ann, NewPersonalToken("b", (Right.READ,))))
    services.run(services.hub.credentials.by_token(short))
    services.clock.forward(days=1, seconds=1)
    services.run(services.hub.personal_tokens.delete(ann, token.id))

    for secret in (short, taken):
        with pytest.raises(SignInNeeded):
            services.run(services.hub.credentials.by_token(secret))


def test_tokens_of_others_are_out_of_reach(services: Services, ann: HubActor, ben: HubActor) -> None:
    """Users cannot list or revoke the tokens of others."""
    _, token = services.run(services.hub.personal_tokens.create(ann, NewPersonalToken("a", (Right.READ,))))

    assert services.run(services.hub.personal_tokens.list(ben)) == ()
    with pytest.raises(NotFound):
        services.run(services.hub.personal_tokens.delete(ben, token.id))


@pytest.mark.parametrize(("name", "rights"), [("ci", ()), (" ", (Right.READ,))])
def test_personal_tokens_that_make_no_sense(
    services: Services, ann: HubActor, name: str, rights: tuple[Right, ...]
) -> None:
    """A token needs a name and at least one right."""
    with pytest.raises(Invalid):
        services.run(services.hub.personal_tokens.create(ann, NewPersonalToken(name, rights)))


def test_an_access_token_opens_what_it_names(services: Services, ann: HubActor) -> None:
    """An access token authenticates its account, limited to the granted scopes, until it expires."""
    request = TokenRequest("hub", (Scope.repository("ann/app", "pull"),))
    reply = services.run(services.hub.tokens.issue(ann, request))

    actor = services.run(services.hub.credentials.by_token(reply.token))

    assert (actor.name, actor.user_id) == ("ann", ann.user_id)
    assert actor.granted == request.scopes
    services.clock.forward(seconds=reply.expires_in)
    with pytest.raises(SignInNeeded):
        services.run(services.hub.credentials.by_token(reply.token))


def test_keys_rotate(services: Services, ann: HubActor) -> None:
    """After a rotation old tokens stay valid; other servers learn the new key; a changed token is refused."""
    old = services.run(services.hub.tokens.issue(ann, TokenRequest()))
    services.run(services.hub.keys.rotate())
    new = services.run(services.hub.tokens.issue(ann, TokenRequest()))

    for reply in (old, new):
        assert services.run(services.hub.credentials.by_token(reply.token)).name == "ann"
    head, claims, signature = new.token.split(".")
    with pytest.raises(SignInNeeded):
        services.run(services.hub.credentials.by_token(f"{head}.{claims[:-4]}AAAA.{signature}"))


def test_refresh_tokens(services: Services, ann: HubActor) -> None:
    """A refresh token replaces the password; anonymous clients get none."""
    reply = services.run(services.hub.tokens.issue(ann, TokenRequest(offline=True)))

    renewed = services.run(services.hub.tokens.renew(reply.refresh_token, TokenRequest()))

    assert renewed.refresh_token == reply.refresh_token
    assert services.run(services.hub.credentials.by_token(renewed.token)).name == "ann"
    assert services.run(services.hub.tokens.issue(ANONYMOUS, TokenRequest(offline=True))).refresh_token == ""
    with pytest.raises(SignInNeeded):
        services.run(services.hub.tokens.renew("forged", TokenRequest()))


def opened(services: Services, actor: HubActor) -> HubActor:
    """Return the actor of an access token of the registry that the actor got."""
    request = TokenRequest("hub", (Scope.repository("ann/app", "pull", "push", "delete"),))
    reply = services.run(services.hub.tokens.issue(actor, request))
    found: HubActor = services.run(services.hub.access.authenticate(f"Bearer {reply.token}"))
    return found


def reachable(services: Services, actor: HubActor) -> list[str]:
    """Return what an access token allows now; ``unauthorized`` if it ended."""
    allowed = []
    for action in Action:
        try:
            services.run(services.hub.access.require(actor, "ann/app", action))
            allowed.append(action.value)
        except WireError as error:
            if error.code is ErrorCode.UNAUTHORIZED and error.message != ErrorCode.UNAUTHORIZED.message:
                return ["unauthorized"]
    return allowed


def test_an_access_token_ends_with_its_personal_token(services: Services, ann: HubActor) -> None:
    """Revoking a personal token ends its access tokens at once, through a refresh token, too, and no others."""
    made = [services.run(services.hub.personal_tokens.create(ann, NewPersonalToken("ci", tuple(Right)))) for _ in "12"]
    first, second = (services.run(services.hub.credentials.by_token(secret)) for secret, _ in made)
    refresh = services.run(services.hub.tokens.issue(second, TokenRequest(offline=True))).refresh_token
    of_login = services.run(services.hub.credentials.by_refresh_token(refresh))
    tokens = [opened(services, each) for each in (ann, first, second, of_login)]
    assert [reachable(services, each) for each in tokens] == [["pull", "push", "delete"]] * 4

    services.run(services.hub.personal_tokens.delete(ann, made[1][1].id))

    kept, ended = ["pull", "push", "delete"], ["unauthorized"]
    assert [reachable(services, each) for each in tokens] == [kept, kept, ended, ended]
    # SQLite gives the row id of the deleted token to the next one, which must not revive the access token.
    services.run(services.hub.personal_tokens.create(ann, NewPersonalToken("new", tuple(Right))))
    assert reachable(services, tokens[2]) == ended


def test_an_access_token_outlives_no_expiry(services: Services, ann: HubActor) -> None:
    """It ends when its personal token expires, even if that comes sooner than when it was issued."""
    secret, token = services.run(services.hub.personal_tokens.create(ann, NewPersonalToken("ci", tuple(Right), 30)))
    access = opened(services, services.run(services.hub.credentials.by_token(secret)))
    soon = services.clock.now + timedelta(seconds=60)

    async def shorten() -> None:
        async with services.database.writing() as session:
            await session.run(update(personal_tokens).where(personal_tokens.c.id == token.id).values(expires_at=soon))

    services.run(shorten())
    assert reachable(services, access) == ["pull", "push", "delete"]
    services.clock.forward(seconds=61)

    assert reachable(services, access) == ["unauthorized"]


def test_an_access_token_has_no_more_rights_than_its_personal_token(services: Services, ann: HubActor) -> None:
    """If the rights of a personal token were lowered, the access token loses them."""
    secret, token = services.run(services.hub.personal_tokens.create(ann, NewPersonalToken("ci", tuple(Right))))
    access = opened(services, services.run(services.hub.credentials.by_token(secret)))

    async def lower() -> None:
        async with services.database.writing() as session:
            own = personal_tokens.c.id == token.id
            await session.run(update(personal_tokens).where(own).values(permissions=Right.READ.value))

    services.run(lower())

    assert reachable(services, access) == ["pull"]


def test_a_new_password_ends_access_tokens(services: Services, ann: HubActor) -> None:
    """Access tokens of a password end with it; those of a personal token do, too: the account may be stolen."""
    secret, _ = services.run(services.hub.personal_tokens.create(ann, NewPersonalToken("ci", tuple(Right))))
    tokens = [opened(services, each) for each in (ann, services.run(services.hub.credentials.by_token(secret)))]

    services.run(services.hub.users.set_password(ann, "ann", "battery staple", PASSWORD))

    assert [reachable(services, each) for each in tokens] == [["unauthorized"]] * 2
    with pytest.raises(WireError):
        services.run(services.hub.access.enter(tokens[0]))
    again = services.run(services.hub.credentials.by_token(secret))
    assert reachable(services, opened(services, again)) == ["pull", "push", "delete"]


def test_an_ended_access_token_lists_nothing(services: Services, ann: HubActor) -> None:
    """The catalog, search and the JSON API refuse it like the rest of the registry does."""
    reply = services.run(services.hub.tokens.issue(ann, TokenRequest("hub", (CATALOG,))))
    header = f"Bearer {reply.token}"
    services.run(services.hub.credentials.by_header(header))

    services.run(services.hub.users.set_password(ann, "ann", "battery staple", PASSWORD))

    with pytest.raises(SignInNeeded):
        services.run(services.hub.credentials.by_header(header))
    with pytest.raises(WireError):
        services.run(services.hub.access.enter(services.run(services.hub.access.authenticate(header))))


def test_an_access_token_gets_no_other(services: Services, ann: HubActor) -> None:
    """An access token cannot renew itself at the token server, not even an anonymous one."""
    request = TokenRequest(scopes=(Scope.repository("ann/app", "pull"),))
    for actor in (ann, ANONYMOUS):
        reply = services.run(services.hub.tokens.issue(actor, request))
        holder = services.run(services.hub.credentials.by_token(reply.token))

        with pytest.raises(SignInNeeded):
            services.run(services.hub.tokens.issue(holder, request))


def test_a_refresh_token_ends(services: Services, ann: HubActor) -> None:
    """A login ends after its lifetime."""
    reply = services.run(services.hub.tokens.issue(ann, TokenRequest(offline=True)))

    services.clock.forward(seconds=REFRESH_LIFETIME.total_seconds() - 1)
    services.run(services.hub.tokens.renew(reply.refresh_token, TokenRequest()))
    services.clock.forward(seconds=1)
    with pytest.raises(SignInNeeded):
        services.run(services.hub.tokens.renew(reply.refresh_token, TokenRequest()))


def test_a_refresh_token_is_no_stronger_than_what_it_came_from(services: Services, ann: HubActor) -> None:
    """A login with a read-only personal access token gets no push, and ends when that token is revoked."""
    secret, token = services.run(services.hub.personal_tokens.create(ann, NewPersonalToken("ci", (Right.READ,))))
    limited = services.run(services.hub.credentials.by_token(secret))
    reply = services.run(services.hub.tokens.issue(limited, TokenRequest(offline=True)))
    request = TokenRequest(scopes=(Scope.repository("ann/app", "pull", "push"),))

    renewed = services.run(services.hub.tokens.renew(reply.refresh_token, request))

    assert renewed.scope == "repository:ann/app:pull"
    services.run(services.hub.personal_tokens.delete(ann, token.id))
    with pytest.raises(SignInNeeded):
        services.run(services.hub.tokens.renew(reply.refresh_token, request))


def test_sessions(services: Services, ann: HubActor) -> None:
    """A session authenticates its account until sign-out or expiry."""
    first = services.run(services.hub.sessions.sign_in("ann", PASSWORD, "here"))
    second = services.run(services.hub.sessions.sign_in("ann", PASSWORD, "here"))

    assert services.run(services.hub.sessions.actor(first.token)).name == "ann"
    services.run(services.hub.sessions.sign_out(first.token, ""))
    assert services.run(services.hub.sessions.actor(first.token)) == ANONYMOUS
    assert services.run(services.hub.sessions.actor(second.token)).name == "ann"
    services.clock.forward(days=14, seconds=1)
    assert services.run(services.hub.sessions.actor(second.token)) == ANONYMOUS
    assert services.run(services.hub.sessions.actor("forged")) == ANONYMOUS


def test_personal_tokens_do_not_sign_in_to_pages(services: Services, ann: HubActor) -> None:
    """A token with few rights cannot become a session with all rights."""
    secret, _ = services.run(services.hub.personal_tokens.create(ann, NewPersonalToken("ci", (Right.READ,))))

    with pytest.raises(SignInNeeded):
        services.run(services.hub.sessions.sign_in("ann", secret, "here"))


def test_too_many_wrong_passwords(services: Services, ann: HubActor) -> None:
    """After some failures from one address even the correct password waits; other addresses do not."""
    for _ in range(MAX_FAILURES):
        with pytest.raises(SignInNeeded):
            services.run(services.hub.credentials.by_password("ann", "wrong", "10.0.0.1"))

    with pytest.raises(TooManyAttempts) as caught:
        services.run(services.hub.credentials.by_password("ann", PASSWORD, "10.0.0.1"))

    assert 0 < caught.value.retry_after <= WAIT.total_seconds()
    assert services.run(services.hub.credentials.by_password("ann", PASSWORD, "10.0.0.2")).name == "ann"


def test_many_guesses_at_once(services: Services, ann: HubActor) -> None:
    """Concurrent guesses count, too: the correct password among the last ones is refused."""

    async def scenario() -> list[object]:
        guesses = [*(f"wrong {number}" for number in range(2 * MAX_FAILURES)), PASSWORD]
        tried = (services.hub.credentials.by_password("ann", guess, "10.0.0.1") for guess in guesses)
        return await asyncio.gather(*tried, return_exceptions=True)

    *_, last = services.run(scenario())

    assert isinstance(last, TooManyAttempts)


def test_a_flood_of_guesses_waits_for_itself(services: Services, ann: HubActor) -> None:
    """A client that sends many guesses at once does not delay others until all are checked."""

    async def scenario() -> int:
        flood = [
            asyncio.create_task(services.hub.credentials.by_password(f"name-{number}", "wrong", "10.0.0.1"))
            for number in range(500)
        ]
        await asyncio.sleep(0)
        await services.hub.credentials.by_password("ann", PASSWORD, "10.0.0.2")
        waiting = sum(not task.done() for task in flood)
        await asyncio.gather(*flood, return_exceptions=True)
        return waiting

    assert services.run(scenario()) > 250


def test_tokens_of_another_issuer_are_refused(services: Services, ann: HubActor) -> None:
    """A token that our key signed for another purpose opens nothing."""
    claims = claims_for(ann, "hub.example", (), services.clock(), 300)
    own, other = (services.hub.keys.sign(claims | {"iss": issuer}) for issuer in ("hythe", "another"))

    assert services.run(services.hub.credentials.by_token(own)).name == "ann"
    with pytest.raises(SignInNeeded):
        services.run(services.hub.credentials.by_token(other))


def test_tokens_hold_what_they_open(services: Services) -> None:
    """The size of a token does not grow with denied scopes."""
    request = TokenRequest(scopes=tuple(Scope.repository(f"{'x' * 3000}/{number}", "pull") for number in range(50)))

    reply = services.run(services.hub.tokens.issue(ANONYMOUS, request))

    assert len(reply.token) < 1000
    assert services.run(services.hub.credentials.by_token(reply.token)).granted == ()


def test_names_of_any_length_are_counted(services: Services) -> None:
    """Failures are stored under a shortened name, so long names cannot fill the memory."""
    for number in range(MAX_FAILURES):
        with pytest.raises(SignInNeeded):
            services.run(services.hub.credentials.by_password("x" * 100_000 + str(number), "wrong", "here"))

    with pytest.raises(TooManyAttempts):
        services.run(services.hub.credentials.by_password("x" * 100_001, "wrong", "here"))


def test_a_password_once_checked_is_remembered_for_its_hash_alone(services: Services) -> None:
    """The cache applies to the same password and hash only: a changed password is verified again."""
    passwords = Passwords()
    first, second = services.run(passwords.hash("one")), services.run(passwords.hash("two"))

    assert first.startswith("$argon2id$")
    for _ in range(2):
        assert services.run(passwords.matches("ann", "one", first))
        assert not services.run(passwords.matches("ann", "one", second))
        assert not services.run(passwords.matches("ann", "two", first))
        assert not services.run(passwords.matches("ann", "one", None))
        assert not services.run(passwords.matches("ann", "one", "damaged"))
    passwords.close()
