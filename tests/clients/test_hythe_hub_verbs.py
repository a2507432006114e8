"""The verbs `org`, `team`, `repo` and `token` with a running hub: the daily work of teams in a shell."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest
from tests.parts.hub import HUB, HytheServer, server_factory
from tests.parts.hythe_shell import HytheShell
from tests.parts.process import ROOT

PASSWORD = "correct horse battery"
PEOPLE = ("ann", "ben", "eve")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HytheServer]:
    """One hub for all tests of this file, which use unique names."""
    with server_factory(tmp_path_factory.mktemp("verbs"), HUB) as start:
        yield start()


@pytest.fixture(scope="module")
def people(server: HytheServer, tmp_path_factory: pytest.TempPathFactory) -> dict[str, HytheShell]:
    """The shell of each of PEOPLE, logged in."""
    shells = {}
    for name in PEOPLE:
        server.create_user(name, PASSWORD)
        shells[name] = HytheShell(tmp_path_factory.mktemp(name), server.host)
        shells[name].login(name, PASSWORD)
    return shells


@pytest.fixture
def ann(people: dict[str, HytheShell]) -> HytheShell:
    """The shell of Ann."""
    return people["ann"]


@pytest.fixture
def ben(people: dict[str, HytheShell]) -> HytheShell:
    """The shell of Ben."""
    return people["ben"]


@pytest.fixture
def stranger(server: HytheServer, tmp_path: Path) -> HytheShell:
    """A shell that is not logged in."""
    return HytheShell(tmp_path, server.host)


@pytest.fixture
def found(ann: HytheShell, ben: HytheShell) -> Callable[[str], str]:
    """A function that creates an organization of Ann's that Ben is a member of, and returns its name."""

    def create(name: str) -> str:
        ann.ok("org", "create", name)
        ann.ok("org", "invite", name, "ben")
        (number,) = (row["id"] for row in ben.json("org", "invitations") if row["organization"] == name)
        ben.ok("org", "accept", str(number))
        return name

    return create


def test_an_organization_from_invitation_to_deletion(ann: HytheShell, ben: HytheShell) -> None:
    """Create, invite, accept, decline, change roles, leave, delete; every list has --json and -q."""
    assert ann.ok("org", "create", "guild") == f"Created guild: docker push {ann.host}/guild/IMAGE"
    assert ann.ok("org", "invite", "guild", "ben", "--role", "owner") == "Invited ben to guild"
    ann.ok("org", "invite", "guild", "zoe@example.com")

    (invitation,) = ben.json("org", "invitations")
    (row,) = ben.ok("org", "invitations").splitlines()[1:]
    assert (invitation["organization"], invitation["role"]) == ("guild", "owner")
    assert row.split() == [str(invitation["id"]), "guild", "owner", "ann"]
    assert ben.ok("org", "decline", str(invitation["id"])) == f"Declined invitation {invitation['id']}"
    ann.ok("org", "invite", "guild", "ben", "--role", "owner")
    (again,) = ben.ok("org", "invitations", "-q").splitlines()
    assert ben.ok("org", "accept", again) == f"Accepted invitation {again}"

    assert {(each["username"], each["role"]) for each in ben.json("org", "members", "guild")} == {
        ("ann", "owner"),
        ("ben", "owner"),
    }
    assert ann.ok("org", "set-role", "guild", "ben", "member") == "ben is member of guild"
    assert "guild" in ben.ok("org", "list", "-q").splitlines()
    assert ben.ok("org", "leave", "guild") == "You are no longer a member of guild"
    assert ann.ok("org", "members", "guild", "--format", "{{.User}}={{.Role}}") == "ann=owner"
    last = ann.run("org", "leave", "guild")
    assert last.code != 0
    assert "owner" in last.err

    assert ann.run("org", "delete", "guild").code == 2
    assert ann.ok("org", "delete", "guild", "--yes") == "Deleted guild"
    assert ann.run("org", "view", "guild").code == 3


