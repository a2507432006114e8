"""What a build reaches from inside its sandbox: the public internet and what the operator opened, by no trick more."""

from __future__ import annotations

import json
import os
import random
import socket
import subprocess
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import msgspec
import pytest
from tests.security.network_of_builds import OTHER_PORT, PORT, Surroundings, running_surroundings

from hythe.egress.policy import EgressDenied, EgressPolicy
from hythe.worker.isolation.routes import network_commands, own_networks, routed_networks
from hythe.worker.isolation.sandbox import NetworkAccess
from hythe.worker.isolation.selection import TRIAL, Isolation, choose_isolation
from hythe.worker.protocol import Network

pytestmark = pytest.mark.clients

PROBE = r"""
import json, os, socket, struct, subprocess, sys

def ask(address, port, prepare=None):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as s:
            s.settimeout(TIMEOUT)
            if prepare: prepare(s)
            s.connect((address, port))
            s.sendall(b"GET / HTTP/1.0\r\n\r\n")
            return "reached" if b"secret" in s.makefile("rb").read() else "connected"
    except OSError as error:
        return type(error).__name__

def bind_to_device(s): s.setsockopt(socket.SOL_SOCKET, 25, b"tap0\0")
def select_interface(s): s.setsockopt(socket.IPPROTO_IP, 50, struct.pack("!I", socket.if_nametoindex("tap0")))
def do_not_route(s): s.setsockopt(socket.SOL_SOCKET, socket.SO_DONTROUTE, 1)
def source_route(s):
    hops = socket.inet_aton(PUBLIC) + socket.inet_aton(sys.argv[1].rpartition(":")[0])
    s.setsockopt(socket.IPPROTO_IP, 4, b"\x83\x0b\x04" + hops + b"\0")
def mark(s): s.setsockopt(socket.SOL_SOCKET, 36, 1)
def from_loopback(s): s.bind(("127.0.0.1", 0))

TRICKS = [None, bind_to_device, select_interface, do_not_route, source_route, mark, from_loopback]
"""
TARGETS = "print(json.dumps({t: ask(*(lambda a, _, p: (a, int(p)))(*t.rpartition(':'))) for t in sys.argv[1:]}))"
Reach = Callable[..., dict[str, str]]


@pytest.fixture(scope="module")
def surroundings() -> Iterator[Surroundings]:
    """The network around the worker."""
    with running_surroundings() as there:
        yield there


@pytest.fixture(scope="module")
def isolation(tmp_path_factory: pytest.TempPathFactory) -> Isolation:
    """The isolation of this machine, which supports the network `open`."""
    chosen = choose_isolation(tmp_path_factory.mktemp("worker"), 1_500_000_000, weaker=False)
    assert Network.OPEN in chosen.networks, chosen.missing
    assert chosen.hardened_network
    return chosen


def run_inside(isolation: Isolation, setting: str, *command: str) -> list[str]:
    """Run a command with the network `open` on a hub with this setting; return its output."""
    limits = msgspec.structs.replace(TRIAL, internal_networks=setting, seconds=60)
    name = f"probe-{os.urandom(4).hex()}"
    lines: list[str] = []
    sandbox = isolation.sandbox(name, 7, limits, isolation.folder / f"{name}.img")
    try:
        sandbox.run(command, lines.append, access=NetworkAccess(Network.OPEN))
    finally:
        sandbox.close(keep=False)
    return lines


def reach(isolation: Isolation, setting: str, *targets: str) -> dict[str, str]:
    """Return what a build gets from HOST:PORT targets."""
    output = run_inside(isolation, setting, "python3", "-c", f"TIMEOUT = 3{PROBE}{TARGETS}", *targets)
    found: dict[str, str] = json.loads(output[-1])
    return found


def test_builds_reach_the_public_internet_alone(isolation: Isolation, surroundings: Surroundings) -> None:
    """By default: neither LAN, the host's own addresses, bridges, loopback, metadata nor slirp4netns itself."""
    internal = [f"{address}:{PORT}" for address in surroundings.internal]
    internal += [f"{host}:{PORT}" for host in ("10.0.2.2", "10.0.2.3", "169.254.169.254", "100.64.1.1", "127.0.0.1")]
    internal += ["fd00::2:80", "fe80::1:80", "::1:80", "10.0.2.2:53", "255.255.255.255:53"]

    found = reach(isolation, "", *internal, f"{surroundings.public}:{PORT}", "10.0.2.3:53")

    assert found.pop(f"{surroundings.public}:{PORT}") == "reached"
    assert found.pop("10.0.2.3:53") in ("connected", "TimeoutError", "ConnectionRefusedError", "ConnectionResetError")
    assert set(found.values()) <= {"PermissionError", "OSError", "ConnectionRefusedError", "TimeoutError"}
    refused = {target: result for target, result in found.items() if target.startswith(surroundings.internal)}
    assert set(refused.values()) == {"PermissionError"}


