"""What git can reach while the source of a build is fetched."""

from __future__ import annotations

import pytest

from hythe.worker.checkout import source_access
from hythe.worker.errors import BuildFailed
from hythe.worker.isolation.port_forward import ForwardedPort
from hythe.worker.isolation.sandbox import NetworkAccess
from hythe.worker.protocol import BuildLimits, Network

ALL = frozenset(Network)
DEFAULT = BuildLimits()


@pytest.mark.parametrize(
    "url",
    [
        *("http://127.0.0.1:3000/a.git", "http://localhost/a.git", "http://2130706433/a.git", "http://0x7f.1/a.git"),
        *("https://10.0.0.5/a.git", "ssh://git@192.168.1.1/a.git", "git://172.17.0.1/a.git", "http://[::1]/a.git"),
        *("http://169.254.169.254/latest", "http://100.100.100.200/x", "http://127.0.0.1./a.git"),
    ],
)
def test_internal_sources_are_refused(url: str) -> None:
    """No port is forwarded to a source that the operator did not open."""
    with pytest.raises(BuildFailed):
        source_access(url, DEFAULT, ALL)


def test_a_public_source_uses_the_network_of_the_sandbox() -> None:
    """Without a port forward, unless the worker has no slirp4netns."""
    assert source_access("https://93.184.215.14/a.git", DEFAULT, ALL) == NetworkAccess(Network.OPEN)
    without = source_access("https://93.184.215.14/a.git", DEFAULT, frozenset({Network.OFF}))
    assert without.forwards == (ForwardedPort("93.184.215.14", 443),)


def test_opened_sources() -> None:
    """Loopback is forwarded, everything else is reached through the sandbox's routes."""
    limits = BuildLimits(internal_networks="localhost:3000 10.0.0.0/8")

    assert source_access("http://localhost:3000/a.git", limits, ALL).forwards == (ForwardedPort("127.0.0.1", 3000),)
    assert source_access("http://10.1.2.3:3000/a.git", limits, ALL) == NetworkAccess(Network.OPEN)
    with pytest.raises(BuildFailed, match="an administrator can open it with internal_networks"):
        source_access("http://localhost:3001/a.git", limits, ALL)


def test_the_operators_forges_are_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    """On their own port and that of SSH only; the steps of the build cannot reach them."""
    monkeypatch.setattr("hythe.worker.checkout.addresses_of", lambda *_: ("10.0.0.5",))
    limits = BuildLimits(source_hosts=("git.lan:443", "git.lan:22"))

    access = source_access("https://git.lan/a.git", limits, ALL)
    assert access == NetworkAccess(Network.OPEN, (ForwardedPort("10.0.0.5", 443),), (("127.0.0.1", "git.lan"),))
    assert source_access("ssh://git@git.lan/a.git", limits, ALL).forwards == (ForwardedPort("10.0.0.5", 22),)
    for other in ("https://git.lan:6379/a.git", "https://other.lan/a.git", "http://git.lan/a.git"):
        with pytest.raises(BuildFailed, match="not on the public internet"):
            source_access(other, limits, ALL)