def test_the_rules_of_an_organization(ann: HytheShell, ben: HytheShell, found: Callable[[str], str]) -> None:
    """`edit` changes what its flags name and keeps the rest; members may read the rules and not change them."""
    name = found("rules")

    changed = ann.json("org", "edit", name, "--member-role", "read", "--members-create", "no")
    ann.ok("org", "edit", name, "--default-visibility", "private")
    shown = json.loads(ben.ok("org", "view", name))
    refused = ben.run("org", "edit", name, "--members-create", "yes")
    nothing = ann.run("org", "edit", name)

    assert (changed["member_role"], changed["members_create"]) == ("read", False)
    rules = ("default_visibility", "member_role", "members_create", "require_second_factor", "role")
    assert [shown[rule] for rule in rules] == ["private", "read", False, False, "member"]
    assert refused.code == 4
    assert "error: " in refused.err
    assert (nothing.code, nothing.err.splitlines()[0]) == (2, "error: nothing to change")


def test_removing_a_member(ann: HytheShell, ben: HytheShell, found: Callable[[str], str]) -> None:
    """An owner removes a member, who then no longer sees the organization among theirs."""
    name = found("small")

    assert ann.ok("org", "remove-member", name, "ben") == f"ben is no longer a member of {name}"
    assert name not in ben.ok("org", "list", "-q").splitlines()
    assert ann.run("org", "remove-member", name, "ben").code == 3


def test_teams(ann: HytheShell, ben: HytheShell, found: Callable[[str], str]) -> None:
    """A team gives its members a role on repositories and patterns, until it is revoked."""
    name = found("crew")
    ann.ok("org", "edit", name, "--member-role", "none")
    ann.ok("repo", "create", f"{name}/app-web", "--visibility", "private")
    team = f"{name}/developers"

    assert ann.ok("team", "create", team, "-d", "Who builds it") == f"Created team developers of {name}"
    assert ann.ok("team", "add", team, "ben") == f"Added ben to {team}"
    assert ann.ok("team", "grant", team, "app-*", "--role", "write") == f"{team} has the role write on app-*"
    assert ann.json("team", "list", name)[0]["description"] == "Who builds it"
    assert ann.ok("team", "members", team, "-q") == "ben"
    assert ann.ok("team", "grants", team, "--format", "{{.Repositories}} {{.Role}}") == "app-* write"
    ben.ok("repo", "edit", f"{name}/app-web", "-d", "Changed by Ben")
    assert ann.json("repo", "view", f"{name}/app-web")["description"] == "Changed by Ben"

    assert ann.ok("team", "revoke", team, "app-*") == f"{team} has no role on app-* any more"
    hidden = ben.run("repo", "view", f"{name}/app-web")
    assert hidden.code == 3
    assert ann.ok("team", "remove", team, "ben") == f"Removed ben from {team}"
    assert ann.ok("team", "members", team, "-q") == ""
    assert ann.ok("team", "delete", team, "--yes") == f"Deleted team {team}"
    assert ann.run("team", "members", team).code == 3
    assert ann.run("team", "add", name, "ben").code == 2


def test_repositories(ann: HytheShell, stranger: HytheShell) -> None:
    """Create, list, change, rename and delete a repository; a prompt protects it."""
    created = ann.ok("repo", "create", "ann/tool", "--visibility", "private", "-d", "A tool")
    assert created == f"Created ann/tool: docker push {ann.host}/ann/tool"
    twice = ann.run("repo", "create", "ann/tool")
    assert twice.code == 7
    assert stranger.run("repo", "view", "ann/tool").code == 3

    edited = ann.json("repo", "edit", "ann/tool", "--visibility", "public")
    assert (edited["visibility"], edited["description"]) == ("public", "A tool")
    assert json.loads(stranger.ok("repo", "view", "ann/tool"))["name"] == "tool"
    assert "ann/tool" in ann.ok("repo", "list", "-q").splitlines()
    (listed,) = (row for row in stranger.json("repo", "list", "ann") if row["name"] == "tool")
    assert listed["description"] == "A tool"
    assert len(ann.ok("repo", "list", "--limit", "1").splitlines()) == 2

    assert ann.ok("repo", "rename", "ann/tool", "hammer") == "Renamed ann/tool to ann/hammer"
    assert json.loads(stranger.ok("repo", "view", "ann/tool"))["name"] == "hammer"
    moved = ann.run("repo", "edit", "ann/tool", "-d", "x")
    assert moved.code == 3
    assert moved.err == "error: ann/tool is now ann/hammer\nhint: use ann/hammer\n"

    unasked = ann.run("repo", "delete", "ann/hammer")
    assert unasked.code == 2
    assert "hint: use --yes" in unasked.err
    kept = ann.run("repo", "delete", "ann/hammer", typed="n\n")
    assert kept.code == 1
    assert "Delete ann/hammer with all its images? [y/N]" in kept.err
    assert ann.ok("repo", "delete", "ann/hammer", typed="y\n") == "Deleted ann/hammer"
    assert ann.run("repo", "view", "ann/hammer").code == 3