def test_opened_networks_and_ports_are_reached(isolation: Isolation, surroundings: Surroundings) -> None:
    """A network opens the LAN but not the worker itself; HOST:PORT opens one port."""
    lan, own, bridge = surroundings.lan, surroundings.own, surroundings.bridge

    by_network = reach(isolation, surroundings.lan_network, f"{lan}:{PORT}", f"{lan}:{OTHER_PORT}", f"{own}:{PORT}")
    everything = reach(isolation, "0.0.0.0/0", f"{lan}:{PORT}", f"{own}:{PORT}", f"{bridge}:{PORT}")
    setting = f"{lan}:{PORT} {bridge}:{OTHER_PORT} 0.0.0.0:{OTHER_PORT} 0.0.0.0:{PORT}"
    ports = [f"{host}:{port}" for host in (lan, bridge) for port in (PORT, OTHER_PORT)]
    by_port = reach(isolation, setting, *ports, f"{own}:{PORT}")

    assert list(by_network.values()) == ["reached", "reached", "PermissionError"]
    assert list(everything.values()) == ["reached", "PermissionError", "PermissionError"]
    assert list(by_port.values()) == ["reached", "PermissionError", "PermissionError", "reached", "PermissionError"]


def test_an_opened_port_on_loopback_is_reached(isolation: Isolation) -> None:
    """The worker forwards the port that the setting names, and no other."""
    with socket.create_server(("127.0.0.1", 0)) as first, socket.create_server(("127.0.0.1", 0)) as second:
        ports = [listener.getsockname()[1] for listener in (first, second)]
        for listener in (first, second):
            listener.settimeout(0.2)
        found = reach(isolation, f"localhost:{ports[0]}", *(f"127.0.0.1:{port}" for port in ports))
        first.accept()[0].close()
        with pytest.raises(TimeoutError):
            second.accept()

    assert found[f"127.0.0.1:{ports[1]}"] == "ConnectionRefusedError"


def test_socket_options_change_nothing(isolation: Isolation, surroundings: Surroundings) -> None:
    """A socket that is bound to the interface, does not route, or routes by itself reaches no internal address."""
    script = f"""TIMEOUT = 1{PROBE}
PUBLIC = {surroundings.public!r}
print(json.dumps([ask(t.rpartition(':')[0], {PORT}, trick) for t in sys.argv[1:] for trick in TRICKS]))
"""
    output = run_inside(isolation, "", "python3", "-c", script, *(f"{each}:0" for each in surroundings.internal))

    found = json.loads(output[-1])
    assert len(found) == 7 * len(surroundings.internal)
    assert not {"reached", "connected"} & set(found), found


CHANGES = """
ip route replace default via 10.0.2.2 dev tap0 onlink
ip route delete prohibit LAN
ip route add OWN/32 via 10.0.2.2 dev tap0 onlink
ip route flush table main
ip rule add pref 1 lookup 77
ip neighbor add OWN lladdr 52:55:0a:00:02:02 dev tap0
ip address add OWN/32 dev tap0
unshare --user --map-root-user ip route add OWN/32 via 10.0.2.2 dev tap0 onlink
unshare --user --map-root-user --net sh -c 'ip link set lo up; ip route add OWN/32 via 10.0.2.2 dev tap0 onlink'
nsenter --target 1 --user --net ip rule add pref 1 lookup 77
nsenter --net=/proc/1/ns/net --user=/proc/1/ns/user ip rule add pref 1 lookup 77
setpriv --bounding-set +net_admin --inh-caps +net_admin ip rule add pref 1 lookup 77
capsh --caps=cap_net_admin+eip -- -c 'ip rule add pref 1 lookup 77'
ip tuntap add dev tap9 mode tap
"""


def test_builds_cannot_change_routes(isolation: Isolation, surroundings: Surroundings) -> None:
    """As root of the sandbox, in namespaces of its own, or through sysctls."""
    commands = CHANGES.replace("OWN", surroundings.own).replace("LAN", "10.0.0.0/8")
    sysctls = "for f in route_localnet accept_redirects accept_local forwarding rp_filter; do \
for d in all tap0; do echo 1 > /proc/sys/net/ipv4/conf/$d/$f; done; done 2>/dev/null"
    attempts = [f"{line} && echo CHANGED: '{line[:20]}'" for line in commands.split("\n") if line]
    probe = f"TIMEOUT = 1{PROBE}{TARGETS}".replace('"', '\\"')
    targets = " ".join(f"{address}:{PORT}" for address in surroundings.internal)
    before = "ip route show table all > /work/before; ip rule >> /work/before"
    after = "ip route show table all > /work/after; ip rule >> /work/after; cmp /work/before /work/after && echo SAME"
    script = "\n".join([before, *attempts, sysctls, after, f'python3 -c "{probe}" {targets}'])

    output = run_inside(isolation, "", "sh", "-c", script)

    assert "SAME" in output, output
    assert not [line for line in output if line.startswith("CHANGED")], output
    assert set(json.loads(output[-1]).values()) == {"PermissionError"}


