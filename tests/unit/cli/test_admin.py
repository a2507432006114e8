"""``hythe admin`` next to a running hub, on each database, and its errors for a wrong folder."""

from __future__ import annotations

import io
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import httpx2
import pytest
from tests.parts.hub import HUB, HYTHE, HytheServer, server_factory

from hythe.cli.main import main


class Result(NamedTuple):
    """Exit code and output of one command."""

    code: int
    out: str
    err: str


@pytest.fixture
def hythe(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    """Return a function that runs ``hythe`` in this process, which saves most of a second of imports."""
    for name in [name for name in os.environ if name.startswith("HYTHE_")]:
        monkeypatch.delenv(name)

    def run(*words: str | Path, stdin: str = "") -> Result:
        monkeypatch.setattr("sys.stdin", io.StringIO(stdin))
        capsys.readouterr()
        try:
            code = main(list(map(str, words)))
        except SystemExit as error:
            code = int(error.code or 0)
        return Result(code, *capsys.readouterr())

    return run


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def hub(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HytheServer]:
    """A running hub on each database, shared by the tests of this module."""
    url = request.getfixturevalue("new_postgresql_url")() if request.param == "postgresql" else None
    with server_factory(tmp_path_factory.mktemp("hub"), HUB) as start:
        yield start(database_url=url)


@pytest.fixture
def admin(hythe: Callable[..., Result]) -> Callable[..., str]:
    """Return a function that runs a verb of ``hythe admin`` on a hub, fails on an error and returns the output."""

    def run(hub: HytheServer, *words: str, stdin: str = "") -> str:
        done = hythe("admin", *words, *hub.data_flags(), stdin=stdin)
        assert done.code == 0, done.err
        return done.out

    return run


def create_user(admin: Callable[..., str], hub: HytheServer, name: str, *flags: str) -> None:
    """Create an account with the password "correct horse"."""
    email = f"{name}@example.com"
    admin(hub, "create-user", name, "--email", email, *flags, "--password-stdin", stdin="correct horse\n")


def listed(admin: Callable[..., str], hub: HytheServer) -> dict[str, list[str]]:
    """Return the rows of ``list-users`` by name."""
    return {line.split()[0]: line.split() for line in admin(hub, "list-users").splitlines()}


def test_list_users_as_json(hub: HytheServer, admin: Callable[..., str]) -> None:
    """``list-users --json`` prints each account as the JSON API shows it to administrators; ``--format`` chooses."""
    create_user(admin, hub, "jo", "--admin")
    auth = ("jo", "correct horse")
    organization = {"name": "jos-team"}
    assert httpx2.post(f"{hub.url}/api/v1/organizations", json=organization, auth=auth).status_code == 201
    admin(hub, "set-plan", "jos-team", "--storage", "3MiB")

    printed = {each["username"]: each for each in json.loads(admin(hub, "list-users", "--json"))}
    lines = admin(hub, "list-users", "--format", "{{.Name}} {{.Email}} {{.Kind}} {{.BuildMinutes}}").splitlines()

    shown = httpx2.get(f"{hub.url}/api/v1/users", params={"page_size": 100}, auth=auth).json()["items"]
    assert printed == {each["username"]: each for each in shown}
    assert printed["jos-team"]["storage_limit"] == 3 * 2**20
    assert {"jo jo@example.com user 0/unlimited", "jos-team - organization 0/unlimited"} <= set(lines)


def is_password(hub: HytheServer, name: str, password: str) -> bool:
    """Whether the running hub accepts the password."""
    return httpx2.get(f"{hub.url}/api/v1/users/me", auth=(name, password)).status_code == 200


def test_accounts(hub: HytheServer, admin: Callable[..., str]) -> None:
    """The running hub sees new accounts and passwords at once."""
    create_user(admin, hub, "ann")
    create_user(admin, hub, "curator", "--admin")
    token = httpx2.post(f"{hub.url}/v2/users/login", json={"username": "ann", "password": "correct horse"}).json()

    rows = listed(admin, hub)
    output = admin(hub, "set-password", "ann", "--password-stdin", stdin="another horse\n")

    assert next(iter(rows)) == "NAME"
    assert rows["NAME"][:3] == ["NAME", "E-MAIL", "ADMIN"]
    assert rows["ann"][:3] == ["ann", "ann@example.com", "no"]
    assert rows["curator"][:3] == ["curator", "curator@example.com", "yes"]
    assert "every session and login of the account has ended" in output
    assert is_password(hub, "ann", "another horse")
    assert not is_password(hub, "ann", "correct horse")
    session = {"Authorization": f"Bearer {token['token']}"}
    assert httpx2.get(f"{hub.url}/api/v1/users/me", headers=session).status_code == 401


def test_plans(hub: HytheServer, admin: Callable[..., str], hythe: Callable[..., Result]) -> None:
    """``set-plan`` limits private repositories in the running hub at once, and ``list-users`` shows usage and limit."""
    create_user(admin, hub, "bea")

    def create(name: str) -> int:
        new = {"namespace": "bea", "name": name, "visibility": "private"}
        return httpx2.post(f"{hub.url}/api/v1/repositories", json=new, auth=("bea", "correct horse")).status_code

    output = admin(hub, "set-plan", "bea", "--private-repositories", "1")
    statuses = [create("one"), create("two")]
    limited = listed(admin, hub)["bea"]
    admin(hub, "set-plan", "bea", "--private-repositories", "unlimited")

    assert output.splitlines() == [
        "stored bytes: 0B/10GiB",
        "repositories: 0/1000",
        "unfinished uploads: 0/100",
        "minutes of builds in 30 days: 0/unlimited",
        "private repositories: 0/1",
    ]
    assert statuses == [201, 403]
    assert limited[-1] == "1/1"
    assert create("two") == 201
    assert listed(admin, hub)["bea"][-1] == "2/unlimited"
    set_plan = ("admin", "set-plan", *hub.data_flags())
    assert hythe(*set_plan, "bea", "--private-repositories", "many").code == 2
    assert hythe(*set_plan, "ben", "--private-repositories", "1").code == 1


def test_plan_of_an_organization(shared_hub: HytheServer, admin: Callable[..., str]) -> None:
    """``set-plan`` takes its name; the private limit counts private repositories only; it has no e-mail address."""
    shared_hub.create_user("olga", "correct horse")
    with httpx2.Client(base_url=shared_hub.url, timeout=60, auth=("olga", "correct horse")) as olga:
        assert olga.post("/api/v1/organizations", json={"name": "olga-works"}).status_code == 201
        admin(shared_hub, "set-plan", "olga-works", "--private-repositories", "1", "--repositories", "3")

        def create(name: str, visibility: str) -> int:
            new = {"namespace": "olga-works", "name": name, "visibility": visibility}
            return olga.post("/api/v1/repositories", json=new).status_code

        statuses = [create(*each) for each in (("a", "private"), ("b", "private"), ("c", "internal"), ("d", "public"))]
        shown = olga.get("/api/v1/users/olga-works").json()

    assert statuses == [201, 403, 201, 201]
    assert (shown["kind"], "email" in shown) == ("organization", False)
    row = listed(admin, shared_hub)["olga-works"]
    assert row[:5] == ["olga-works", "-", "no", "no", "organization"]
    assert row[-1] == "1/1"


def test_rejected_accounts(shared_hub: HytheServer, admin: Callable[..., str], hythe: Callable[..., Result]) -> None:
    """Errors exit with 1, name every invalid field, and change nothing."""
    create_user(admin, shared_hub, "cid")
    before = listed(admin, shared_hub)

    def run(*words: str, stdin: str) -> Result:
        return hythe("admin", *words, "--password-stdin", *shared_hub.data_flags(), stdin=stdin)

    taken = run("create-user", "cid", "--email", "x@example.com", stdin="correct horse")
    invalid = run("create-user", "Ann_", "--email", "x", stdin="short")
    unknown = run("set-password", "ben", stdin="correct horse")

    assert [taken.code, invalid.code, unknown.code] == [1, 1, 1]
    assert "exists" in taken.err
    assert all(f"{field}: must" in invalid.err for field in ("username", "email", "password"))
    assert "user 'ben' does not exist" in unknown.err
    assert listed(admin, shared_hub) == before


@pytest.mark.parametrize("verb", [["list-users"], ["set-password", "ann", "--password-stdin"], ["gc", "--dry-run"]])
def test_a_folder_without_a_hub(verb: list[str], tmp_path: Path, hythe: Callable[..., Result]) -> None:
    """A mistyped folder does not become a second, empty hub."""
    folder = tmp_path / "mistyped"

    done = hythe("admin", *verb, "--data", folder, stdin="correct horse")

    assert (done.code, done.out) == (1, "")
    assert f"there is no hub in {folder}" in done.err
    assert not folder.exists()


def test_the_first_administrator(tmp_path: Path, start_hub: Callable[..., HytheServer]) -> None:
    """The operator can create it before the hub's first start; the command prints where that hub will be."""
    folder = tmp_path / "new"
    command = [HYTHE, "admin", "create-user", "root", "--email", "r@example.com", "--admin", "--password-stdin"]

    reserved = subprocess.run([*command, "--data", folder], input="correct horse", capture_output=True, text=True)
    command[3] = "ann"
    created = subprocess.run([*command, "--data", folder], input="correct horse", capture_output=True, text=True)

    assert (reserved.returncode, created.returncode, created.stdout) == (1, 0, "created ann (administrator)\n")
    assert f"no hub in {folder} yet" in reserved.stderr
    assert is_password(start_hub(data=folder), "ann", "correct horse")


def test_an_address_in_use(shared_hub: HytheServer, tmp_path: Path) -> None:
    """A server that cannot listen prints the address."""
    command = [HYTHE, "serve", "--listen", shared_hub.host, "--data", tmp_path / "other"]

    done = subprocess.run(command, capture_output=True, text=True)

    assert done.returncode == 1
    assert f"{shared_hub.host}: Address already in use" in done.stderr
