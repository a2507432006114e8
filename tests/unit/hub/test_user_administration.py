"""Administrators block, unblock and delete accounts: what ends, what stays, and whom it cannot happen to."""

import asyncio

import pytest
from tests.unit.hub.services import PASSWORD, Services

from hythe.hub.accounts import user_administration
from hythe.hub.accounts.user import Visibility
from hythe.hub.accounts.user_administration import described
from hythe.hub.accounts.users import NewUser
from hythe.hub.actor import ANONYMOUS, HubActor, Right
from hythe.hub.errors import AccountBlocked, Invalid, NotFound, Refused, SignInNeeded, Taken
from hythe.hub.repositories.repositories import NewRepository
from hythe.hub.sql import user_administration as store
from hythe.hub.tokens.personal_tokens import NewPersonalToken
from hythe.hub.tokens.tokens import TokenRequest
from hythe.oci.errors import ErrorCode, WireError
from hythe.oci.scope import Scope
from hythe.registry.access import Action

OPERATOR = HubActor.operator()


def access_token(services: Services, actor: HubActor, scope: Scope) -> HubActor:
    """Return the actor of an access token that the actor got."""
    reply = services.run(services.hub.tokens.issue(actor, TokenRequest("hub", (scope,))))
    found: HubActor = services.run(services.hub.access.authenticate(f"Bearer {reply.token}"))
    return found


def test_a_blocked_account_cannot_do_anything(services: Services, ann: HubActor) -> None:
    """Password, personal token, session, refresh token and access token stop at once, with the same words."""
    secret, _ = services.run(services.hub.personal_tokens.create(ann, NewPersonalToken("ci", tuple(Right))))
    session = services.run(services.hub.sessions.sign_in("ann", PASSWORD, "here"))
    refresh = services.run(services.hub.tokens.issue(ann, TokenRequest(offline=True))).refresh_token
    scope = Scope.repository("ann/app", "pull", "push")
    opened = access_token(services, ann, scope)
    services.run(services.hub.access.require(opened, "ann/app", Action.PUSH))

    assert services.run(services.hub.administration.block(OPERATOR, "ann")).blocked

    credentials = services.hub.credentials
    for call in (credentials.by_password("ann", PASSWORD), credentials.by_token(secret)):
        with pytest.raises(AccountBlocked, match="the account ann is blocked: ask an administrator"):
            services.run(call)
    assert services.run(services.hub.sessions.actor(session.token)) == ANONYMOUS
    with pytest.raises(SignInNeeded):
        services.run(services.hub.tokens.renew(refresh, TokenRequest()))
    for check in (services.hub.access.require(opened, "ann/app", Action.PUSH), services.hub.access.enter(opened)):
        with pytest.raises(WireError, match="blocked") as caught:
            services.run(check)
        assert caught.value.code is ErrorCode.DENIED
    with pytest.raises(AccountBlocked):
        services.run(credentials.require_current(opened))


def test_a_wrong_password_does_not_tell_that_an_account_is_blocked(services: Services, ann: HubActor) -> None:
    """Only who has the credentials learns of it."""
    services.run(services.hub.administration.block(OPERATOR, "ann"))

    with pytest.raises(SignInNeeded, match="incorrect"):
        services.run(services.hub.credentials.by_password("ann", "wrong"))


def test_public_repositories_of_a_blocked_account_stay_readable(services: Services, ann: HubActor) -> None:
    """Others pull its public images; its private ones are open to nobody."""
    services.push(ann, "ann/app")
    services.run(services.hub.repositories.create(ann, NewRepository("ann", "secret", Visibility.PRIVATE)))

    services.run(services.hub.administration.block(OPERATOR, "ann"))

    services.run(services.hub.access.require(ANONYMOUS, "ann/app", Action.PULL))
    assert services.run(services.hub.repositories.get(ANONYMOUS, "ann/app")).name == "app"
    with pytest.raises(NotFound):
        services.run(services.hub.repositories.get(ANONYMOUS, "ann/secret"))


def test_unblocking_does_not_revive_old_sessions(services: Services, ann: HubActor) -> None:
    """Password and personal tokens work again; sessions, logins and access tokens from before do not."""
    secret, _ = services.run(services.hub.personal_tokens.create(ann, NewPersonalToken("ci", (Right.READ,))))
    session = services.run(services.hub.sessions.sign_in("ann", PASSWORD, "here"))
    opened = access_token(services, ann, Scope.repository("ann/app", "pull", "push"))

    services.run(services.hub.administration.block(OPERATOR, "ann"))
    assert not services.run(services.hub.administration.unblock(OPERATOR, "ann")).blocked

    assert services.run(services.hub.credentials.by_password("ann", PASSWORD)).name == "ann"
    assert services.run(services.hub.credentials.by_token(secret)).name == "ann"
    assert services.run(services.hub.sessions.actor(session.token)) == ANONYMOUS
    with pytest.raises(WireError) as caught:
        services.run(services.hub.access.require(opened, "ann/app", Action.PUSH))
    assert caught.value.code is ErrorCode.UNAUTHORIZED


def test_who_can_block_whom(services: Services, ann: HubActor, ben: HubActor, curator: HubActor) -> None:
    """Only administrators, nobody themselves, and never the last administrator that is not blocked."""
    administration = services.hub.administration
    with pytest.raises(Refused, match="only administrators"):
        services.run(administration.block(ben, "ann"))
    with pytest.raises(Refused, match="your own"):
        services.run(administration.block(curator, "curator"))
    with pytest.raises(Refused, match="last administrator"):
        services.run(administration.block(OPERATOR, "curator"))
    with pytest.raises(Refused, match="last administrator"):
        services.run(administration.delete(OPERATOR, "curator", "curator"))
    second = services.user("second", admin=True)
    services.run(administration.block(second, "curator"))
    with pytest.raises(Refused, match="last administrator"):
        services.run(administration.block(OPERATOR, "second"))
    with pytest.raises(NotFound):
        services.run(administration.block(OPERATOR, "nobody-there"))
    limited = HubActor("second", user_id=second.user_id, admin=True, rights=frozenset({Right.READ}))
    with pytest.raises(Refused):
        services.run(administration.block(limited, "ann"))


