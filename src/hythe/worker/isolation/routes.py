"""The routes of a build's network, with which the kernel enforces the egress policy inside the sandbox.

slirp4netns connects sandbox and host. It only gets packets that the sandbox has a route for, and no process inside may
change routes. slirp4netns forwards IPv4 only, so IPv6 addresses are unreachable.
"""

import json
import os
import socket
import subprocess
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from hythe.egress.addresses import GUARDED, SPECIAL_IPV4
from hythe.egress.policy import EgressPolicy, is_part
from hythe.worker.errors import IsolationUnavailable
from hythe.worker.isolation.port_forward import ForwardedPort

NAMESERVER = "10.0.2.3"
"""Where slirp4netns forwards requests to the host's name server."""
_GATEWAY = "10.0.2.2"
_ADDRESS = "10.0.2.100"
_DEVICE = "tap0"
_ONLINK = f"via {_GATEWAY} dev {_DEVICE} onlink"
_MTU = 65520
_TABLE = 77
"""A routing table for single ports."""
_GUARDED = tuple(network for network in GUARDED if isinstance(network, IPv4Network))
_SERVED_BY_SLIRP = (IPv4Network(_GATEWAY), IPv4Network(NAMESERVER))


def network_commands(policy: EgressPolicy, own: Iterable[IPv4Network]) -> str:
    """Return the commands for ``ip -batch`` that set up a sandbox's network; ``own`` are the host's addresses.

    Names in ``policy`` must be resolved.
    """
    # Without a link-local address, the kernel adds no IPv6 routes.
    no_ipv6 = [f"link set dev {_DEVICE} addrgenmode none"] if Path("/proc/sys/net/ipv6").exists() else []
    commands = [
        *no_ipv6,
        f"link set dev {_DEVICE} mtu {_MTU} up",
        f"address add {_ADDRESS}/32 dev {_DEVICE}",
        f"route add default {_ONLINK}",
        f"route add default {_ONLINK} table {_TABLE}",
        f"route add {NAMESERVER} dev {_DEVICE} table {_TABLE}",
    ]
    for network, is_open in sorted(routed_networks(policy, own).items()):
        commands.append(f"route add {network} {_ONLINK}" if is_open else f"route add prohibit {network}")
    ports = [(NAMESERVER, socket.IPPROTO_UDP, 53), (NAMESERVER, socket.IPPROTO_TCP, 53)]
    ports += [
        (str(each.address), socket.IPPROTO_TCP, each.port)
        for each in policy.endpoints
        if isinstance(each.address, IPv4Address) and not (each.address.is_loopback or each.address.is_unspecified)
    ]
    for address, protocol, port in dict.fromkeys(ports):
        commands.append(f"rule add pref 1000 to {address} ipproto {protocol:d} dport {port} lookup {_TABLE}")
    return "\n".join(commands)


def routed_networks(policy: EgressPolicy, own: Iterable[IPv4Network]) -> dict[IPv4Network, bool]:
    """Return the networks that need a route of their own, and whether it is open; the most specific one decides."""
    opened = [each for each in policy.networks if isinstance(each, IPv4Network) and each.prefixlen]
    wide = [each for each in policy.networks if isinstance(each, IPv4Network) and not each.prefixlen]
    routes = dict.fromkeys(opened, True)
    for network in SPECIAL_IPV4:
        if network not in _GUARDED and not any(is_part(network, each) for each in (*opened, *wide)):
            routes[network] = False
    guarded = [*_GUARDED, *(each for each in own if not any(is_part(each, guard) for guard in _GUARDED))]
    routes.update((network, False) for network in guarded if network not in opened)
    routes.update((network, False) for network in _SERVED_BY_SLIRP)
    return routes


def own_networks() -> tuple[IPv4Network, ...]:
    """Return the IPv4 addresses of this machine. Raises IsolationUnavailable."""
    command = ["ip", "-json", "-4", "route", "show", "table", "local", "type", "local"]
    try:
        completed = subprocess.run(command, capture_output=True, text=True, check=True)
        return tuple(IPv4Network(route["dst"]) for route in json.loads(completed.stdout or "[]"))
    except (OSError, subprocess.CalledProcessError, ValueError, KeyError) as error:
        raise IsolationUnavailable(f"cannot list the addresses of this machine: {error}") from error


def loopback_forwards(policy: EgressPolicy) -> tuple[ForwardedPort, ...]:
    """Return port forwards for the opened ports on this machine's loopback; only root can forward ports."""
    if os.geteuid():
        return ()
    return tuple(
        ForwardedPort(str(each.address), each.port, str(each.address))
        for each in policy.endpoints
        if isinstance(each.address, IPv4Address) and each.address.is_loopback
    )