def test_collaborators_and_transfers(ann: HytheShell, ben: HytheShell, found: Callable[[str], str]) -> None:
    """A user who is invited accepts; a transfer to one's own organization is done, to another user it is offered."""
    name = found("receivers")
    for repository in ("ann/shared", "ann/moving", "ann/offered"):
        ann.ok("repo", "create", repository)

    assert ann.ok("repo", "add-collaborator", "ann/shared", "ben", "--role", "admin") == "Invited ben to ann/shared"
    (number,) = (row["id"] for row in ben.json("org", "invitations") if row.get("repository") == "ann/shared")
    ben.ok("org", "accept", str(number))
    ben.ok("repo", "edit", "ann/shared", "-d", "By a collaborator")
    changed = ann.ok("repo", "add-collaborator", "ann/shared", "ben", "--role", "read")
    assert changed == "Gave ben the role read on ann/shared"
    assert ann.ok("repo", "collaborators", "ann/shared", "--format", "{{.User}} {{.Role}}") == "ben read"
    assert ben.run("repo", "edit", "ann/shared", "-d", "x").code == 4
    removed = ann.ok("repo", "remove-collaborator", "ann/shared", "ben")
    assert removed == "ben is no longer a collaborator of ann/shared"

    assert ann.ok("repo", "transfer", "ann/moving", name) == f"Transferred ann/moving to {name}"
    assert f"{name}/moving" in ann.ok("repo", "list", name, "-q")
    offered = ann.ok("repo", "transfer", "ann/offered", "ben")
    assert offered.startswith("Offered ann/offered to ben, who can accept it until ")
    assert ben.json("repo", "list", "ben") == []


def test_offers(ann: HytheShell, ben: HytheShell, people: dict[str, HytheShell]) -> None:
    """Users and owners of organizations list what is offered to them, and accept or decline it; others see nothing."""
    ben.ok("org", "create", "harbor")
    ben.ok("org", "invite", "harbor", "eve")
    eve = people["eve"]
    (invitation,) = (row for row in eve.json("org", "invitations") if row["organization"] == "harbor")
    eve.ok("org", "accept", str(invitation["id"]))
    receivers = {"ann/barge": "harbor", "ann/canoe": "ben", "ann/dinghy": "harbor"}
    for repository, receiver in receivers.items():
        ann.ok("repo", "create", repository, "--visibility", "private")
        ann.ok("repo", "transfer", repository, receiver)

    offers = {each["repository"]: each for each in ben.json("repo", "offers") if each["repository"] in receivers}
    assert {name: each["to"] for name, each in offers.items()} == receivers
    assert ben.ok("repo", "offers", "harbor", "--format", "{{.Repository}} {{.NewName}} {{.From}}").splitlines() == [
        "ann/barge harbor/barge ann",
        "ann/dinghy harbor/dinghy ann",
    ]
    heading, first, _ = ben.ok("repo", "offers", f"{ben.host}/harbor").splitlines()
    assert heading.split() == ["REPOSITORY", "NEW", "NAME", "FROM", "EXPIRES"]
    assert re.fullmatch(r"ann/barge +harbor/barge +ann +20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ", first)
    assert eve.ok("repo", "offers", "-q") == ""

    assert ben.ok("repo", "accept", "ann/barge") == "Accepted ann/barge, which is now harbor/barge"
    assert ben.json("repo", "accept", f"{ben.host}/ann/canoe")["repository"] == "ben/canoe"
    for refused in (eve.run("repo", "decline", "ann/dinghy"), ben.run("repo", "accept", "ann/barge")):
        assert refused.code == 3
        assert "is not offered to you" in refused.err
        assert "hint: 'hythe repo offers' lists what is offered" in refused.err
    assert eve.run("repo", "offers", "harbor").code == 4
    assert ben.ok("repo", "decline", "ann/dinghy") == "Declined ann/dinghy"
    assert ben.ok("repo", "offers", "harbor", "-q") == ""
    assert ann.json("repo", "view", "ann/dinghy")["name"] == "dinghy"
    assert ben.run("repo", "accept", "dinghy").code == 2
    assert ben.ok("completion", "words", "--", "repo", "acc") == "accept"
    assert "offers" in ben.ok("completion", "words", "--", "repo", "").splitlines()


