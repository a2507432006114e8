"""Which addresses user input can reach."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import threading
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import pytest

from hythe.egress import policy as policy_module
from hythe.egress.policy import ANY_PORT, EgressDenied, EgressPolicy, open_socket
from hythe.settings import SettingsError

PUBLIC = (
    *("93.184.215.14", "1.1.1.1", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "172.32.0.1"),
    *("192.0.1.1", "198.20.0.1", "223.255.255.255", "2606:2800:21f:cb07::1", "2a00:1450::1", "::ffff:1.1.1.1"),
    "64:ff9b::101:101",
)
INTERNAL = (
    *("10.1.2.3", "100.64.0.1", "100.127.255.255", "172.16.0.1", "172.31.255.255", "192.168.0.1"),
    *("192.0.0.8", "192.0.2.1", "192.88.99.1", "198.18.0.1", "198.19.255.255", "198.51.100.7", "203.0.113.9"),
    *("240.0.0.1", "255.255.255.254"),
    *("fc00::1", "fd12:3456::1", "fec0::1", "2001:db8::1", "2001::1", "2001:2::1", "2001:10::1", "3fff::1"),
    *("2002:a00:1::1", "2002:101:101::1", "64:ff9b:1::a00:1", "100::1", "::a00:1", "4000::1", "5f00::1"),
    *("::ffff:10.0.0.1", "64:ff9b::a00:1"),
)
GUARDED = (
    *("0.0.0.0", "0.1.2.3", "127.0.0.1", "127.255.255.254", "169.254.169.254", "169.254.170.2", "224.0.0.251"),
    *("255.255.255.255", "100.100.100.200", "168.63.129.16", "192.0.0.192"),
    *("::", "::1", "fe80::1", "fe80::1%lo", "ff02::1", "fd00:ec2::254", "fd20:ce::254", "fd00:42::42"),
    *("::ffff:127.0.0.1", "::ffff:7f00:1", "::ffff:169.254.169.254", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe"),
)
EVERYTHING = "0.0.0.0/0 ::/0"


def is_open(setting: str, address: str, port: int = 80) -> bool:
    """Whether a socket may connect there."""
    try:
        EgressPolicy.parse(setting).with_names_resolved().require_allowed(address, port)
    except EgressDenied:
        return False
    return True


@pytest.mark.parametrize("address", PUBLIC)
def test_the_public_internet_is_open(address: str) -> None:
    """Globally reachable unicast addresses, and IPv6 addresses that lead to one."""
    assert is_open("", address)
    assert is_open("10.0.0.0/8", address)


@pytest.mark.parametrize("address", INTERNAL)
def test_internal_addresses_are_opened_by_networks(address: str) -> None:
    """Every special range is closed by default; any network that contains the address opens it."""
    assert not is_open("", address)
    assert is_open(EVERYTHING, address)
    assert not is_open("203.0.112.0/24 fd12:3457::/32", address)


@pytest.mark.parametrize("address", GUARDED)
def test_guarded_addresses_are_opened_only_by_name(address: str) -> None:
    """No larger network opens loopback, link-local and metadata addresses."""
    plain = str(policy_module.parse_address(address))
    single = f"[{plain}]:80" if ":" in plain else f"{plain}:80"

    assert not is_open("", address)
    assert not is_open(EVERYTHING, address)
    assert not is_open("100.64.0.0/10 fd00::/8 168.63.0.0/16 192.0.0.0/24 fc00::/7", address)
    assert is_open(plain, address)
    assert is_open(single, address)
    assert not is_open(single, address, 81)


def test_a_network_inside_loopback_opens_loopback() -> None:
    """A part of a guarded network names it; its other parts stay closed."""
    assert is_open("127.0.0.0/8", "127.4.5.6")
    assert is_open("127.0.0.0/30", "127.0.0.2")
    assert not is_open("127.0.0.0/30", "127.0.0.9")
    assert is_open("169.254.0.0/16", "169.254.169.254")
    assert not is_open("126.0.0.0/7", "127.0.0.1")


@pytest.fixture
def own_addresses() -> Iterator[tuple[str, str]]:
    """A private and a public address of this machine, on a bridge such as docker0."""
    bridge = f"own{os.getpid()}"
    subprocess.run(["ip", "link", "add", bridge, "type", "bridge"], check=True)
    try:
        for address in ("10.77.66.1/24", "9.9.77.1/32"):
            subprocess.run(["ip", "address", "add", address, "dev", bridge], check=True)
        subprocess.run(["ip", "link", "set", bridge, "up"], check=True)
        yield "10.77.66.1", "9.9.77.1"
    finally:
        subprocess.run(["ip", "link", "delete", bridge], check=True)


def test_this_machine_is_not_the_public_internet(own_addresses: tuple[str, str]) -> None:
    """A machine's own addresses are opened only by name, also public ones; its neighbors by the network."""
    private, public = own_addresses
    for address in own_addresses:
        with pytest.raises(EgressDenied, match="an address of this machine"):
            EgressPolicy.parse(EVERYTHING).require_allowed(address, 80)
        assert is_open(f"{address}:80", address)
        assert not is_open(f"{address}:80", address, 22)
        assert is_open(address, address)
    assert not is_open("10.77.0.0/16", private)
    assert is_open("10.77.0.0/16", "10.77.66.2")
    assert is_open("", public.replace(".1", ".2"))


