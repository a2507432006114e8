"""Servers on one PostgreSQL and one S3 behind nginx, as docs/several-servers.md says: clients notice no restart."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import itertools
import os
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import pytest
from tests.builds.hand_worker import BY_HAND
from tests.parts.base_images import Layout
from tests.parts.database import upgrade_in_thread
from tests.parts.docker_registry import Certificate
from tests.parts.engines import ContainersTool, Docker
from tests.parts.hub import HUB, HytheServer, server_factory
from tests.parts.hythe_client import HytheClient
from tests.parts.nginx import Nginx, running_nginx
from tests.parts.postgresql import USER, PostgresqlServer, postgresql_server, synchronous_standby
from tests.parts.process import free_port
from tests.parts.s3 import S3Server, create_bucket
from tests.security.registry_client import PASSWORD, RegistryClient, basic, bearer

pytestmark = pytest.mark.object_store

FROM_ELSEWHERE = {"X-Forwarded-For": "192.0.2.7"}
"""What nginx says of a client elsewhere."""

SCOPE = "repository:ann/strict:pull,push"

OLD_ENOUGH = 2
"""Rounds of a client that must succeed between two restarts, so that each restart happens under load."""


@dataclass(slots=True)
class Site:
    """Servers behind nginx."""

    servers: list[HytheServer]
    nginx: Nginx
    primary: PostgresqlServer
    standby: PostgresqlServer


@pytest.fixture(scope="module")
def databases() -> Iterator[tuple[PostgresqlServer, PostgresqlServer]]:
    """A PostgreSQL server and its standby."""
    with postgresql_server({"synchronous_commit": "on"}) as primary, synchronous_standby(primary) as standby:
        yield primary, standby


@pytest.fixture(scope="module")
def site(
    tmp_path_factory: pytest.TempPathFactory,
    databases: tuple[PostgresqlServer, PostgresqlServer],
    s3: S3Server,
    certificate: Certificate,
) -> Iterator[Site]:
    """Three servers behind nginx, and the account ann."""
    create_bucket(s3, "behind-nginx")
    environment = {
        **s3.env,
        **BY_HAND,
        "HYTHE_BLOB_STORE": "s3://behind-nginx",
        "HYTHE_SECRET_KEY": base64.b64encode(b"0123456789abcdef0123456789abcdef").decode(),
        "HYTHE_TRUSTED_PROXIES": "127.0.0.1",
        "HYTHE_DRAIN_DELAY": "1",
    }
    primary, standby = databases
    upgrade_in_thread(Path("unused"), primary.create("hub"))
    hosts = ",".join(f"127.0.0.1:{server.port}" for server in databases)
    url = f"postgresql://{USER}@{hosts}/hub?target_session_attrs=primary"
    with server_factory(tmp_path_factory.mktemp("site"), HUB) as start:
        servers = [start(database_url=url, env=environment) for _ in range(3)]
        servers[0].create_user("ann", PASSWORD)
        with running_nginx([server.port for server in servers], certificate, free_port()) as nginx:
            yield Site(servers, nginx, primary, standby)


@dataclass(slots=True)
class Load:
    """Clients that work in threads until the block ends, each on its own images."""

    rounds: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)

    @contextlib.contextmanager
    def running(self, clients: dict[str, Callable[[int], None]]) -> Iterator[None]:
        """Run the clients during the block; fails if a round of one of them failed."""
        threads = [threading.Thread(target=self._work, args=item) for item in clients.items()]
        for thread in threads:
            thread.start()
        try:
            self.wait_for_rounds(clients)
            yield
            self.wait_for_rounds(clients)
        finally:
            self.ended.set()
            for thread in threads:
                thread.join()
        assert not self.failures, self.failures[:3]

    def wait_for_rounds(self, clients: dict[str, Callable[[int], None]]) -> None:
        """Wait until each client has done some more rounds, or one has failed."""
        wanted = {name: self.rounds[name] + OLD_ENOUGH for name in clients}
        deadline = time.monotonic() + 120
        while not self.failures and any(self.rounds[name] < count for name, count in wanted.items()):
            assert time.monotonic() < deadline, self.rounds
            time.sleep(0.02)

    def _work(self, name: str, one_round: Callable[[int], None]) -> None:
        for number in itertools.count():
            if self.ended.is_set() or self.failures:
                return
            try:
                one_round(number)
            except Exception as error:
                self.failures.append(f"{name}, round {number}: {error!r}")
            self.rounds[name] += 1


def strict_client(url: str) -> Callable[[int], None]:
    """A client that repeats no request: it pushes and pulls one blob and moves one tag in each round."""
    hub = RegistryClient(url)
    token = bearer(hub.access_token(basic("ann"), SCOPE)["token"])
    connection = httpx2.Client(base_url=url, headers=token, timeout=60)

    def expect(status: int, method: str, path: str, **more: object) -> httpx2.Response:
        answer = connection.request(method, path, **more)  # type: ignore[arg-type]
        assert answer.status_code == status, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer

    def one_round(number: int) -> None:
        content = os.urandom(1000)
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        location = expect(202, "POST", "/v2/ann/strict/blobs/uploads/").headers["location"]
        location = expect(202, "PATCH", location, content=content[:500]).headers["location"]
        location = expect(202, "PATCH", location, content=content[500:]).headers["location"]
        expect(201, "PUT", f"{location}{'&' if '?' in location else '?'}digest={digest}")
        answer = expect(307, "GET", f"/v2/ann/strict/blobs/{digest}")
        assert httpx2.get(answer.headers["location"]).content == content
        assert hub.push("ann/strict", token, f"v{number % 3}") == 201
        expect(200, "GET", f"/v2/ann/strict/manifests/v{number % 3}")
        expect(200, "GET", "/")
        expect(200, "GET", "/api/v1/search?q=ann")

    return one_round


def log_in_and_seed(site: Site, skopeo: ContainersTool, layout: Layout) -> str:
    """Log skopeo in and push the image that clients begin with; return the host of nginx."""
    host = site.nginx.host
    skopeo.allow_http(host)
    assert skopeo.login(host, "ann", PASSWORD).returncode == 0
    skopeo.ok("copy", layout.source(), f"docker://{host}/ann/seed")
    return host


def hythe_client(hythe: HytheClient, host: str) -> Callable[[int], None]:
    """`hythe push` and `hythe pull` of a new tag in each round."""
    hythe.login(host, "ann", PASSWORD)
    hythe.ok("pull", f"{host}/ann/seed")

    def one_round(number: int) -> None:
        name = f"{host}/ann/hythe{number}:latest"
        hythe.ok("tag", f"{host}/ann/seed", name)
        hythe.ok("push", name)
        hythe.ok("pull", name)

    return one_round


def skopeo_client(
    skopeo: ContainersTool, host: str, layout: Layout, folder: Path, *flags: str
) -> Callable[[int], None]:
    """`skopeo copy` to the hub and back in each round."""

    def one_round(number: int) -> None:
        name = f"docker://{host}/ann/skopeo:v{number}"
        skopeo.ok("copy", *flags, layout.source(), name)
        skopeo.ok("copy", *flags, name, f"oci:{folder / 'pulled'}:v{number}")

    return one_round


def docker_client(docker: Docker, host: str, tar: Path) -> Callable[[int], None]:
    """`docker push` of a new image in each round, and `docker pull`."""
    assert docker.login(host, "ann", PASSWORD).returncode == 0

    def one_round(number: int) -> None:
        name = f"{host}/ann/docker:v{number}"
        docker.import_image(tar, name, f"LABEL round={number}")
        docker.ok("push", name)
        docker.ok("rmi", name)
        docker.ok("pull", name)

    return one_round


def test_limits_across_servers(site: Site, certificate: Certificate) -> None:
    """Wrong passwords and stored bytes count together, and the servers learn from nginx who asks, and how."""
    first, second, third = (RegistryClient(server.url) for server in site.servers)
    for number in range(10):
        hub = (first, second, third)[number % 3]
        assert hub.status("GET", "/token?service=hub", {**basic("ann", "wrong one"), **FROM_ELSEWHERE}) == 401
    refused = [
        hub.status("GET", "/token?service=hub", {**basic("ann"), **FROM_ELSEWHERE}) for hub in (first, second, third)
    ]

    site.servers[0].create_user("bob", PASSWORD)
    site.servers[0].admin("set-plan", "bob", "--storage", "100KiB")
    token = bearer(first.access_token(basic("bob"), "repository:bob/app:pull,push")["token"])
    pushed = [push(hub, token, os.urandom(60_000)) for hub in (first, second, third)]

    https = httpx2.get(
        f"https://127.0.0.1:{site.nginx.tls_port}/v2/", verify=ssl.create_default_context(cafile=certificate.ca)
    )

    assert refused == [429, 429, 429]
    assert pushed == [201, 403, 403]
    assert https.headers["www-authenticate"].startswith(f'Bearer realm="https://127.0.0.1:{site.nginx.tls_port}/token"')


def push(hub: RegistryClient, token: dict[str, str], content: bytes) -> int:
    """Push a blob to bob/app; return the status."""
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    return hub.status("POST", f"/v2/bob/app/blobs/uploads/?digest={digest}", token, content=content)


def test_rolling_restart_under_load(
    site: Site,
    hythe: HytheClient,
    skopeo: ContainersTool,
    docker: Docker,
    busybox_layout: Layout,
    busybox_tar: Path,
    tmp_path: Path,
    rounds: Callable[[int, int], int],
) -> None:
    """Each server in turn stops and starts again, and no request fails."""
    host = log_in_and_seed(site, skopeo, busybox_layout)
    clients = {
        "strict": strict_client(site.nginx.url),
        "hythe": hythe_client(hythe, host),
        "skopeo": skopeo_client(skopeo, host, busybox_layout, tmp_path),
        "docker": docker_client(docker, host, busybox_tar),
    }
    load = Load()
    with load.running(clients):
        for _ in range(rounds(1, 10)):
            for server in site.servers:
                assert server.stop() == 0
                server.start()
                load.wait_for_rounds(clients)


@dataclass(slots=True)
class PatientClient:
    """A client that repeats failed requests, and remembers what was acknowledged."""

    site: Site
    token: dict[str, str]
    blobs: dict[str, bytes] = field(default_factory=dict)
    tags: list[str] = field(default_factory=list)

    def one_round(self, number: int) -> None:
        """Push a blob and a tag."""
        content = os.urandom(1000)
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        path = f"/v2/ann/patient/blobs/uploads/?digest={digest}"
        self.until(lambda hub: hub.status("POST", path, self.token, content=content) == 201)
        self.blobs[digest] = content
        self.until(lambda hub: hub.push("ann/patient", self.token, f"v{number}") == 201)
        self.tags.append(f"v{number}")

    def until(self, done: Callable[[RegistryClient], bool]) -> None:
        """Repeat requests until they succeed."""
        deadline = time.monotonic() + 60
        while not self.tried(done):
            assert time.monotonic() < deadline, "no request has succeeded for a minute"
            time.sleep(0.1)

    def tried(self, done: Callable[[RegistryClient], bool]) -> bool:
        """Return whether requests succeed; a closed connection counts as a failure."""
        try:
            return done(RegistryClient(self.site.nginx.url))
        except httpx2.HTTPError:
            return False

    def check(self) -> None:
        """Fail if anything that was acknowledged is not there, on any server."""
        for server in self.site.servers:
            hub = RegistryClient(server.url)
            listed = hub.send("GET", "/v2/ann/patient/tags/list", self.token).json()["tags"]
            assert set(self.tags) <= set(listed)
        for digest, content in self.blobs.items():
            answer = RegistryClient(self.site.nginx.url).send("GET", f"/v2/ann/patient/blobs/{digest}", self.token)
            assert httpx2.get(answer.headers["location"]).content == content


@pytest.fixture
def patient(site: Site) -> PatientClient:
    """Ann's patient client."""
    scope = "repository:ann/patient:pull,push"
    return PatientClient(site, bearer(RegistryClient(site.nginx.url).access_token(basic("ann"), scope)["token"]))


def test_killed_server(
    site: Site,
    patient: PatientClient,
    hythe: HytheClient,
    skopeo: ContainersTool,
    busybox_layout: Layout,
    tmp_path: Path,
    rounds: Callable[[int, int], int],
) -> None:
    """A server is killed under load: clients repeat what failed, and nothing acknowledged is lost."""
    host = log_in_and_seed(site, skopeo, busybox_layout)
    clients = {
        "patient": patient.one_round,
        "hythe": hythe_client(hythe, host),
        "skopeo": skopeo_client(skopeo, host, busybox_layout, tmp_path, "--retry-times=3"),
    }
    load = Load()
    with load.running(clients):
        for server in site.servers[: rounds(1, 3)]:
            server.kill()
            load.wait_for_rounds(clients)
            server.start()
    patient.check()


def test_restarted_and_switched_database(site: Site, patient: PatientClient) -> None:
    """PostgreSQL restarts, then its standby takes over from a killed primary: the servers reconnect by themselves."""
    load = Load()
    clients = {"patient": patient.one_round}
    with load.running(clients):
        site.primary.restart()
        load.wait_for_rounds(clients)
        site.primary.program.kill()
        site.standby.promote()
    patient.check()
