"""Addresses that builds must never reach."""

import pytest

from hythe.worker.isolation.addresses import is_metadata


@pytest.mark.parametrize(
    "address",
    ["169.254.169.254", "169.254.0.1", "100.100.100.200", "168.63.129.16", "::ffff:169.254.169.254", "fe80::1%eth0"],
)
def test_metadata_addresses(address: str) -> None:
    """Each cloud's metadata address is recognized, also when written as IPv6."""
    assert is_metadata(address)


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "192.0.2.1", "100.100.100.201"])
def test_other_addresses(address: str) -> None:
    """Other addresses are not blocked."""
    assert not is_metadata(address)
