"""hythe's client against hythe's hub: search, sign-up, login, private repositories."""

from __future__ import annotations

import contextlib
import json
import urllib.error
import urllib.request
from collections.abc import Callable

import pytest
from tests.parts.base_images import Layout
from tests.parts.hub import HytheServer
from tests.parts.hythe_client import HytheClient
from tests.parts.terminal import converse

pytestmark = pytest.mark.clients

PASSWORD = "correct horse battery"


def exists(hub: HytheServer, name: str) -> bool:
    """Whether there is an account of that name."""
    with contextlib.suppress(urllib.error.HTTPError), urllib.request.urlopen(f"{hub.url}/api/v1/users/{name}"):
        return True
    return False


def test_a_free_name_becomes_an_account_after_a_clear_yes(hub: HytheServer, hythe: HytheClient) -> None:
    """Login says that the name is free, asks, then wants the password twice and the e-mail; then one is logged in."""
    code, shown = converse(
        [*hythe.command, "login", hub.host],
        hythe.env,
        ("Username:", "ann"),
        ("Create an account with the name 'ann'? [y/N]", "yes"),
        ("Password:", PASSWORD),
        ("Repeat password:", PASSWORD),
        ("Email:", "ann@example.com"),
    )

    assert code == 0, shown
    assert "There is no account named 'ann'" in shown
    assert "Login Succeeded" in shown
    assert PASSWORD not in shown
    assert exists(hub, "ann")
    assert hub.host in json.loads(hythe.docker_config.read_text())["auths"]


@pytest.mark.parametrize("answer", ["", "n", "maybe", "ann"])
def test_without_a_clear_yes_nothing_is_made_and_no_password_asked(
    hub: HytheServer, hythe: HytheClient, answer: str
) -> None:
    """A mistyped name makes no account and sends no password away."""
    code, shown = converse([*hythe.command, "login", hub.host], hythe.env, ("Username:", "anm"), ("[y/N]", answer))

    assert code == 3
    assert "Password" not in shown
    assert "no account named 'anm'" in shown
    assert not exists(hub, "anm")
    assert not hythe.docker_config.exists()


def test_a_taken_name_asks_for_its_password(hub: HytheServer, hythe: HytheClient) -> None:
    """As docker login does; a wrong password is refused and nothing is kept."""
    hub.create_user("ann", PASSWORD)
    wrong, said = converse(
        [*hythe.command, "login", hub.host], hythe.env, ("Username:", "ann"), ("Password:", "wrong one")
    )
    right, _ = converse([*hythe.command, "login", "-u", "ann", hub.host], hythe.env, ("Password:", PASSWORD))

    assert wrong == 4, said
    assert "incorrect username or password" in said
    assert "hint: check the user name and password" in said
    assert right == 0
    entry = json.loads(hythe.docker_config.read_text())["auths"][hub.host]
    assert entry["identitytoken"]
    assert PASSWORD not in hythe.docker_config.read_text()


def test_a_name_that_cannot_be_is_not_offered(hub: HytheServer, hythe: HytheClient) -> None:
    """No account Ann: names are lower case; it is a wrong name like any other."""
    code, shown = converse(
        [*hythe.command, "login", hub.host], hythe.env, ("Username:", "Ann"), ("Password:", "secret one")
    )

    assert code == 4
    assert "Create an account" not in shown


def test_where_sign_up_is_closed_no_account_is_offered(
    start_hub: Callable[..., HytheServer], hythe: HytheClient
) -> None:
    """A free name is then just a wrong one."""
    hub = start_hub(["--no-sign-up"])
    code, shown = converse(
        [*hythe.command, "login", hub.host], hythe.env, ("Username:", "ann"), ("Password:", "secret one")
    )

    assert code == 4
    assert "Create an account" not in shown


def test_a_password_from_stdin_never_prompts_and_never_makes_an_account(hub: HytheServer, hythe: HytheClient) -> None:
    """For scripts: a name without an account is refused."""
    refused = hythe.run("login", "-u", "ann", "--password-stdin", hub.host, stdin=PASSWORD)

    assert refused.returncode == 4
    assert not exists(hub, "ann")


def test_register_makes_an_account_openly(hub: HytheServer, hythe: HytheClient) -> None:
    """Once; a taken name, and a password that is too short, are told apart."""
    flags = ["--email", "ann@example.com", "--password-stdin", hub.host]
    made = hythe.run("register", "-u", "ann", *flags, stdin=PASSWORD)
    taken = hythe.run("register", "-u", "ann", *flags, stdin=PASSWORD)
    short = hythe.run("register", "-u", "bob", "--email", "b@example.com", "--password-stdin", hub.host, stdin="x")

    assert made.returncode == 0, made.stderr
    assert made.stdout == "Login Succeeded\n"
    assert taken.returncode == 7
    assert short.returncode == 1
    assert short.stderr.count("password: must have") == 1


def test_share_and_find_an_image(hub: HytheServer, hythe: HytheClient, busybox_layout: Layout) -> None:
    """Log in, push, search, and pull as somebody else who needs no account."""
    hub.create_user("ann", PASSWORD)
    hythe.login(hub.host, "ann", PASSWORD)
    name = f"{hub.host}/ann/kickassapp"
    hythe.ok("copy", "-q", f"oci:{busybox_layout.folder}", f"store:{name}")
    hythe.ok("push", name)
    lines = hythe.ok("search", f"{hub.host}/kick").splitlines()
    found = hythe.json("search", f"{hub.host}/kickass")
    hythe.ok("logout", hub.host)
    hythe.ok("rmi", name)

    assert lines[0].split() == ["NAME", "DESCRIPTION", "STARS", "OFFICIAL", "AUTOMATED"]
    assert lines[1].split()[0] == "ann/kickassapp"
    assert [one["name"] for one in found] == ["ann/kickassapp"]
    assert "Downloaded newer image" in hythe.ok("pull", name)


def test_a_private_repository_is_its_owners_alone(hub: HytheServer, hythe: HytheClient, busybox_layout: Layout) -> None:
    """The owner pulls with the identity token that login kept, others are told that it may not exist."""
    hub.create_user("ann", PASSWORD)
    body = json.dumps({"namespace": "ann", "name": "hidden", "visibility": "private"}).encode()
    request = urllib.request.Request(f"{hub.url}/api/v1/repositories", body, {"Content-Type": "application/json"})
    passwords = urllib.request.HTTPPasswordMgrWithPriorAuth()
    passwords.add_password(None, hub.url, "ann", PASSWORD, is_authenticated=True)
    urllib.request.build_opener(urllib.request.HTTPBasicAuthHandler(passwords)).open(request)
    hythe.login(hub.host, "ann", PASSWORD)
    name = f"{hub.host}/ann/hidden"
    hythe.ok("copy", "-q", f"oci:{busybox_layout.folder}", name)
    hythe.ok("pull", name)
    hythe.ok("logout", hub.host)
    refused = hythe.run("pull", name)

    assert refused.returncode in (3, 4)
    assert "hythe login" in refused.stderr


def test_anothers_namespace_refuses_a_push_with_the_reason(
    hub: HytheServer, hythe: HytheClient, busybox_layout: Layout
) -> None:
    """denied, in the hub's words, and who one is."""
    hub.create_user("ann", PASSWORD)
    hub.create_user("bob", PASSWORD)
    hythe.login(hub.host, "bob", PASSWORD)
    refused = hythe.run("copy", "-q", f"oci:{busybox_layout.folder}", f"{hub.host}/ann/app")

    assert refused.returncode == 4
    assert "denied" in refused.stderr
    assert "hint:" in refused.stderr
