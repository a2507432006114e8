"""Guesses at one account from many addresses wait; its owner does not, where they signed in from before."""

import asyncio

import pytest
from sqlalchemy import text
from tests.unit.hub.services import PASSWORD, Services

from hythe.hub.accounts.users import NewUser
from hythe.hub.actor import ANONYMOUS, HubActor, Right
from hythe.hub.errors import SignInNeeded, TooManyAttempts
from hythe.hub.sign_in.account_throttle import FREE_FAILURES, MAX_DELAY
from hythe.hub.sign_in.login_throttle import MAX_FAILURES
from hythe.hub.tokens.personal_tokens import NewPersonalToken


def guess(services: Services, number: int, name: str = "ann") -> type[Exception]:
    """Try a wrong password from another address each time; return the kind of error."""
    with pytest.raises((SignInNeeded, TooManyAttempts)) as caught:
        services.run(
            services.hub.credentials.by_password(name, f"wrong {number}", f"10.1.{number // 250}.{number % 250}")
        )
    return caught.type


def test_guesses_from_many_addresses_wait(services: Services, ann: HubActor) -> None:
    """600 guesses from 600 addresses in a minute: nearly all of them are refused without a check."""
    kinds = []
    for number in range(600):
        kinds.append(guess(services, number))
        services.clock.forward(seconds=0.1)

    checked = kinds.count(SignInNeeded)
    assert FREE_FAILURES <= checked <= FREE_FAILURES + 7


def test_the_delay_doubles_up_to_a_limit(services: Services, ann: HubActor) -> None:
    """Each further guess waits twice as long, at most ``MAX_DELAY``."""
    for number in range(FREE_FAILURES):
        guess(services, number)
    waits = []
    for number in range(12):
        with pytest.raises(TooManyAttempts) as caught:
            services.run(services.hub.credentials.by_password("ann", "wrong", f"10.2.0.{number}"))
        waits.append(caught.value.retry_after)
        services.clock.forward(seconds=waits[-1])
        assert guess(services, 1000 + number) is SignInNeeded

    assert waits[:9] == [1, 2, 4, 8, 16, 32, 64, 128, 256]
    assert set(waits[9:]) == {MAX_DELAY.total_seconds()}


def test_concurrent_guesses_count(services: Services, ann: HubActor) -> None:
    """200 guesses from as many addresses at once are not checked before any of them counts."""

    async def scenario() -> list[object]:
        tried = (
            services.hub.credentials.by_password("ann", f"wrong {number}", f"10.3.0.{number}") for number in range(200)
        )
        return await asyncio.gather(*tried, return_exceptions=True)

    checked = [each for each in services.run(scenario()) if isinstance(each, SignInNeeded)]

    assert len(checked) <= FREE_FAILURES + 1


def test_the_owner_is_not_locked_out(services: Services, ann: HubActor) -> None:
    """From a network that the account used before, and with a personal token, nothing waits."""
    secret, _ = services.run(services.hub.personal_tokens.create(ann, NewPersonalToken("ci", (Right.READ,))))
    for address in ("192.0.2.1", "2001:db8:1:2::5"):
        services.run(services.hub.credentials.by_password("ann", PASSWORD, address))
    for number in range(3 * FREE_FAILURES):
        guess(services, number)

    known = ("192.0.2.1", "::ffff:192.0.2.1", "2001:db8:1:2:ffff::9")
    for address in known:
        assert services.run(services.hub.credentials.by_password("ann", PASSWORD, address)).name == "ann"
    assert services.run(services.hub.credentials.by_password("ann", secret, "203.0.113.9")).name == "ann"
    with pytest.raises(TooManyAttempts, match="network that you signed in from before"):
        services.run(services.hub.credentials.by_password("ann", PASSWORD, "2001:db8:1:3::5"))


def test_all_addresses_of_one_network_share_a_budget(services: Services, ann: HubActor) -> None:
    """An attacker with a /64 network has one address, not 2**64."""
    for number in range(MAX_FAILURES):
        with pytest.raises(SignInNeeded):
            services.run(services.hub.credentials.by_password("ann", "wrong", f"2001:db8::{number:x}"))

    with pytest.raises(TooManyAttempts):
        services.run(services.hub.credentials.by_password("ann", "wrong", "2001:db8::ffff:1"))


def test_names_that_do_not_exist_wait_just_the_same(services: Services, ann: HubActor) -> None:
    """The delay does not tell whether an account exists."""
    kinds = {name: [guess(services, number, name) for number in range(40)] for name in ("ann", "ghost", "No Name!")}

    assert kinds["ghost"] == kinds["No Name!"] == kinds["ann"]


def test_many_names_do_not_fill_the_table(services: Services) -> None:
    """Names share a fixed number of rows: more names than buckets cannot make more rows than buckets."""
    for number in range(50):
        guess(services, number, f"name-{number}")

    async def rows() -> list[int]:
        async with services.database.reading() as session:
            return [row.bucket for row in await session.rows(text("SELECT bucket FROM sign_in_failures"))]

    buckets = services.run(rows())
    assert len(buckets) <= 50
    assert all(0 <= bucket < 65536 for bucket in buckets)


def test_a_right_password_takes_its_own_guess_back(services: Services, ann: HubActor) -> None:
    """Signing in from ever new addresses does not count as guessing, and does not clear what others guessed."""
    for number in range(FREE_FAILURES - 1):
        guess(services, number)
    for number in range(30):
        services.run(services.hub.credentials.by_password("ann", PASSWORD, f"198.51.100.{number}"))

    assert guess(services, 500) is SignInNeeded
    assert guess(services, 501) is TooManyAttempts


def test_few_networks_are_remembered(services: Services, ann: HubActor) -> None:
    """An account remembers its last networks, not every one."""
    for number in range(30):
        services.run(services.hub.credentials.by_password("ann", PASSWORD, f"198.51.100.{number}"))
        services.clock.forward(seconds=1)

    async def count() -> int:
        async with services.database.reading() as session:
            row = await session.row(text("SELECT count(*) FROM known_networks"))
            return int(row[0]) if row else 0

    assert services.run(count()) == 20


def test_guesses_at_a_future_name_do_not_slow_its_owner(services: Services) -> None:
    """Who signs up can sign in right away, on the network of the sign-up."""
    for number in range(2 * FREE_FAILURES):
        guess(services, number, "newcomer")
    new = NewUser("newcomer", "newcomer@example.com", PASSWORD)
    services.run(services.hub.users.create(ANONYMOUS, new, "192.0.2.1"))

    assert services.run(services.hub.sessions.sign_in("newcomer", PASSWORD, "192.0.2.1")).actor.name == "newcomer"
