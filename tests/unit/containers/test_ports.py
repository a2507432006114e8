"""Docker's syntax of published ports, and what a container's files say on its own network."""

from pathlib import Path

import pytest

from hythe.containers import network_files
from hythe.containers.container import PublishedPort
from hythe.containers.errors import InvalidOption
from hythe.containers.network_files import has_resolver
from hythe.containers.ports import exposed_ports, parse_published, show_port


@pytest.mark.parametrize(
    ("text", "ports"),
    [
        ("80", [PublishedPort(80)]),
        ("8080:80", [PublishedPort(80, 8080, 8080)]),
        ("8080:53/udp", [PublishedPort(53, 8080, 8080, protocol="udp")]),
        ("127.0.0.1:8080:80/TCP", [PublishedPort(80, 8080, 8080, "127.0.0.1")]),
        ("127.0.0.1::80", [PublishedPort(80, address="127.0.0.1")]),
        (":80", [PublishedPort(80)]),
        ("8000-8010:80", [PublishedPort(80, 8000, 8010)]),
        ("8000-8001:80-81", [PublishedPort(80, 8000, 8000), PublishedPort(81, 8001, 8001)]),
        ("80-81", [PublishedPort(80), PublishedPort(81)]),
    ],
)
def test_published_ports(text: str, ports: list[PublishedPort]) -> None:
    """A port, several, and an address."""
    assert list(parse_published(text)) == ports


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a:80",
        "80/sctp",
        "0:80",
        "80:0",
        "65536:80",
        "1:2:3:4",
        "8000-8001:80-82",
        "81-80",
        "80-",
        "-80",
        "[::1]:80:80",
        "localhost:80:80",
        "127.0.0.1:53:53/udp",
        "８０:80",
        "80\n",
    ],
)
def test_invalid_published_ports(text: str) -> None:
    """Each is refused with an example of what to write."""
    with pytest.raises(InvalidOption) as caught:
        parse_published(text)
    assert caught.value.hint


def test_exposed_and_shown_ports() -> None:
    """As the image's configuration writes them, and as docker's ps shows them."""
    assert exposed_ports(["80/tcp", "53/udp"]) == (PublishedPort(80), PublishedPort(53, protocol="udp"))
    assert show_port(PublishedPort(80, 8080, 8080)) == "0.0.0.0:8080->80/tcp"


@pytest.mark.parametrize(
    ("own", "resolved", "has_one"),
    [
        ("nameserver 192.0.2.53\n", "", True),
        ("nameserver 127.0.0.53\noptions edns0\n", "nameserver 192.0.2.1\n", True),
        ("nameserver 127.0.0.53\n", "nameserver ::1\n", False),
        ("nameserver 127.0.0.1\nnameserver fe80::1%eth0\nnameserver 0.0.0.0\n", "", False),
        ("nameserver\nsearch example.com\n", "", False),
    ],
)
def test_servers_on_the_hosts_loopback_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: str, resolved: str, has_one: bool
) -> None:
    """Those of systemd-resolved replace its own address."""
    monkeypatch.setattr(network_files, "_host_file", lambda name: own)
    monkeypatch.setattr(network_files, "_RESOLVED", tmp_path / "resolv.conf")
    if resolved:
        (tmp_path / "resolv.conf").write_text(resolved)

    assert has_resolver() == has_one


@pytest.mark.parametrize("text", ["22:80/tcp", "0.0.0.0:22:80", "127.0.0.1::80", "[::]:1:80", ":80"])
def test_an_image_chooses_no_port_of_the_host(text: str) -> None:
    """``--publish-all`` takes free ports of the host, whatever the image's configuration says."""
    with pytest.raises(InvalidOption, match="the image exposes an invalid port"):
        exposed_ports(["80/tcp", text])
