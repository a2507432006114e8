"""What users make a hub and its worker connect to: webhooks, sources and base images reach no internal service."""

from __future__ import annotations

import http.server
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import pytest
from tests.builds.forge_hub import eventually
from tests.builds.hand_worker import BY_HAND, HandWorker
from tests.builds.services import Services, start_services

__all__ = ["start_services"]

pytestmark = pytest.mark.clients

TINY = "FROM scratch\nADD rootfs.tar /\n"
HINT = "an administrator can open it with internal_networks"


@dataclass(slots=True)
class InternalService:
    """A service on all addresses of this machine that no user may reach."""

    port: int
    connections: list[str] = field(default_factory=list)

    @property
    def own_address(self) -> str:
        """This machine's address on its way to the internet: other tests add and remove addresses."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect(("1.1.1.1", 9))  # sends nothing
            return str(probe.getsockname()[0])

    def plain_spellings(self) -> list[str]:
        """URLs of the service that every resolver understands."""
        return [f"http://{host}:{self.port}/status" for host in ("127.0.0.1", "localhost", "[::1]", self.own_address)]

    def spellings(self) -> list[str]:
        """URLs of the service: loopback and the machine's own address, in many forms."""
        own = self.own_address
        hosts = [
            *("127.0.0.1", "１２７.0.0.1", "①②⑦.0.0.1", "127。0。0。1", "2130706433", "0x7f000001", "017700000001"),
            *("127.1", "127.0.0.1.", "localhost", "LOCALHOST.", "[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]"),
            *("0.0.0.0", "0", "user@127.0.0.1", own, f"[::ffff:{own}]"),
        ]
        return [f"http://{host}:{self.port}/status" for host in hosts]


@pytest.fixture
def internal() -> Iterator[InternalService]:
    """A running internal service that records every connection."""
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as listener:
        service = InternalService(listener.getsockname()[1])

        def serve() -> None:
            while True:
                try:
                    connection, address = listener.accept()
                except OSError:
                    return
                service.connections.append(str(address))
                with connection:
                    connection.settimeout(1)
                    connection.sendall(b"HTTP/1.1 418 Secret\r\nContent-Length: 0\r\n\r\n")

        threading.Thread(target=serve, daemon=True).start()
        yield service
        listener.shutdown(socket.SHUT_RDWR)


