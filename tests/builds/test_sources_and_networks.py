"""Sources of builds, network access of their steps, and what prevents a build from starting."""

from __future__ import annotations

import hashlib
import json
import threading
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest
from tests.builds.services import Services

pytestmark = pytest.mark.clients

TINY = "FROM scratch\nADD rootfs.tar /\n"


@pytest.fixture(scope="module")
def services(start_services: Callable[..., Services]) -> Services:
    """A hub whose builds can use the network."""
    return start_services(env={"HYTHE_BUILDS_NETWORK": "open"})


@pytest.mark.parametrize(("network", "reached"), [("off", False), ("registry", True), ("open", True)])
def test_network_access_of_steps(services: Services, network: str, reached: bool) -> None:
    """Off: nothing. Registry and open: the hub. Never: other services of the host, or metadata addresses."""
    others = (services.hub.port, urlsplit(services.git.url).port)
    # busybox's nc accepts addresses without a resolver, which static programs cannot use everywhere.
    (hub, host), ask = others, "echo | busybox nc -w 3"
    dockerfile = f"""{TINY}RUN {ask} 127.0.0.1 {hub} > /dev/null && echo hub-reached || echo hub-away
RUN {ask} 127.0.0.1 {host} || echo host-away
RUN {ask} 169.254.169.254 80 || echo metadata-away
"""
    path = services.configure(f"net-{network}", services.source(f"net-{network}", {"Dockerfile": dockerfile}))
    services.call("PATCH", f"{path}/build-configuration", {"options": {"network": network}})

    log = services.built(path, services.trigger(path)[0])["log"]

    said = [line for line in log.splitlines() if line.endswith(("-reached", "-away")) and "STEP" not in line]
    assert [each.rpartition("}")[2] for each in said] == [
        "hub-reached" if reached else "hub-away",
        "host-away",
        "metadata-away",
    ]


def test_submodules_are_fetched(services: Services) -> None:
    """Files of a submodule are in the build context."""
    part = services.git.create("src/part")
    part.commit({"greeting.txt": "from the submodule\n"})
    source = services.source("modular", {"Dockerfile": f"{TINY}COPY part/greeting.txt /\nRUN cat /greeting.txt\n"})
    source.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", part.url, "part")
    source.commit({}, "Add the part")
    path = services.configure("modular", source)

    assert "from the submodule" in services.built(path, services.trigger(path)[0])["log"]


@pytest.fixture
def large_files(services: Services) -> Iterator[tuple[str, dict[str, bytes]]]:
    """A git LFS server (batch API, downloads) in front of the git server: its URL, and its content by SHA-256."""
    held: dict[str, bytes] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if not self.path.endswith("/info/lfs/objects/batch"):
                self._pass_on(body)
                return
            objects = [
                {**each, "actions": {"download": {"href": f"http://{self.headers['Host']}/{each['oid']}"}}}
                for each in json.loads(body)["objects"]
            ]
            self._answer(json.dumps({"transfer": "basic", "objects": objects}).encode(), "application/vnd.git-lfs+json")

        def do_GET(self) -> None:
            if self.path[1:] in held:
                self._answer(held[self.path[1:]], "application/octet-stream")
            else:
                self._pass_on(None)

        def _pass_on(self, body: bytes | None) -> None:
            names = ("Content-Type", "Accept", "Git-Protocol", "Content-Encoding")
            headers = {name: self.headers[name] for name in names if self.headers[name]}
            request = urllib.request.Request(services.git.url + self.path, body, headers)
            with urllib.request.urlopen(request) as response:
                self._answer(response.read(), response.headers["Content-Type"])

        def _answer(self, body: bytes, kind: str) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", held
    server.shutdown()
    server.server_close()


def test_large_files_are_fetched(services: Services, large_files: tuple[str, dict[str, bytes]]) -> None:
    """A file of git LFS has its content, not its pointer."""
    address, held = large_files
    content = b"large\n" * 1000
    digest = hashlib.sha256(content).hexdigest()
    held[digest] = content
    files = {
        ".gitattributes": "*.big filter=lfs diff=lfs merge=lfs -text\n",
        "data.big": f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize {len(content)}\n",
        "Dockerfile": f"{TINY}COPY data.big /\nRUN busybox wc -c /data.big\n",
    }
    source = services.source("large", files)
    source.url = source.url.replace(services.git.url, address)
    path = services.configure("large", source)

    assert f"{len(content)} /data.big" in services.built(path, services.trigger(path)[0])["log"]


def test_unknown_branches_and_commits_fail(services: Services) -> None:
    """The reason names what git could not fetch."""
    path = services.configure("gone", services.source("gone"), {"source": "/.*/", "tags": "{sourceref}"})
    by_name = services.call("POST", f"{path}/builds", {"source_name": "nowhere"})["items"][0]
    by_commit = services.call("POST", f"{path}/builds", {"source_name": "main", "commit": "0" * 40})["items"][0]

    for started, reason in ((by_name, "cannot be fetched"), (by_commit, "the commit does not exist")):
        build = services.wait(path, started["number"])
        assert build["status"] == "failed"
        assert reason in build["reason"]


def test_a_disabled_configuration_starts_no_builds(services: Services) -> None:
    """The trigger responds with an error and records the call; builds are kept."""
    path = services.configure("resting", services.source("resting", {"Dockerfile": TINY}))
    services.built(path, services.trigger(path)[0])
    trigger = services.call("GET", f"{path}/build-configuration/trigger")["path"]
    services.call("PATCH", f"{path}/build-configuration", {"active": False})

    status, answer = services.try_call("POST", trigger, {}, user="")
    trigger_calls = services.call("GET", f"{path}/build-configuration/trigger")["calls"]

    assert status == 409
    assert "rules" in answer["hint"]
    assert [call["outcome"] for call in trigger_calls] == ["builds of this repository are disabled", "1 builds"]
    assert len(services.call("GET", f"{path}/builds")["items"]) == 1


def test_a_rotated_trigger_invalidates_the_old_one(services: Services) -> None:
    """The old URL is not found; the new one accepts Docker Hub's bodies."""
    rules = ({"source": "main", "tags": "latest"}, {"source": "other", "tags": "special"})
    path = services.configure("retold", services.source("retold", {"Dockerfile": TINY}), *rules)
    old = services.call("GET", f"{path}/build-configuration/trigger")["path"]
    services.call("POST", f"{path}/build-configuration/trigger")

    assert services.try_call("POST", old, {}, user="")[0] == 404
    assert len(services.trigger(path, {"docker_tag": "latest"})) == 1
    assert len(services.trigger(path, {"source_type": "Branch", "source_name": "main"})) == 1