def test_opened_names_are_resolved() -> None:
    """HOST:PORT opens the present addresses of the name, on that port only."""
    assert is_open("localhost:3000", "127.0.0.1", 3000)
    assert not is_open("localhost:3000", "127.0.0.1", 3001)
    assert not is_open("no-such-host.invalid:3000", "127.0.0.1", 3000)
    trusting = EgressPolicy().trusting([("localhost", ANY_PORT), ("10.0.0.9", ANY_PORT)]).with_names_resolved()
    trusting.require_allowed("127.0.0.1", 22)
    trusting.require_allowed("10.0.0.9", 22)


def test_random_addresses_agree_with_the_standard_library() -> None:
    """What Python calls private or reserved is never open by default."""
    seeded = random.Random(20)
    addresses: list[IPv4Address | IPv6Address] = [IPv4Address(seeded.getrandbits(32)) for _ in range(3000)]
    addresses += [IPv6Address(0x2000 << 112 | seeded.getrandbits(125)) for _ in range(500)]
    for address in addresses:
        if not address.is_global or address.is_multicast or address.is_reserved:
            assert not is_open("", str(address)), address


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.1", "0x7f000001", "2130706433", "017700000001", "localhost", "::1", "::ffff:7f00:1", "0"],
)
def test_every_spelling_of_loopback_is_refused(host: str) -> None:
    """The address that the resolver returns is decided, however the host is written; no connection is made."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(EgressDenied, match="internal_networks"):
            open_socket(EgressPolicy(), host, port)
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()


@pytest.mark.parametrize("host", ["１２７.0.0.1", "①②⑦.0.0.1", "127。0。0。1"])
def test_other_digits_and_dots(host: str) -> None:
    """Characters that are normalized to an IPv4 address reach nothing, whether they resolve or not."""
    with socket.create_server(("127.0.0.1", 0)) as listener, pytest.raises(OSError):
        open_socket(EgressPolicy(), host, listener.getsockname()[1])


def test_an_opened_port_is_connected_to() -> None:
    """The socket of an opened address is connected."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        accepted: list[bytes] = []
        thread = threading.Thread(target=lambda: accepted.append(listener.accept()[0].recv(5)))
        thread.start()
        with open_socket(EgressPolicy.parse(f"localhost:{port}"), "localhost", port) as connection:
            connection.sendall(b"hello")
        thread.join()
    assert accepted == [b"hello"]


def test_what_is_checked_is_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that answers with a public address first and loopback later is resolved once."""
    answers = iter([["93.184.215.14", "127.0.0.1"], ["127.0.0.1"]])

    def resolve(host: str, port: int, **options: object) -> list[object]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in next(answers)]

    connected: list[tuple[str, int]] = []

    class Recorded(socket.socket):
        def connect(self, address: Any) -> None:
            connected.append(address)
            raise ConnectionRefusedError

    monkeypatch.setattr(policy_module.socket, "getaddrinfo", resolve)
    monkeypatch.setattr(policy_module.socket, "socket", Recorded)
    with pytest.raises(ConnectionRefusedError):
        open_socket(EgressPolicy(), "rebinding.example", 80)
    monkeypatch.undo()

    assert [address for address in connected if address[1] == 80] == [("93.184.215.14", 80)]


def test_the_refusal_names_host_and_setting() -> None:
    """The user learns what was refused, and whom to ask."""
    with pytest.raises(EgressDenied) as refused:
        EgressPolicy().require_allowed("10.0.0.5", 80, "git.lan")

    text = "git.lan resolves to 10.0.0.5, which is not on the public internet: an administrator can open it with"
    assert str(refused.value) == f"{text} internal_networks"


@pytest.mark.parametrize(
    "setting",
    [
        *("*", "internal", "10.0.0.5/8", "10.0.0.0/33", "host", "host:0", "host:65536", "host:http", ":80"),
        *("127.1:80", "2130706433:80", "0x7f000001:80", "[::1]", "[host]:80", "fe80::1:x", "-a:80"),
        *("１２７.0.0.1:80", "http://h:80"),
    ],
)
def test_invalid_settings_are_refused(setting: str) -> None:
    """The error names the item and says what to write."""
    with pytest.raises(SettingsError, match=r"is invalid: use networks such as 10\.0\.0\.0/8"):
        EgressPolicy.parse(f"10.0.0.0/8 {setting}")


def test_mapped_networks_stand_for_ipv4() -> None:
    """::ffff:10.0.0.0/104 opens 10.0.0.0/8."""
    assert is_open("::ffff:10.0.0.0/104", "10.3.2.1")
    assert is_open("[::ffff:10.0.0.5]:80", "10.0.0.5")
