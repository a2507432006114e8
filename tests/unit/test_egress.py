"""Hosts that user-supplied URLs can reach."""

from __future__ import annotations

import asyncio

import pytest

from hythe.egress import (
    EgressDenied,
    EgressResolver,
    egress_filter,
    is_metadata_address,
    parse_networks,
    require_allowed,
)
from hythe.settings import SettingsError


def test_metadata_addresses() -> None:
    """Link-local addresses in every notation, and those of some clouds."""
    assert is_metadata_address("169.254.170.2")
    assert is_metadata_address("fe80::1%eth0")
    assert is_metadata_address("::ffff:169.254.169.254")
    assert is_metadata_address("64:ff9b::a9fe:a9fe")
    assert is_metadata_address("2002:a9fe:a9fe::1")
    assert not is_metadata_address("127.0.0.1")


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "10.1.2.3", "192.168.0.1", "172.16.0.1", "100.64.0.1", "::1", "fd00::1", "::ffff:10.0.0.1"]
)
def test_internal_networks_must_be_allowed(address: str) -> None:
    """No internal address by default; those of listed networks, or all with `*`; metadata addresses never."""
    mapped = address.rpartition(":")[2] if address.startswith("::ffff:") else address

    assert egress_filter(parse_networks(""))(address)
    assert not egress_filter(parse_networks(f"203.0.113.0/24 {mapped}"))(address)
    assert not egress_filter(parse_networks("*"))(address)
    assert egress_filter(parse_networks("*"))("169.254.169.254")
    assert not egress_filter(parse_networks(""))("93.184.215.14")


@pytest.mark.parametrize("address", ["64:ff9b::10.1.2.3", "2002:a01:203::", "64:ff9b::7f00:1"])
def test_gateway_addresses_are_judged_by_their_target(address: str) -> None:
    """IPv6 addresses that gateways translate to internal IPv4 ones are refused (RFC 6052, RFC 3056)."""
    assert egress_filter(parse_networks(""))(address)
    assert not egress_filter(parse_networks(""))("64:ff9b::93.184.215.14")


def test_names_are_checked_when_connecting() -> None:
    """The resolver of the connection refuses a name with an internal address."""

    async def resolve() -> None:
        resolver = EgressResolver(egress_filter(()))
        try:
            await resolver.resolve("localhost", 80)
        finally:
            await resolver.close()

    with pytest.raises(EgressDenied):
        asyncio.run(resolve())
    with pytest.raises(EgressDenied):
        require_allowed("127.0.0.1", "127.0.0.1", egress_filter(()))


def test_invalid_networks_are_refused() -> None:
    """The error says what to write."""
    with pytest.raises(SettingsError, match=r"10\.0\.0\.0/8"):
        parse_networks("internal")