def test_tokens(ann: HytheShell, stranger: HytheShell) -> None:
    """The secret alone is on stdout; a token is limited, rotated and revoked."""
    created = ann.run("token", "create", "ci", "--right", "pull", "--repository", "ann/ci-*", "--expires-in", "90")
    assert created.code == 0
    secret = created.out.strip()
    assert re.fullmatch(r"hythe_p[0-9A-Za-z]{46}", secret)
    assert created.err == "This is shown only once:\n"
    (token,) = (each for each in ann.json("token", "list") if each["name"] == "ci")
    assert (token["rights"], token["repositories"]) == (["repo:read"], ["ann/ci-*"])
    (line,) = (each for each in ann.ok("token", "list").splitlines() if " ci " in each)
    assert line.split()[:4] == [str(token["id"]), "ci", "pull", "ann/ci-*"]
    stranger.login("ann", secret)
    assert stranger.run("repo", "create", "ann/ci-1").code == 4

    number = str(token["id"])
    assert ann.ok("token", "list").splitlines()[0].split()[-3:] == ["LAST", "USED", "FROM"]
    (line,) = (each for each in ann.ok("token", "list").splitlines() if " ci " in each)
    assert line.split()[-1] == "127.0.0.1"
    assert ann.ok("token", "edit", number, "--name", "jobs", "--right", "push", "--all-repositories") == (
        f"Changed token {number}"
    )
    (token,) = (each for each in ann.json("token", "list") if each["name"] == "jobs")
    assert (token["rights"], token.get("repositories")) == (["repo:write"], None)
    for words in ((), ("--repository", "ann/a", "--all-repositories")):
        assert ann.run("token", "edit", number, *words).code == 2
    assert ann.run("token", "edit", number, "--right", "pull", "--repository", "ann/ci-1").code == 0
    rotated = ann.ok("token", "rotate", number, "--expires-in", "3")
    (shortened,) = (each for each in ann.json("token", "list") if each["name"] == "jobs")
    assert shortened["expires_at"] < token["expires_at"]
    assert rotated != secret
    assert _status(ann, secret) == 401
    assert _status(ann, rotated) == 200
    assert ann.ok("token", "revoke", number) == f"Revoked token {number}"
    assert _status(ann, rotated) == 401
    ended = stranger.run("repo", "list")
    assert ended.code == 4
    assert f"hint: log in: hythe login {ann.host}" in ended.err
    assert ann.run("token", "revoke", number).code == 3


def _status(shell: HytheShell, secret: str) -> int:
    headers = {"Authorization": f"Bearer {secret}"}
    return httpx2.get(f"http://{shell.host}/api/v1/repositories/ann", headers=headers).status_code


