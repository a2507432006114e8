"""`hythe admin doctor` on a sound installation, and on installations with each kind of mistake."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.parts.docker_registry import Certificate
from tests.parts.hub import HytheServer
from tests.parts.nginx import running_nginx
from tests.parts.process import free_port
from tests.parts.s3 import S3Server

WITHOUT_WORKER = ["--builds-workers", "0"]


def findings(hub: HytheServer, *flags: str, **environment: str) -> dict[str, set[tuple[str, str]]]:
    """Run the doctor with these flags; return subject -> (severity, message)."""
    with_environment = HytheServer(hub.verb, hub.data, hub.logs, database_url=hub.database_url, env=environment)
    done = with_environment.try_admin("doctor", "--json", "--listen", hub.host, *WITHOUT_WORKER, *flags)
    found: dict[str, set[tuple[str, str]]] = {}
    for each in json.loads(done.stdout):
        assert each["severity"] == "good" or each["hint"], each
        found.setdefault(each["subject"], set()).add((each["severity"], each["message"]))
    assert done.returncode == int(any(severity == "problem" for each in found.values() for severity, _ in each)), done
    return found


def stored_files(hub: HytheServer) -> list[Path]:
    """The files of the blob store."""
    return sorted(path for path in (hub.data / "blobs").rglob("*") if path.is_file())


def problems(found: dict[str, set[tuple[str, str]]]) -> str:
    """All problems as one text."""
    return "\n".join(text for each in found.values() for severity, text in each if severity == "problem")


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_sound_installation(engine: str, request: pytest.FixtureRequest, start_hub: Callable[..., HytheServer]) -> None:
    """Nothing is a problem, everything is examined, and nothing is changed."""
    url = request.getfixturevalue("postgresql_url") if engine == "postgresql" else None
    hub = start_hub(WITHOUT_WORKER, database_url=url)
    before = stored_files(hub)

    found = findings(hub)

    assert found.keys() == {
        "disk",
        "database",
        "storage",
        "installation",
        "public address",
        "server",
        "mail",
        "workers",
    } | {"settings"}
    # The tests' PostgreSQL does not sync.
    assert problems(found).count("\n") == 0
    assert ("fsync" in problems(found)) == (engine == "postgresql")
    assert stored_files(hub) == before


def test_text_for_people(hub: HytheServer) -> None:
    """One line for each finding, a hint below, and a sum; a mistyped variable is named."""
    done = HytheServer(hub.verb, hub.data, hub.logs, env={"HYTHE_PUBLIC_ULR": "x"}).try_admin(
        "doctor", "--listen", hub.host, *WITHOUT_WORKER
    )

    assert "settings        warning  the environment variable HYTHE_PUBLIC_ULR is no setting" in done.stdout
    assert "hint: rename it to HYTHE_PUBLIC_URL" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("0 problems, ")
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("changes", "trusted", "expected"),
    [
        ({}, "127.0.0.1", ""),
        ({"proxy_set_header X-Forwarded-Proto $scheme;": ""}, "127.0.0.1", "but the hub sees http from"),
        ({}, "", "but the hub sees http from 127.0.0.1"),
        (
            {"X-Forwarded-For $remote_addr": "X-Forwarded-For $http_x_forwarded_for"},
            "127.0.0.1",
            "can choose the address",
        ),
        ({"Host $http_host": "Host $proxy_host"}, "127.0.0.1", "but the hub sees hythe"),
        ({"client_max_body_size 0;": ""}, "127.0.0.1", "limits the size of request bodies"),
    ],
    ids=["right", "no scheme", "untrusted", "forged address", "other host", "small bodies"],
)
def test_reverse_proxy(
    start_hub: Callable[..., HytheServer],
    certificate: Certificate,
    changes: dict[str, str],
    trusted: str,
    expected: str,
) -> None:
    """A probe through the public URL shows what the proxy changes."""
    hub = start_hub([*WITHOUT_WORKER, "--trusted-proxies", trusted])
    with running_nginx([hub.port], certificate, free_port(), changes) as nginx:
        url = f"https://127.0.0.1:{nginx.tls_port}"
        found = problems(
            findings(hub, "--public-url", url, "--trusted-proxies", trusted, SSL_CERT_FILE=str(certificate.ca))
        )

    assert expected in found
    assert bool(expected) == bool(found)


def test_mistakes(hub: HytheServer, certificate: Certificate, s3: S3Server) -> None:
    """Files that others can read, a wrong certificate, no mail server, a missing bucket, a server that is down."""
    (hub.data / "secret.key").chmod(0o644)
    hub.stop()

    found = problems(
        findings(
            hub,
            *("--public-url", f"https://hub.example.org:{free_port()}"),
            *("--tls-cert", str(certificate.cert), "--tls-key", str(certificate.key)),
            *("--mail-server", f"smtp://127.0.0.1:{free_port()}", "--mail-from", "hub@example.org"),
            *("--blob-store", "s3://no-such-bucket"),
            **s3.env,
        )
    )

    for words in (
        "secret.key, which decrypts signing keys",
        "the certificate is not for hub.example.org",
        "the mail server cannot be used",
        "s3://no-such-bucket cannot be used: ",
        "https://hub.example.org",
    ):
        assert words in found


def test_damaged_database(hub: HytheServer) -> None:
    """A damaged page is found; a folder without a hub is said to be one."""
    hub.stop()
    subprocess.run(
        ["dd", "if=/dev/urandom", f"of={hub.data / 'hythe.db'}", "bs=4096", "seek=8", "count=40", "conv=notrunc"],
        check=True,
        capture_output=True,
    )

    assert "hythe.db" in problems(findings(hub))
    (hub.data / "hythe.db").unlink()
    assert "there is no hub in" in problems(findings(hub))