@contextmanager
def redirecting(target: str, challenge: str = "") -> Iterator[str]:
    """A server that redirects every request, or answers with an authentication challenge: its HOST:PORT."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(401 if challenge else 307)
            self.send_header("WWW-Authenticate" if challenge else "Location", challenge or target)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.do_GET()

        def log_message(self, format: str, *arguments: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


def test_webhooks_reach_no_internal_service(start_services: Callable[..., Services], internal: InternalService) -> None:
    """However the receiver is written, or if it redirects: nothing is connected, and its status stays unknown."""
    with redirecting(f"http://127.0.0.1:{internal.port}/status") as redirector:
        services = start_services({**BY_HAND, "HYTHE_INTERNAL_NETWORKS": redirector})
        path = "/api/v1/repositories/alice/hooked"
        source = {"source": {"url": "https://git.example/a/b.git"}, "rules": [{"source": "main"}]}
        services.call("POST", f"{path}/build-configuration", source)
        created: list[dict[str, Any]] = []
        for url in (*internal.spellings(), f"http://{redirector}/hook"):
            status, webhook = services.try_call("POST", f"{path}/webhooks", {"url": url})
            assert status < 500
            if status < 400:
                created.append(webhook)
        assert len(created) > 10
        services.call("POST", f"{path}/builds", {"source_name": "main"})
        assert HandWorker(services.hub.url).end_all() == ["main"]

        for webhook in created:
            deliveries = f"{path}/webhooks/{webhook['id']}/deliveries"
            eventually(lambda where=deliveries: services.call("GET", where)["items"][0]["attempts"])
            [delivery] = services.call("GET", deliveries)["items"]
            if redirector in webhook["url"]:
                assert delivery["status"] == 307
                continue
            assert delivery["status"] == 0
            assert "418" not in delivery["outcome"].replace(str(internal.port), "PORT")
            assert "Secret" not in delivery["outcome"]
            if webhook["url"] in internal.plain_spellings():
                assert HINT in delivery["outcome"]

    assert internal.connections == []


def test_the_hub_lists_no_refs_of_internal_services(
    start_services: Callable[..., Services], internal: InternalService
) -> None:
    """A source is decided in every spelling, and redirects of a source are not followed."""
    with redirecting(f"http://127.0.0.1:{internal.port}/x.git/info/refs?service=git-upload-pack") as redirector:
        services = start_services({**BY_HAND, "HYTHE_INTERNAL_NETWORKS": redirector})
        for url in (*internal.spellings(), f"http://{redirector}/a/b.git"):
            status, problem = services.try_call("GET", f"/api/v1/git-refs?url={quote(url)}")
            assert 400 <= status != 500, (url, status, problem)
            assert "418" not in str(problem).replace(str(internal.port), "PORT")

    assert internal.connections == []


@dataclass(slots=True)
class Attacked:
    """A hub that opens its git server and a redirecting server, and an internal service."""

    services: Services
    internal: InternalService
    redirector: str

    started: dict[str, tuple[str, int]] = field(default_factory=dict)

    def start(self, name: str, source: Any) -> None:
        """Start to build a source."""
        path = self.services.configure(name, source)
        self.started[name] = (path, self.services.trigger(path)[0])

    def failure(self, name: str) -> tuple[str, str]:
        """Wait for the build of a source, which must fail; return the reason and the log."""
        build = self.services.wait(*self.started[name])
        assert build["status"] == "failed", (name, build["log"])
        return build["reason"], build["log"]


@pytest.fixture
def attacked(start_services: Callable[..., Services], internal: InternalService) -> Iterator[Attacked]:
    """Builds have the network `open`."""
    with redirecting(f"http://{internal.own_address}:{internal.port}/x.git") as redirector:
        # The git server starts with the first hub.
        git = start_services({**BY_HAND}).git
        opened = f"{git.url.partition('://')[2]} {redirector}"
        settings = {"HYTHE_BUILDS_WORKERS": "2", "HYTHE_BUILDS_PER_ACCOUNT": "0", "HYTHE_BUILDS_NETWORK": "open"}
        services = start_services({**settings, "HYTHE_INTERNAL_NETWORKS": opened})
        yield Attacked(services, internal, redirector)


def test_builds_reach_no_internal_service(attacked: Attacked) -> None:
    """As a source, through its redirects, submodules and LFS; as a base image; and in steps and ADD."""
    services, internal = attacked.services, attacked.internal
    own = internal.own_address
    urls = [f"http://127.0.0.1:{internal.port}", f"http://{own}:{internal.port}", f"http://localhost:{internal.port}"]

    for number, url in enumerate(urls):
        source = services.source(f"direct{number}")
        source.url = f"{url}/x.git"
        attacked.start(f"direct{number}", source)

    source = services.source("moved")
    source.url = f"http://{attacked.redirector}/x.git"
    attacked.start("moved", source)

    for number, url in enumerate(urls):
        source = services.source(f"module{number}", {"Dockerfile": TINY})
        (source.work / ".gitmodules").write_text(f'[submodule "part"]\n\tpath = part\n\turl = {url}/x.git\n')
        source.git("add", ".gitmodules")
        source.git("update-index", "--add", "--cacheinfo", f"160000,{source.head()},part")
        source.git("commit", "-q", "-m", "Add the part")
        source.git("push", "-q", "origin", "main")
        attacked.start(f"module{number}", source)

    files = {
        ".gitattributes": "*.big filter=lfs diff=lfs merge=lfs -text\n",
        ".lfsconfig": f"[lfs]\n\turl = {urls[1]}/lfs\n",
        "data.big": f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 6\n",
    }
    attacked.start("lfs", services.source("lfs", files))

    for number, host in enumerate(
        (f"127.0.0.1:{internal.port}", f"localhost:{internal.port}", f"{own}:{internal.port}")
    ):
        source = services.source(f"based{number}", {"Dockerfile": f"FROM {host}/library/app\n"})
        attacked.start(f"based{number}", source)

    steps = f"{TINY}RUN echo | busybox nc -w 3 {own} {internal.port} && echo reached\n"
    attacked.start("step", services.source("step", {"Dockerfile": steps}))
    attacked.start("added", services.source("added", {"Dockerfile": f"{TINY}ADD {urls[1]}/file /file\n"}))

    for number in range(len(urls)):
        assert HINT in attacked.failure(f"direct{number}")[0]
        assert "a submodule cannot be fetched" in attacked.failure(f"module{number}")[0]
        assert HINT in attacked.failure(f"based{number}")[0]
    assert "cannot be fetched" in attacked.failure("moved")[0]
    assert "Git LFS files cannot be fetched" in attacked.failure("lfs")[0]
    assert "reached" not in attacked.failure("step")[1].splitlines()
    attacked.failure("added")
    assert internal.connections == []


def test_mirrored_registries_lead_to_no_internal_service(
    start_services: Callable[..., Services], internal: InternalService
) -> None:
    """The operator trusts the host of a mirror, not where it leads the hub: redirects and token servers are decided."""
    own = internal.own_address
    mirrors = []
    with ExitStack() as stack:
        for number, host in enumerate((own, "169.254.169.254", f"[::ffff:{own}]", "10.0.0.1")):
            target = f"http://{host}:{internal.port}/token"
            for kind, challenge in (("redirect", ""), ("realm", f'Bearer realm="{target}",service="x"')):
                mirrors.append(f"{kind}{number}.mirror=http://{stack.enter_context(redirecting(target, challenge))}")
        services = start_services({"HYTHE_MIRRORS": " ".join(mirrors), **BY_HAND})
        for mirror in mirrors:
            path = f"/v2/{mirror.partition('=')[0]}/library/app/manifests/latest"
            status, answer = services.try_call("GET", path, user="")
            assert status == 502
            assert "an address that is not allowed" in str(answer)
            assert "418 Secret" not in str(answer)
            assert "status 418" not in str(answer)

    assert internal.connections == []