def test_errors_say_what_to_do(ann: HytheShell, stranger: HytheShell) -> None:
    """Not logged in, wrong names, two hubs, no hub: each has its exit code and a hint."""
    host = ann.host
    for words, code, what in (
        (("org", "list"), 4, f"hint: log in: hythe login {host}"),
        (("token", "list"), 4, f"hint: log in: hythe login {host}"),
        (("org", "view", "none-such"), 3, "hint: check the name, or log in to see what is private"),
        (("repo", "view", "ann"), 2, "hint: use NAMESPACE/NAME"),
        (("repo", "view", "ann/"), 2, "hint: use NAMESPACE/NAME"),
        (("org", "list", "--host", "127.0.0.1:1"), 5, "hint: check the address, and that the server is running"),
        (("org", "view", f"{host}/acme", "--host", "other.example"), 2, "hint: omit --host"),
        (("repo", "frobnicate"), 2, "hint: 'hythe help repo' shows flags and examples"),
    ):
        done = stranger.run(*words)
        assert (done.code, done.out) == (code, ""), (words, done)
        assert what in done.err, (words, done.err)
    invalid = ann.run("org", "create", "UPPER")
    assert invalid.code == 1
    assert "error: name: " in invalid.err
    assert ann.run("repo", "create", "ben/mine").code == 4


def test_the_examples_of_the_documentation(ann: HytheShell) -> None:
    """Each line of the section of docs/client.md on these verbs works, in its order."""
    page = (ROOT / "docs/client.md").read_text()
    section = page.partition("## Organizations, teams, repositories and tokens")[2].partition("\n## ")[0]
    lines = [line for block in re.findall(r"```\n(.*?)```", section, re.DOTALL) for line in block.splitlines()]
    assert len(lines) > 20
    shown = ""
    for line in lines:
        (_, *words) = shlex.split(line.partition(" > ")[0], comments=True)
        if words[:2] == ["api", "repositories/acme/app-web"] and "--include" in words:
            ann.ok("repo", "create", "acme/app-web")  # the lines above renamed and deleted it
        if words[:2] in (["token", "edit"], ["token", "rotate"], ["token", "revoke"]):
            words[2] = next(str(each["id"]) for each in ann.json("token", "list") if each["name"] == "ci")
        shown = ann.ok(*(word.replace('"0123.."', _etag(shown)) if '"0123.."' in word else word for word in words))


def _etag(shown: str) -> str:
    (etag,) = (line.partition(" ")[2] for line in shown.splitlines() if line.lower().startswith("etag: "))
    return etag


def test_the_hub_in_a_name_or_flag(ann: HytheShell, tmp_path: Path) -> None:
    """HOST/ before a name and --host choose the hub, whatever the default registry is."""
    elsewhere = HytheShell(ann.home, "other.example")
    ann.ok("repo", "create", "ann/placed")

    by_name = json.loads(elsewhere.ok("repo", "view", f"{ann.host}/ann/placed"))
    by_flag = json.loads(elsewhere.ok("repo", "view", "ann/placed", "--host", ann.host))

    assert by_name == by_flag
    assert by_name["name"] == "placed"


def test_a_private_registry_is_no_hub(start_private_registry: Callable[..., HytheServer], tmp_path: Path) -> None:
    """The error says so, instead of that a name does not exist."""
    shell = HytheShell(tmp_path, start_private_registry().host)

    done = shell.run("org", "view", "acme")

    assert done.code == 5
    assert f"error: {shell.host} is not a hythe hub" in done.err
    assert "hint: name your hub: HOST/NAME, or --host HOST" in done.err


def test_owners_read_the_audit_log(ann: HytheShell, ben: HytheShell, found: Callable[[str], str]) -> None:
    """Of an organization and of their own account, filtered; others are refused."""
    name = found("audited")
    ann.ok("team", "create", f"{name}/core")

    first = ann.ok("org", "audit", name).splitlines()[0]
    assert re.fullmatch(rf"\S+ \S+  team.create  {name}/core  ann \((login|password), 127.0.0.1\)", first)
    (line,) = ann.ok("org", "audit", name, "--action", "team.create", "--json").splitlines()
    assert json.loads(line)["target"] == f"{name}/core"
    assert ann.ok("org", "audit", name, "--actor", "ben").split()[2] == "invitation.accept"
    assert ann.ok("org", "audit", name, "--since", "2100-01-01") == ""
    assert len(ann.ok("org", "audit", "ann", "--limit", "1").splitlines()) == 1
    refused = ben.run("org", "audit", name)
    assert refused.code != 0
    assert "owner" in refused.err