@pytest.mark.parametrize("propagation", ["shared", "private", "slave"])
def test_mounts_of_the_host_stay(isolation: Isolation, tmp_path: Path, propagation: str) -> None:
    """A build's network does not unmount what is mounted below a mount of the host, however it passes mounts on."""
    outer = tmp_path / "outer"
    inner, bound = outer / "inner", outer / "inner" / "bound"
    try:
        for folder, options in ((outer, ["-t", "tmpfs", "outer"]), (inner, ["-t", "tmpfs", "inner"])):
            folder.mkdir()
            subprocess.run(["mount", *options, folder], check=True)
            subprocess.run(["mount", "--make-shared", folder], check=True)
            subprocess.run(["mount", f"--make-{propagation}", folder], check=True)
        bound.mkdir()
        subprocess.run(["mount", "--bind", outer, bound], check=True)
        before = mount_points(tmp_path)

        assert run_inside(isolation, "", "echo", "done") == ["done"]

        assert len(before) == 3
        assert mount_points(tmp_path) == before
    finally:
        subprocess.run(["umount", "--recursive", outer], check=True)


def mount_points(folder: Path) -> list[str]:
    """Return the mount points below a folder that this process sees."""
    points = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    return sorted(point for point in points if point.startswith(f"{folder}/"))


def test_names_are_resolved_inside(isolation: Isolation) -> None:
    """The host's name server answers through slirp4netns on port 53, and on no other port."""
    query = r"""
import socket
question = b"\x12\x34\x01\0\0\1\0\0\0\0\0\0\4test\7invalid\0\0\1\0\1"
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
    s.settimeout(5)
    s.connect(("10.0.2.3", 53))
    s.send(question)
    try: print("answered", s.recv(512)[:2].hex())
    except OSError as error: print(type(error).__name__)
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
    try: s.connect(("10.0.2.3", 54)); print("open")
    except OSError as error: print(type(error).__name__)
"""
    first, second = run_inside(isolation, "", "python3", "-c", query)

    # Without a name server on the host there is no answer, but the route exists.
    assert first in ("answered 1234", "TimeoutError", "ConnectionRefusedError")
    assert second == "PermissionError"


SETTINGS = (
    *("", "0.0.0.0/0", "10.0.0.0/8", "10.1.0.0/16 10.1.2.3", "8.0.0.0/5 100.64.0.0/10", "127.0.0.0/8 169.254.169.254"),
    *("100.100.100.0/24", "100.100.100.200", "168.63.0.0/16", "10.9.9.9 203.0.113.0/24", "224.0.0.0/3", "10.0.2.0/24"),
)


@pytest.mark.parametrize("setting", SETTINGS)
def test_routes_agree_with_the_policy(setting: str) -> None:
    """The most specific route of every address decides as the policy does."""
    policy = EgressPolicy.parse(setting)
    own = own_networks()
    routes = routed_networks(policy, own)
    edges = [address for each in (*routes, *own) for address in (each[0], each[-1])]
    seeded = random.Random(9)
    edges += [edge + step for edge in edges for step in (-1, 1) if 0 <= int(edge) + step < 1 << 32]
    edges += [IPv4Address(seeded.getrandbits(32)) for _ in range(500)]
    edges += [each[seeded.randrange(each.num_addresses)] for each in routes for _ in range(5)]
    of_slirp = IPv4Network("10.0.2.2/31")
    for address in edges:
        covering = [each for each in routes if address in each]
        is_routed = routes[max(covering, key=lambda each: each.prefixlen)] if covering else True
        assert is_routed == (is_allowed(policy, address) and address not in of_slirp), address


def is_allowed(policy: EgressPolicy, address: IPv4Address) -> bool:
    """Whether the policy allows a connection."""
    try:
        policy.require_allowed(str(address), 80)
    except EgressDenied:
        return False
    return True


@pytest.mark.parametrize("setting", SETTINGS)
def test_the_kernel_accepts_the_commands(setting: str, tmp_path: Path) -> None:
    """No command fails in a new network namespace, whatever the setting; else builds would have no network."""
    policy = EgressPolicy.parse(f"{setting} 10.0.0.5:80 10.0.2.3:53 10.0.2.2:80 localhost:9").with_names_resolved()
    batch = tmp_path / "commands"
    batch.write_text(network_commands(policy, own_networks()))
    setup = f"ip tuntap add dev tap0 mode tap && ip -batch {batch}"
    completed = subprocess.run(["unshare", "--net", "sh", "-c", setup], capture_output=True, text=True, check=False)

    assert completed.returncode == 0, completed.stderr