def test_deleting_needs_the_name_and_says_what_goes(services: Services, ann: HubActor, curator: HubActor) -> None:
    """A wrong confirmation deletes nothing and counts what would go."""
    services.push(ann, "ann/app")
    services.push(ann, "ann/app", "second")
    services.run(services.hub.personal_tokens.create(ann, NewPersonalToken("ci", (Right.READ,))))

    for confirmation in ("", "Ann", "ben"):
        with pytest.raises(Invalid, match=r"must be ann: this deletes 1 repository with 2 tags \(.*1 personal token"):
            services.run(services.hub.administration.delete(curator, "ann", confirmation))

    assert services.run(services.hub.repositories.get(ann, "ann/app")).name == "app"
    assert not services.run(services.hub.users.get(curator, "ann")).blocked


def test_a_deleted_account_leaves_nothing_but_its_name(services: Services, ann: HubActor, curator: HubActor) -> None:
    """Repositories, tokens and the account go; strangers cannot take the name, but an administrator can give it."""
    services.push(ann, "ann/app")
    services.push(ann, "ann/deep/er", content=b'{"os":"plan9"}')
    opened = access_token(services, ann, Scope.repository("ann/app", "pull", "push"))
    secret, _ = services.run(services.hub.personal_tokens.create(ann, NewPersonalToken("ci", tuple(Right))))

    done = services.run(services.hub.administration.delete(curator, "ann", "ann"))

    assert (done.deleted.repositories, done.deleted.tags, done.deleted.personal_tokens) == (2, 2, 1)
    assert done.deleted.bytes > 0
    assert done.remaining == ()
    for name in ("ann/app", "ann/deep/er"):
        with pytest.raises(NotFound):
            services.run(services.hub.repositories.get(curator, name))
    with pytest.raises(WireError):
        services.run(services.hub.access.require(opened, "ann/app", Action.PUSH))
    with pytest.raises(SignInNeeded):
        services.run(services.hub.credentials.by_token(secret))
    stranger = NewUser("ann", "stranger@example.com", PASSWORD)
    with pytest.raises(Taken) as caught:
        services.run(services.hub.users.create(ANONYMOUS, stranger))
    assert caught.value.fields == {"username": "is taken"}
    services.run(services.hub.users.create(curator, stranger))
    # The new account may have the row id of the old one: a token of the old one opens nothing.
    with pytest.raises(WireError):
        services.run(services.hub.access.require(opened, "ann/app", Action.PUSH))


def test_a_blocked_account_can_be_deleted(services: Services, ann: HubActor, curator: HubActor) -> None:
    """Blocking is no obstacle, and no condition."""
    services.push(ann, "ann/app")
    services.run(services.hub.administration.block(curator, "ann"))

    services.run(services.hub.administration.delete(curator, "ann", "ann"))

    with pytest.raises(NotFound):
        services.run(services.hub.users.get(curator, "ann"))


def test_a_large_account_is_gone_at_once(
    services: Services, ann: HubActor, curator: HubActor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The account and its repositories are gone when the request returns; any server deletes what is left."""
    monkeypatch.setattr(user_administration, "REPLY_TIME", 0)
    monkeypatch.setattr(store, "REPOSITORIES_AT_ONCE", 2)
    names = [f"ann/app{number}" for number in range(5)]
    for name in names:
        services.push(ann, name)

    done = services.run(services.hub.administration.delete(curator, "ann", "ann"))

    async def left() -> tuple[str, ...]:
        async with services.database.reading() as session:
            return await store.some_repository_names(session, "ann")

    assert done.deleted.repositories == 5
    assert services.run(left())
    for name in names:
        with pytest.raises(WireError):
            services.run(services.hub.access.require(ANONYMOUS, name, Action.PULL))
        with pytest.raises(NotFound):
            services.run(services.hub.repositories.get(curator, name))
    for call in (services.hub.users.get(curator, "ann"), services.hub.administration.delete(curator, "ann", "ann")):
        with pytest.raises(NotFound):
            services.run(call)
    with pytest.raises(Taken):
        services.run(services.hub.users.create(OPERATOR, NewUser("ann", "new@example.com", PASSWORD)))
    with pytest.raises((AccountBlocked, SignInNeeded)):
        services.run(services.hub.credentials.by_password("ann", PASSWORD))

    services.run(_run_for_a_while(services))

    assert not services.run(left())
    services.run(services.hub.users.create(OPERATOR, NewUser("ann", "new@example.com", PASSWORD)))


async def _run_for_a_while(services: Services) -> None:
    """Let a server do its background work until no deleted account is left."""
    running = asyncio.create_task(services.hub.administration.run())
    async with asyncio.timeout(20):
        while True:
            async with services.database.reading() as session:
                if not await store.deleted_users(session):
                    break
            await asyncio.sleep(0.01)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


def test_what_an_account_has_in_words(services: Services, ann: HubActor, curator: HubActor) -> None:
    """Counts are in plain English."""
    contents = services.run(services.hub.administration.contents(curator, "ann"))

    assert described(contents) == (
        "0 repositories with 0 tags (0 bytes), 0 builds, 0 webhooks, 0 personal tokens and 0 linked accounts"
    )
    with pytest.raises(Refused):
        services.run(services.hub.administration.contents(ann, "ann"))
