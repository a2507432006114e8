"""hythe's client with hythe's hub: search, sign-up, login, private repositories."""

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
    """Whether an account has the name."""
    with contextlib.suppress(urllib.error.HTTPError), urllib.request.urlopen(f"{hub.url}/api/v1/users/{name}"):
        return True
    return False


def test_login_creates_an_account_after_confirmation(hub: HytheServer, hythe: HytheClient) -> None:
    """Login offers to create the account, prompts for the password twice and the e-mail address, and logs in."""
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
def test_login_without_confirmation_creates_nothing(hub: HytheServer, hythe: HytheClient, answer: str) -> None:
    """A mistyped name creates no account and sends no password."""
    code, shown = converse([*hythe.command, "login", hub.host], hythe.env, ("Username:", "anm"), ("[y/N]", answer))

    assert code == 3
    assert "Password" not in shown
    assert "no account named 'anm'" in shown
    assert not exists(hub, "anm")
    assert not hythe.docker_config.exists()


def test_login_prompts_for_the_password_of_an_account(hub: HytheServer, hythe: HytheClient) -> None:
    """Like docker login, it prompts for the password; a wrong one is refused and not stored."""
    hub.create_user("ann", PASSWORD)
    code, output = converse(
        [*hythe.command, "login", hub.host], hythe.env, ("Username:", "ann"), ("Password:", "wrong one")
    )
    right, _ = converse([*hythe.command, "login", "-u", "ann", hub.host], hythe.env, ("Password:", PASSWORD))

    assert code == 4, output
    assert "incorrect username or password" in output
    assert "hint: check the user name and password" in output
    assert right == 0
    entry = json.loads(hythe.docker_config.read_text())["auths"][hub.host]
    assert entry["identitytoken"]
    assert PASSWORD not in hythe.docker_config.read_text()


def test_login_does_not_offer_an_invalid_name(hub: HytheServer, hythe: HytheClient) -> None:
    """An upper-case name cannot be an account: it is refused like any unknown name."""
    code, shown = converse(
        [*hythe.command, "login", hub.host], hythe.env, ("Username:", "Ann"), ("Password:", "secret one")
    )

    assert code == 4
    assert "Create an account" not in shown


def test_login_offers_no_account_without_sign_up(start_hub: Callable[..., HytheServer], hythe: HytheClient) -> None:
    """Without sign-up, an unknown name is refused without an offer."""
    hub = start_hub(["--no-sign-up"])
    code, shown = converse(
        [*hythe.command, "login", hub.host], hythe.env, ("Username:", "ann"), ("Password:", "secret one")
    )

    assert code == 4
    assert "Create an account" not in shown


def test_a_password_from_stdin_never_creates_an_account(hub: HytheServer, hythe: HytheClient) -> None:
    """Scripts get an error for a name without an account."""
    refused = hythe.run("login", "-u", "ann", "--password-stdin", hub.host, stdin=PASSWORD)

    assert refused.returncode == 4
    assert not exists(hub, "ann")


def test_register_creates_an_account(hub: HytheServer, hythe: HytheClient) -> None:
    """The errors distinguish an existing account from a short password."""
    flags = ["--email", "ann@example.com", "--password-stdin", hub.host]
    created = hythe.run("register", "-u", "ann", *flags, stdin=PASSWORD)
    taken = hythe.run("register", "-u", "ann", *flags, stdin=PASSWORD)
    short = hythe.run("register", "-u", "bob", "--email", "b@example.com", "--password-stdin", hub.host, stdin="x")

    assert created.returncode == 0, created.stderr
    assert created.stdout == "Login Succeeded\n"
    assert taken.returncode == 7
    assert short.returncode == 1
    assert short.stderr.count("password: must have") == 1


def test_share_and_find_an_image(hub: HytheServer, hythe: HytheClient, busybox_layout: Layout) -> None:
    """Log in, push, search, and pull as another user without an account."""
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


def test_a_private_repository_is_only_for_its_owner(
    hub: HytheServer, hythe: HytheClient, busybox_layout: Layout
) -> None:
    """The owner pulls with the identity token that login stored; others see that the image may not exist."""
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


def test_a_push_to_another_namespace_is_denied_with_the_reason(
    hub: HytheServer, hythe: HytheClient, busybox_layout: Layout
) -> None:
    """The hub's message says access is denied, and names the user."""
    hub.create_user("ann", PASSWORD)
    hub.create_user("bob", PASSWORD)
    hythe.login(hub.host, "bob", PASSWORD)
    refused = hythe.run("copy", "-q", f"oci:{busybox_layout.folder}", f"{hub.host}/ann/app")

    assert refused.returncode == 4
    assert "denied" in refused.stderr
    assert "hint:" in refused.stderr
