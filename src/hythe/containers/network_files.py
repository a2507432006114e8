"""The files that are mounted into every container's ``/etc``: ``hosts``, ``hostname``, ``resolv.conf``."""

import ipaddress
import socket
from pathlib import Path

from hythe.containers.container import Container
from hythe.containers.errors import InvalidOption

MOUNTED_FILES = ("hosts", "hostname", "resolv.conf")
_OWN_HOSTS = """127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::\tip6-localnet
ff00::\tip6-mcastprefix
ff02::1\tip6-allnodes
ff02::2\tip6-allrouters
"""
_GATEWAY = "host-gateway"
"""Docker's name for the host's address: loopback, on the host's own network."""


def parse_host(text: str) -> str:
    """Return the line in ``/etc/hosts`` for ``--add-host NAME:ADDRESS``; raises InvalidOption."""
    name, separator, address = _split(text)
    address = "127.0.0.1" if address == _GATEWAY else address.removeprefix("[").removesuffix("]")
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
    (folder / "resolv.conf").write_text(servers or _host_file("resolv.conf"))
    for file in MOUNTED_FILES:
        (folder / file).chmod(0o644)


def _hosts(container: Container) -> str:
    own = f"{_OWN_HOSTS}127.0.0.1\t{hostname(container)}\n"
    text = _host_file("hosts") if container.host.network == "host" else own
    return "".join(
        [text if text.endswith("\n") or not text else f"{text}\n", *(f"{row}\n" for row in container.host.hosts)]
    )


def _host_file(name: str) -> str:
    try:
        return Path("/etc", name).read_text(errors="replace")
    except OSError:
        return ""
