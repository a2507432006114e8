"""The files that are mounted into every container's ``/etc``: ``hosts``, ``hostname``, ``resolv.conf``."""

import ipaddress
import socket
from pathlib import Path

from hythe.containers.container import Container
from hythe.containers.errors import InvalidOption
from hythe.containers.network import BRIDGE, GUEST_ADDRESS, host_address

MOUNTED_FILES = ("hosts", "hostname", "resolv.conf")
_OWN_HOSTS = """127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::\tip6-localnet
ff00::\tip6-mcastprefix
ff02::1\tip6-allnodes
ff02::2\tip6-allrouters
"""
_GATEWAY = "host-gateway"
"""Docker's name for the host's address."""
_RESOLVED = Path("/run/systemd/resolve/resolv.conf")
"""The DNS servers that systemd-resolved uses; /etc/resolv.conf then has its own address, on loopback."""


def parse_host(text: str) -> str:
    """Return the line in ``/etc/hosts`` for ``--add-host NAME:ADDRESS``; raises InvalidOption."""
    name, separator, address = _split(text)
    address = host_address() if address == _GATEWAY else address.removeprefix("[").removesuffix("]")
    if not separator or not name or name.split() != [name]:
        raise InvalidOption(f"invalid --add-host {text!r}", "write NAME:ADDRESS")
    return f"{parse_address(address)}\t{name}"


def _split(text: str) -> tuple[str, str, str]:
    """Split at the first ``=``, else at the first colon, as addresses also contain colons."""
    return text.partition("=") if "=" in text else text.partition(":")


def parse_address(text: str) -> str:
    """Validate an IP address; raises InvalidOption."""
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise InvalidOption(f"invalid IP address {text!r}", "write one such as 192.0.2.1 or 2001:db8::1") from None


def hostname(container: Container) -> str:
    """Return the container's host name: the chosen one, the host's on its network, else its ID."""
    if container.host.hostname:
        return container.host.hostname
    return socket.gethostname() if container.host.network == "host" else container.id[:12]


def write_network_files(folder: Path, container: Container) -> None:
    """Write a container's files to ``folder``."""
    (folder / "hostname").write_text(f"{hostname(container)}\n")
    (folder / "hosts").write_text(_hosts(container))
    servers = "".join(f"nameserver {address}\n" for address in container.host.dns)
    (folder / "resolv.conf").write_text(servers or _resolver(container))
    for file in MOUNTED_FILES:
        (folder / file).chmod(0o644)


def _hosts(container: Container) -> str:
    address = GUEST_ADDRESS if container.host.network == BRIDGE else "127.0.0.1"
    own = f"{_OWN_HOSTS}{address}\t{_names(container)}\n"
    text = _host_file("hosts") if container.host.network == "host" else own
    return "".join(
        [text if text.endswith("\n") or not text else f"{text}\n", *(f"{row}\n" for row in container.host.hosts)]
    )


def _names(container: Container) -> str:
    return " ".join(dict.fromkeys((hostname(container), container.name)))


def _resolver(container: Container) -> str:
    return _reachable_resolver() if container.host.network == BRIDGE else _host_file("resolv.conf")


def _reachable_resolver() -> str:
    """Return the host's ``resolv.conf`` without servers on its loopback; that of systemd-resolved if none is left."""
    own = _host_file("resolv.conf")
    if not _has_server(_reachable_lines(own)) and _RESOLVED.exists():
        own = _RESOLVED.read_text(errors="replace")
    return "".join(f"{line}\n" for line in _reachable_lines(own))


def has_resolver() -> bool:
    """Whether the host has a DNS server that a container on its own network can reach."""
    return _has_server(_reachable_resolver().splitlines())


def _has_server(lines: list[str]) -> bool:
    return any(line.split()[:1] == ["nameserver"] for line in lines)


def _reachable_lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.split()[:1] != ["nameserver"] or _is_reachable(line.split())]


def _is_reachable(words: list[str]) -> bool:
    """Whether a container on its own network reaches a DNS server: only IPv4, and not the host's loopback."""
    try:
        address = ipaddress.ip_address(words[1])
    except (IndexError, ValueError):
        return False
    return address.version == 4 and not (address.is_loopback or address.is_unspecified)


def _host_file(name: str) -> str:
    try:
        return Path("/etc", name).read_text(errors="replace")
    except OSError:
        return ""
