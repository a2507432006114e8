"""The egress policy: which addresses user input can make the hub and its workers connect to."""

import errno
import ipaddress
import socket
from collections.abc import Iterable
from typing import Self

import msgspec

from hythe.egress.addresses import IPAddress, addresses_of, guard_of, is_own_address, is_public, parse_address
from hythe.settings import IPNetwork, parse_internal_networks

ANY_PORT = 0
CONNECT_TIMEOUT = 15.0


class EgressDenied(PermissionError):
    """User input names an address that it may not reach."""

    def __init__(self, address: str, reason: str, host: str = "") -> None:
        """``host`` is the name, if any, that resolves to ``address``."""
        self.address = address
        self.reason = reason
        subject = f"{host} resolves to {address}, which" if host and host != address else address
        text = f"{subject} is {reason}: an administrator can open it with internal_networks"
        super().__init__(errno.EACCES, text)

    def __str__(self) -> str:
        return str(self.strerror)


class OpenedPort(msgspec.Struct, frozen=True):
    """One port of an address; ``port`` can be ANY_PORT."""

    address: IPAddress
    port: int


class OpenedName(msgspec.Struct, frozen=True):
    """One port of a host that is opened by its name; ``port`` can be ANY_PORT."""

    host: str
    port: int


class EgressPolicy(msgspec.Struct, frozen=True):
    """The public internet, and what the operator opened. The default opens nothing.

    Addresses of this machine, loopback, link-local and metadata addresses are open only if they are named: by
    HOST:PORT, as a single address, or by a network that contains nothing else.
    """

    networks: tuple[IPNetwork, ...] = ()
    endpoints: tuple[OpenedPort, ...] = ()
    names: tuple[OpenedName, ...] = ()

    @classmethod
    def parse(cls, setting: str) -> Self:
        """Return the policy of the setting ``internal_networks``. Raises SettingsError."""
        opened = parse_internal_networks(setting)
        return cls(opened.networks).trusting((each.host, each.port) for each in opened.hosts)

    def trusting(self, hosts: Iterable[tuple[str, int]]) -> Self:
        """Return a policy that also opens these ports of hosts, which an operator named."""
        endpoints, names = list(self.endpoints), list(self.names)
        for host, port in hosts:
            try:
                endpoints.append(OpenedPort(parse_address(host), port))
            except ValueError:
                names.append(OpenedName(host, port))
        return msgspec.structs.replace(self, endpoints=tuple(endpoints), names=tuple(names))

    def with_names_resolved(self) -> Self:
        """Return a policy with the present addresses of opened names. Blocks while it resolves them."""
        if not self.names:
            return self
        found = [
            OpenedPort(parse_address(address), named.port)
            for named in self.names
            for address in _present_addresses(named.host)
        ]
        return msgspec.structs.replace(self, endpoints=(*self.endpoints, *found), names=())

    def require_allowed(self, address: str, port: int, host: str = "") -> None:
        """Return if a socket may connect to ``address``, an IP address. Raises EgressDenied.

        ``host`` is what the user wrote. Opened names count only once they are resolved.
        """
        try:
            parsed = parse_address(address)
        except ValueError:
            raise EgressDenied(address, "not an IP address", host) from None
        reason = self._refusal(parsed, port)
        if reason:
            raise EgressDenied(address, reason, host)

    def _refusal(self, address: IPAddress, port: int) -> str:
        if any(each.address == address and each.port in (port, ANY_PORT) for each in self.endpoints):
            return ""
        guard = guard_of(address)
        is_own = guard is None and is_own_address(address)
        if is_own:
            guard = ipaddress.ip_network(address)
        if guard is None and is_public(address):
            return ""
        if any(address in network and (guard is None or is_part(network, guard)) for network in self.networks):
            return ""
        return "an address of this machine" if is_own else "not on the public internet"

    def first_allowed(self, addresses: Iterable[str], port: int, host: str) -> str:
        """Return the first of a host's addresses that a socket may connect to. Raises EgressDenied, OSError."""
        denied: OSError = OSError(errno.EHOSTUNREACH, f"{host} has no address")
        for address in addresses:
            try:
                self.require_allowed(address, port, host)
            except EgressDenied as error:
                denied = error
                continue
            return address
        raise denied


def is_part(network: IPNetwork, whole: IPNetwork) -> bool:
    """Return whether a network is the same as, or a part of, another."""
    return network.version == whole.version and network.subnet_of(whole)  # type: ignore[arg-type]


def open_socket(policy: EgressPolicy, host: str, port: int, timeout: float = CONNECT_TIMEOUT) -> socket.socket:
    """Resolve a host and connect to the first of its allowed addresses that responds. Blocks.

    Raises EgressDenied if none is allowed, OSError.
    """
    policy = policy.with_names_resolved()
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError as error:
        raise OSError(errno.EINVAL, f"{host} is not a host name") from error
    problems: list[OSError] = []
    for family, kind, protocol, _, address in found:
        connection = socket.socket(family, kind, protocol)
        try:
            policy.require_allowed(str(address[0]), port, host)
            connection.settimeout(timeout)
            connection.connect(address)
        except OSError as error:
            connection.close()
            problems.append(error)
            continue
        return connection
    raise next((each for each in problems if not isinstance(each, EgressDenied)), problems[0])


def _present_addresses(host: str) -> tuple[str, ...]:
    try:
        return addresses_of(host)
    except OSError:
        return ()
