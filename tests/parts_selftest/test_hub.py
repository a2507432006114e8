"""The hub and the private registry start, stop, crash and restart with the same address."""

import http.client
import json
import os
import signal
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.parts import preloaded
from tests.parts.base_images import Layout
from tests.parts.docker_registry import Certificate
from tests.parts.engines import ContainersTool
from tests.parts.hub import HYTHE, HytheServer


def status(url: str) -> int:
    """Return the status of a GET request."""
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            code: int = answer.status
    except urllib.error.HTTPError as error:
        code = error.code
    return code


def test_a_hub_has_accounts_on_each_database(hub_on_each_database: HytheServer) -> None:
    """An account created by the operator exists, also after a crash."""
    hub = hub_on_each_database
    hub.create_user("ann", "correct horse battery", admin=True)
    before = hub.url

    hub.kill()
    hub.start()

    assert "ann" in hub.admin("list-users")
    assert hub.url == before
    assert status(f"{hub.url}/v2/") == 401


def test_a_hub_with_a_public_address_stops_with_0(start_hub: Callable[..., HytheServer], tmp_path: Path) -> None:
    """Starting also works if the ready line shows a public URL, and without any data."""
    hub = start_hub(["--public-url", "https://hub.example.org"], data=tmp_path / "not there yet")

    assert status(f"{hub.url}/v2/") == 401
    assert hub.stop() == 0


@pytest.mark.parametrize(
    ("arguments", "stdin"),
    [
        (["settings", "--data", "here"], ""),
        (["admin", "create-user", "ann"], "no e-mail address"),
        (["admin", "create-user", "ann", "--email", "ann@example.com", "--password-stdin", "--data", "."], "short"),
        (["--help"], ""),
    ],
)
def test_a_preloaded_command_behaves_as_usual(
    arguments: list[str], stdin: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code and output are those of a process that a shell starts, in the current folder and environment."""
    monkeypatch.setenv("HYTHE_IDLE_TIMEOUT", "71")
    monkeypatch.setenv("COLUMNS", "90")
    command = [str(HYTHE), *arguments]
    (tmp_path / "usual").mkdir()
    (tmp_path / "preloaded").mkdir()
    usual = subprocess.run(command, input=stdin, cwd=tmp_path / "usual", capture_output=True, text=True)

    monkeypatch.chdir(tmp_path / "preloaded")
    done = preloaded.run(command, stdin=stdin, env=os.environ)

    assert (done.returncode, done.stdout) == (usual.returncode, usual.stdout)
    assert done.stderr == usual.stderr.replace("/usual", "/preloaded")


def test_a_preloaded_server_has_its_own_session(private_registry: HytheServer) -> None:
    """It leads its session and process group, has its own input and output, and ends by signals."""
    pid = private_registry.pid
    assert os.getsid(pid) == os.getpgid(pid) == pid
    files = [str(Path(f"/proc/{pid}/fd/{number}").readlink()) for number in range(3)]
    assert files == [os.devnull, str(private_registry.logs / "stdout"), str(private_registry.logs / "stderr")]

    private_registry.kill()

    assert private_registry.program is not None
    assert private_registry.program.process.returncode == -signal.SIGKILL
    assert not Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize("with_tls", [False, True])
def test_stopping_does_not_wait_for_idle_connections(
    with_tls: bool, start_private_registry: Callable[..., HytheServer], certificate: Certificate
) -> None:
    """A client that keeps its connection open and never closes it does not delay the stop."""
    flags = ["--tls-cert", str(certificate.cert), "--tls-key", str(certificate.key)]
    server = start_private_registry(flags if with_tls else ())
    context = ssl.create_default_context(cafile=str(certificate.ca))
    host, port = server.host.split(":")
    connection = (
        http.client.HTTPSConnection(host, int(port), context=context)
        if with_tls
        else http.client.HTTPConnection(host, int(port))
    )
    connection.request("GET", "/v2/")
    assert connection.getresponse().read() == b"{}"
    began = time.monotonic()

    assert server.stop() == 0
    assert time.monotonic() - began < 5
    connection.close()


@pytest.mark.clients
def test_the_private_registry_takes_an_image(
    private_registry: HytheServer, skopeo: ContainersTool, busybox_layout: Layout
) -> None:
    """Anonymous users can push, and the image exists after a restart."""
    skopeo.allow_http(private_registry.host)
    skopeo.ok("copy", busybox_layout.source(), f"docker://{private_registry.host}/repo_name")

    private_registry.restart()

    with urllib.request.urlopen(f"{private_registry.url}/v2/repo_name/tags/list") as answer:
        assert json.load(answer) == {"name": "repo_name", "tags": ["latest"]}
