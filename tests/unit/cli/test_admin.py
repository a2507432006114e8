"""``hythe admin`` beside a running hub, on each database; and what it says to who names a wrong place."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest
from tests.parts.hub import HYTHE, HytheServer


def signed_in(hub: HytheServer, name: str, password: str) -> bool:
    """Whether the password is right."""
    return httpx2.get(f"{hub.url}/api/v1/users/me", auth=(name, password)).status_code == 200


def test_accounts(hub_on_each_database: HytheServer) -> None:
    """Accounts are made, listed and given another password, all of it at once for the hub that runs."""
    hub = hub_on_each_database
    hub.create_user("ann", "correct horse")
    hub.create_user("curator", "correct horse", admin=True)
    token = httpx2.post(f"{hub.url}/v2/users/login", json={"username": "ann", "password": "correct horse"}).json()

    listed = [line.split() for line in hub.admin("list-users").splitlines()]
    said = hub.admin("set-password", "ann", "--password-stdin", stdin="another horse\n")

    assert [line[:3] for line in listed] == [
        ["NAME", "E-MAIL", "ADMIN"],
        ["ann", "ann@example.com", "no"],
        ["curator", "curator@example.com", "yes"],
    ]
    assert "every session and login of the account has ended" in said
    assert signed_in(hub, "ann", "another horse")
    assert not signed_in(hub, "ann", "correct horse")
    session = {"Authorization": f"Bearer {token['token']}"}
    assert httpx2.get(f"{hub.url}/api/v1/users/me", headers=session).status_code == 401


def test_plans(hub_on_each_database: HytheServer) -> None:
    """A plan is given, shown with what is used of it, and kept to at once by the hub that runs."""
    hub = hub_on_each_database
    hub.create_user("ann", "correct horse")
    make = {"namespace": "ann", "visibility": "private"}

    def made(name: str) -> int:
        new = {**make, "name": name}
        return httpx2.post(f"{hub.url}/api/v1/repositories", json=new, auth=("ann", "correct horse")).status_code

    said = hub.admin("set-plan", "ann", "--private-repositories", "1")
    answers = [made("one"), made("two")]
    listed = hub.admin("list-users").splitlines()[1].split()
    hub.admin("set-plan", "ann", "--private-repositories", "unlimited")

    assert said == "ann has 0/1 private repositories\n"
    assert answers == [201, 403]
    assert listed[-1] == "1/1"
    assert made("two") == 201
    assert hub.admin("list-users").splitlines()[1].endswith(" 2/unlimited")
    assert hub.try_admin("set-plan", "ann", "--private-repositories", "many").returncode == 2
    assert hub.try_admin("set-plan", "ben", "--private-repositories", "1").returncode == 1


def test_refusals(hub: HytheServer) -> None:
    """Exit code 1, every bad field named, and nothing done."""
    hub.create_user("ann", "correct horse")

    taken = hub.try_admin("create-user", "ann", "--email", "x@example.com", "--password-stdin", stdin="correct horse")
    wrong = hub.try_admin("create-user", "Ann_", "--email", "x", "--password-stdin", stdin="short")
    nobody = hub.try_admin("set-password", "ben", "--password-stdin", stdin="correct horse")

    assert [done.returncode for done in (taken, wrong, nobody)] == [1, 1, 1]
    assert "exists" in taken.stderr
    assert all(f"{field}: must" in wrong.stderr for field in ("username", "email", "password"))
    assert "user 'ben' does not exist" in nobody.stderr
    assert len(hub.admin("list-users").splitlines()) == 2


@pytest.mark.parametrize("verb", [["list-users"], ["set-password", "ann", "--password-stdin"], ["gc", "--dry-run"]])
def test_a_folder_without_a_hub(verb: list[str], tmp_path: Path) -> None:
    """A mistyped folder is not made a second, empty hub."""
    folder = tmp_path / "mistyped"

    done = subprocess.run(
        [HYTHE, "admin", *verb, "--data", folder], input="correct horse", capture_output=True, text=True
    )

    assert (done.returncode, done.stdout) == (1, "")
    assert f"there is no hub in {folder}" in done.stderr
    assert not folder.exists()


def test_the_first_administrator(tmp_path: Path, start_hub: Callable[..., HytheServer]) -> None:
    """May be made before the hub's first start, and is told where that hub will be."""
    folder = tmp_path / "new"
    command = [HYTHE, "admin", "create-user", "root", "--email", "r@example.com", "--admin", "--password-stdin"]

    reserved = subprocess.run([*command, "--data", folder], input="correct horse", capture_output=True, text=True)
    command[3] = "ann"
    made = subprocess.run([*command, "--data", folder], input="correct horse", capture_output=True, text=True)

    assert (reserved.returncode, made.returncode, made.stdout) == (1, 0, "created ann (administrator)\n")
    assert f"there was no hub in {folder}" in reserved.stderr
    assert signed_in(start_hub(data=folder), "ann", "correct horse")


def test_an_address_in_use(hub: HytheServer, tmp_path: Path) -> None:
    """A server that cannot listen says where."""
    command = [HYTHE, "serve", "--listen", hub.host, "--data", tmp_path / "other"]

    done = subprocess.run(command, capture_output=True, text=True)

    assert done.returncode == 1
    assert f"{hub.host}: Address already in use" in done.stderr
