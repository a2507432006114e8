"""A server that cannot start says what it was doing, with which address or path, and what to do."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.parts.postgresql import PostgresqlServer

from hythe.cli.main import main
from hythe.registry.storage.local import LocalBlobStore
from hythe.server import hub as hub_module
from hythe.server import installation as installation_module
from hythe.server.hub import open_hub
from hythe.server.listening import CannotListen, bind
from hythe.settings import Settings

SERVERS = [("serve",), ("registry", "serve")]


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """A start that succeeds would not return: it fails here when it listens, unless a test expects that."""
    monkeypatch.setenv("HYTHE_BUILDS_WORKERS", "0")
    monkeypatch.setattr(hub_module, "serve", _fail)


def _fail(*_: object, **__: object) -> None:
    raise AssertionError("the server started")


@pytest.fixture
def busy_port() -> Iterator[int]:
    """A port on which something listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@pytest.mark.parametrize("verb", SERVERS)
def test_a_busy_port(verb: tuple[str, ...], busy_port: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is named with its address."""
    code = main([*verb, "--data", str(tmp_path), "--listen", f"127.0.0.1:{busy_port}"])

    assert code == 1
    assert capsys.readouterr().err == (
        f"error: cannot listen on 127.0.0.1:{busy_port}: Address already in use\n"
        "hint: another program listens there: stop it, or use another port in --listen\n"
    )


@pytest.mark.parametrize(
    ("host", "shown", "hint"),
    [
        ("192.0.2.1", "192.0.2.1:5000: Cannot assign requested address", "this machine does not have that address"),
        ("2001:db8::1", "[2001:db8::1]:5000: Cannot assign", "this machine does not have that address"),
        ("absent.invalid", "absent.invalid:5000: ", "use an address of this machine in --listen"),
    ],
)
def test_an_address_that_is_not_local(host: str, shown: str, hint: str) -> None:
    """It is named, and what to use."""
    with pytest.raises(CannotListen) as raised:
        bind((host, 5000))

    assert str(raised.value).startswith(f"cannot listen on {shown}")
    assert raised.value.hint.startswith(hint)


@pytest.mark.parametrize("verb", SERVERS)
@pytest.mark.parametrize("file", ["blobs", "hythe.db", "secret.key"])
def test_something_else_in_the_place_of_a_file(
    verb: tuple[str, ...], file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file in the place of a folder, and a folder in the place of a file, are named with their path."""
    if verb != ("serve",) and file == "secret.key":
        file = "blobs"  # a private registry has no key
    path = tmp_path / file
    path.mkdir() if file != "blobs" else path.touch()

    code = main([*verb, "--data", str(tmp_path), "--listen", "127.0.0.1:0"])

    error = capsys.readouterr().err
    assert code in (1, 5)
    assert str(tmp_path) in error.splitlines()[0]
    assert error.splitlines()[1].startswith("hint: ")
    assert "TLS" not in error
    assert "bug" not in error


def test_the_first_start_on_a_new_host_makes_the_data_folder(
    tmp_path: Path, postgresql: PostgresqlServer, postgresql_template: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With PostgreSQL and an object store, only the key is in it; other users cannot read it."""
    monkeypatch.setattr(installation_module, "open_blob_store", lambda *_, **__: LocalBlobStore(tmp_path / "bucket"))
    data = tmp_path / "not/yet"
    url = postgresql.create(template=postgresql_template)

    async def start() -> None:
        async with open_hub(Settings(data=str(data), database_url=url)):
            pass

    asyncio.run(start())

    assert [path.name for path in data.iterdir()] == ["secret.key"]
    assert data.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("leave", ["nothing", "0 bytes"])
@pytest.mark.parametrize("verb", ["gc", "verify"])
@pytest.mark.parametrize("what", ["admin", "registry"])
def test_maintenance_of_nothing_creates_nothing(
    what: str, verb: str, leave: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A mistyped folder does not become an installation."""
    data = tmp_path / "mistyped"
    if leave == "0 bytes":
        data.mkdir()
        (data / "hythe.db").touch()

    code = main([what, verb, "--data", str(data)])

    assert code == 1
    assert capsys.readouterr().err.startswith(
        f"error: there is no {'hub' if what == 'admin' else 'registry'} in {data}"
    )
    assert not data.exists() or [path.stat().st_size for path in data.iterdir()] == [0]


def test_adopting_blobs_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The hint of a refused start names the command; after it, the same start succeeds."""
    data = ["--data", str(tmp_path)]
    (tmp_path / "blobs").mkdir()
    (tmp_path / "blobs/installation").write_text("1234/5678\n")

    assert main(["registry", "serve", *data]) == 2
    assert "has no database, or an empty one, but there are blobs in" in capsys.readouterr().err
    assert main(["registry", "adopt-blobs", *data]) == 0
    assert main(["registry", "gc", *data]) == 0
    assert main(["admin", "gc", *data]) == 2

    assert "this is the database of a private registry, not of a hub" in capsys.readouterr().err
