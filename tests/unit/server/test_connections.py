"""The limits on connections of one address, and the share of each process."""

import pytest

from hythe.server.connections import Connections, Verdict
from hythe.settings import Settings

SERVE, REFUSE, CLOSE = Verdict.SERVE, Verdict.REFUSE, Verdict.CLOSE


def verdicts(connections: Connections, *addresses: str) -> list[Verdict]:
    """Open a connection of each address."""
    return [connections.open(address)[1] for address in addresses]


@pytest.mark.parametrize(
    ("one", "same", "other"),
    [
        ("192.0.2.1", "192.0.2.1", "192.0.2.2"),
        ("192.0.2.1", "::ffff:192.0.2.1", "::ffff:192.0.2.2"),
        ("2001:db8::1", "2001:db8::ffff:2", "2001:db8:0:1::1"),
    ],
)
def test_an_address_has_its_own_limit(one: str, same: str, other: str) -> None:
    """An IPv4 address, also on a dual-stack socket, or an IPv6 network of a customer."""
    connections = Connections(Settings(connections_per_address=1))

    assert verdicts(connections, one, same, same, other) == [SERVE, REFUSE, CLOSE, SERVE]


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "10.1.2.3", "::ffff:10.1.2.3", ""])
def test_proxies_are_exempt(address: str) -> None:
    """All clients of a proxy come from its address; a proxy on this host need not be named."""
    connections = Connections(Settings(connections_per_address=1, trusted_proxies="10.0.0.0/8"))

    assert verdicts(connections, *[address] * 5) == [SERVE] * 5


def test_connections_that_end_make_room() -> None:
    """Refused ones count as well while they are open."""
    connections = Connections(Settings(connections=2, connections_per_address=0))
    keys = [connections.open("192.0.2.1")[0] for _ in range(3)]

    connections.close(keys[0])
    assert verdicts(connections, "192.0.2.1") == [REFUSE]
    for key in keys[1:]:
        connections.close(key)

    assert verdicts(connections, "192.0.2.9") == [SERVE]


def test_processes_share_a_limit() -> None:
    """Each has its part of both limits, rounded up."""
    connections = Connections(Settings(connections=5, connections_per_address=3), processes=2)

    assert verdicts(connections, *["192.0.2.1"] * 3, "192.0.2.2") == [SERVE, SERVE, REFUSE, REFUSE]


def test_no_limit() -> None:
    """0 is none."""
    connections = Connections(Settings(connections=0, connections_per_address=0))

    assert set(verdicts(connections, *["192.0.2.1"] * 100)) == {SERVE}
