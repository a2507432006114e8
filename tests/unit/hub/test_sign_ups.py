"""How many accounts one network can create in a day."""

import asyncio

import pytest
from sqlalchemy import text
from tests.unit.hub.services import PASSWORD, Services

from hythe.hub.accounts.users import NewUser
from hythe.hub.actor import ANONYMOUS, HubActor
from hythe.hub.errors import Taken, TooManyAttempts
from hythe.settings import Settings

LIMIT = 10


def new(name: str) -> NewUser:
    """Return a sign-up."""
    return NewUser(name, f"{name}@example.com", PASSWORD)


def sign_up(services: Services, name: str, address: str) -> None:
    """Sign up as a stranger."""
    services.run(services.hub.users.create(ANONYMOUS, new(name), address))


def fill(services: Services, address: str, prefix: str = "user") -> None:
    """Create as many accounts as one network may."""
    for number in range(LIMIT):
        sign_up(services, f"{prefix}-{number}", address)


@pytest.mark.parametrize(
    ("first", "again"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("192.0.2.1", "::ffff:192.0.2.1"),
        ("2001:db8:5:6::1", "2001:db8:5:6:ffff:ffff:ffff:ffff"),
        ("fe80::1%eth0", "fe80::2%eth1"),
    ],
)
def test_one_network_creates_a_few_accounts(services: Services, first: str, again: str) -> None:
    """The next sign-up from the network waits until the day is over; other networks do not."""
    fill(services, first)

    with pytest.raises(TooManyAttempts, match="10 accounts were created from your network today") as caught:
        sign_up(services, "late", again)

    assert 86390 < caught.value.retry_after <= 86400
    sign_up(services, "other", "2001:db8:5:7::1")
    services.clock.forward(seconds=caught.value.retry_after)
    sign_up(services, "late", again)


def test_concurrent_sign_ups_count(services: Services) -> None:
    """Fifty sign-ups at once create no more accounts than fifty one after the other."""

    async def scenario() -> list[object]:
        tried = (services.hub.users.create(ANONYMOUS, new(f"user-{number}"), "192.0.2.1") for number in range(50))
        return await asyncio.gather(*tried, return_exceptions=True)

    refused = [each for each in services.run(scenario()) if isinstance(each, TooManyAttempts)]

    assert len(refused) == 50 - LIMIT


def test_refused_sign_ups_count_nothing(services: Services) -> None:
    """A taken name uses up nothing, and a network that only fails has no row."""
    sign_up(services, "ann", "192.0.2.1")
    for _ in range(2 * LIMIT):
        with pytest.raises(Taken):
            sign_up(services, "ann", "192.0.2.2")
    fill(services, "192.0.2.2")


def test_administrators_are_not_limited(services: Services, curator: HubActor) -> None:
    """An administrator creates any number of accounts, from any network."""
    for number in range(2 * LIMIT):
        services.run(services.hub.users.create(curator, new(f"made-{number}"), "192.0.2.1"))
    sign_up(services, "stranger", "192.0.2.1")


def test_old_counts_are_deleted(services: Services) -> None:
    """The table has only the networks of the last day."""
    for number in range(5):
        sign_up(services, f"user-{number}", f"192.0.2.{number}")
    services.clock.forward(days=1)
    sign_up(services, "next", "198.51.100.1")

    async def networks() -> list[str]:
        async with services.database.reading() as session:
            return [row.network for row in await session.rows(text("SELECT network FROM sign_ups"))]

    assert services.run(networks()) == ["198.51.100.1"]


class TestWithoutLimit:
    """With the setting 0 there is no limit."""

    @pytest.fixture
    def settings(self, tmp_path: object, database_url: str) -> Settings:
        """The settings of a hub without the limit."""
        return Settings(data=str(tmp_path), database_url=database_url, sign_ups_per_address=0)

    def test_any_number(self, services: Services) -> None:
        """One network creates any number of accounts."""
        for number in range(2 * LIMIT):
            sign_up(services, f"user-{number}", "192.0.2.1")
