"""The verbs of ``hythe admin`` for repositories, lists, the audit log, the queue and workers, next to a running hub."""

from __future__ import annotations

import io
import json
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest
from tests.builds.hand_worker import BY_HAND, HandWorker
from tests.parts.hub import HytheServer

from hythe.cli.main import main

PASSWORD = "correct horse"
DIGEST = f"sha256:{64 * 'b'}"


class Admin:
    """Runs verbs of ``hythe admin`` in this process, which saves most of a second of imports."""

    def __init__(self, hub: HytheServer, capsys: pytest.CaptureFixture[str]) -> None:
        self._flags = [str(each) for each in hub.data_flags()]
        self._capsys = capsys

    def fail(self, *words: str, code: int = 1) -> str:
        """Run a verb that must fail, and return the error."""
        self._capsys.readouterr()
        assert main(["admin", *words, *self._flags]) == code
        return self._capsys.readouterr().err

    def __call__(self, *words: str) -> str:
        """Run a verb and return the output."""
        self._capsys.readouterr()
        code = main(["admin", *words, *self._flags])
        done = self._capsys.readouterr()
        assert code == 0, done.err
        return done.out

    def rows(self, *words: str) -> list[list[str]]:
        """Return the cells of a table, without its headings; cells contain no spaces of their own."""
        return [line.split() for line in self(*words).splitlines()[1:]]

    def json(self, *words: str) -> Any:
        """Return what a verb prints with --json."""
        return json.loads(self(*words, "--json"))


@pytest.fixture
def admin(shared_hub: HytheServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Admin:
    """The verbs on the shared hub."""
    for name in [name for name in os.environ if name.startswith("HYTHE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    return Admin(shared_hub, capsys)


@pytest.fixture
def client(shared_hub: HytheServer) -> Iterator[Callable[..., httpx2.Client]]:
    """Return a function that creates an account, once, and returns its client."""
    opened: list[httpx2.Client] = []

    def make(name: str, *, administrator: bool = False) -> httpx2.Client:
        shared_hub.create_user(name, PASSWORD, admin=administrator)
        opened.append(httpx2.Client(base_url=shared_hub.url, timeout=60, auth=(name, PASSWORD)))
        return opened[-1]

    yield make
    for each in opened:
        each.close()


def create(owner: httpx2.Client, namespace: str, name: str, visibility: str = "private") -> str:
    """Create a repository and return its path in the API."""
    new = {"namespace": namespace, "name": name, "visibility": visibility}
    assert owner.post("/api/v1/repositories", json=new).status_code == 201
    return f"/api/v1/repositories/{namespace}/{name}"


def actions(admin: Admin, namespace: str) -> list[str]:
    """Return what the audit log of a namespace says, newest first."""
    lines = admin("audit", "--namespace", namespace, "--json").splitlines()
    return [json.loads(line)["action"] for line in lines]


def test_open_a_private_repository(admin: Admin, client: Callable[..., httpx2.Client]) -> None:
    """For an administrator, who reads it then; the owners learn why and to whom."""
    owner, root = client("oona"), client("opal", administrator=True)
    path = create(owner, "oona", "app")
    assert root.get(path).status_code == 404

    refused = admin.fail("open", "oona/app", "--to", "oona", "--reason", "x")
    output = admin("open", "oona/app", "--to", "opal", "--reason", "ticket 7")

    assert "'oona' is no administrator" in refused
    assert output.startswith("opal may read oona/app until ")
    assert root.get(path).status_code == 200
    entry = json.loads(admin("audit", "--action", "repository.open", "--target", "oona/app", "--json"))
    assert (entry["actor"], entry["detail"]["administrator"], entry["detail"]["reason"]) == (
        "operator",
        "opal",
        "ticket 7",
    )


def test_repositories(admin: Admin, client: Callable[..., httpx2.Client]) -> None:
    """Official, taken down and restored, deleted: each with an entry that its owner sees."""
    owner = client("olaf")
    path = create(owner, "olaf", "app", "public")

    admin("official", "olaf/app")
    official = owner.get(path).json()["official"]
    listed = [row[0] for row in admin.rows("repositories", "--official", "ap")]
    admin("official", "olaf/app", "--undo")
    admin("take-down", "olaf/app", "--reason", "mines coins")
    taken_down = {row["repository"]: row["reason"] for row in admin.json("taken-down")}
    (found,) = admin.json("repositories", "olaf/ap")
    admin("restore", "olaf/app")
    unconfirmed = admin.fail("delete-repository", "olaf/app", "--reason", "it is malware", code=2)
    admin("delete-repository", "olaf/app", "--reason", "it is malware", "--yes")

    assert official
    assert listed == ["olaf/app"]
    assert "olaf/app" not in {row[0] for row in admin.rows("repositories", "--official")}
    assert "use --yes" in unconfirmed
    assert taken_down["olaf/app"] == found["taken_down_reason"] == "mines coins"
    assert "olaf/app" not in {row[0] for row in admin.rows("taken-down")}
    assert owner.get(path).status_code == 404
    assert actions(admin, "olaf")[:6] == [
        "repository.delete",
        "repository.remove",
        "repository.restore",
        "repository.take-down",
        "repository.set-official",
        "repository.set-official",
    ]


def test_find_accounts(admin: Admin, client: Callable[..., httpx2.Client]) -> None:
    """Users by name or address, organizations by name, as a table and as JSON."""
    owner = client("fiona")
    client("finn", administrator=True)
    assert owner.post("/api/v1/organizations", json={"name": "findings"}).status_code == 201

    assert [row[:3] for row in admin.rows("users", "fi")] == [
        ["finn", "finn@example.com", "administrator"],
        ["fiona", "fiona@example.com", "user"],
    ]
    assert [each["name"] for each in admin.json("users", "fiona@")] == ["fiona"]
    assert [row[0] for row in admin.rows("organizations", "fi")] == ["findings"]
    assert [row[0] for row in admin.rows("users", "fi", "--role", "administrator")] == ["finn"]
    assert len(admin.rows("users", "fi", "--limit", "1")) == 1


def test_a_new_owner(admin: Admin, client: Callable[..., httpx2.Client]) -> None:
    """Of an organization whose only owner cannot be reached."""
    owner, heir = client("olga"), client("oscar")
    assert owner.post("/api/v1/organizations", json={"name": "orphaned"}).status_code == 201

    assert [row[:2] for row in admin.rows("members", "orphaned")] == [["olga", "owner"]]
    assert "'orphaned' does not exist" in admin.fail("set-owner", "orphaned", "orphaned")
    assert admin("set-owner", "orphaned", "oscar") == "oscar is now an owner of orphaned\n"

    assert [(each["name"], each["role"]) for each in admin.json("members", "orphaned")] == [
        ("olga", "owner"),
        ("oscar", "owner"),
    ]
    assert heir.delete("/api/v1/organizations/orphaned/members/olga").status_code == 204
    assert actions(admin, "orphaned")[:2] == ["member.remove", "member.appoint-owner"]


def test_what_is_blocked(admin: Admin) -> None:
    """Blocked names and digests are listed until they are unblocked."""
    admin("block-name", "*spam*", "--reason", "spam")
    admin("block-digest", DIGEST)

    assert ["*spam*", "operator"] in [row[:2] for row in admin.rows("blocked-names")]
    assert DIGEST in [each["digest"] for each in admin.json("blocked-digests")]
    admin("block-name", "*spam*", "--undo")
    admin("block-digest", DIGEST, "--undo")
    assert admin.json("blocked-names") == []


def test_the_audit_log(admin: Admin, client: Callable[..., httpx2.Client]) -> None:
    """Filters, a limit, lines of text and JSON lines."""
    owner = client("audrey")
    for name in ("one", "two", "three"):
        create(owner, "audrey", name)
    since = json.loads(admin("audit", "--target", "audrey/two", "--json"))["at"]

    lines = admin("audit", "--namespace", "audrey", "--action", "repository.create", "--limit", "2").splitlines()
    later = admin("audit", "--namespace", "audrey", "--since", since, "--json").splitlines()

    assert [line.split()[2:4] for line in lines] == [
        ["repository.create", "audrey/three"],
        ["repository.create", "audrey/two"],
    ]
    assert "audrey (password" in lines[0]
    assert [json.loads(line)["target"] for line in later] == ["audrey/three", "audrey/two"]
    assert admin("audit", "--actor", "audrey", "--until", "2020-01-01") == ""
    assert "is not a time" in admin.fail("audit", "--since", "yesterday", code=2)


def test_garbage_and_storage(admin: Admin) -> None:
    """A run of ``gc`` is listed with who started it."""
    admin("gc")

    newest = admin.json("garbage", "--limit", "1")[0]

    assert (newest["started_by"], newest["failure"]) == ("operator", "")
    assert admin("garbage").splitlines()[0].split() == [
        "STARTED",
        "TOOK",
        "BY",
        "MANIFESTS",
        "BLOBS",
        "FREED",
        "OUTCOME",
    ]
    assert admin.rows("storage")[-1][0] == "total"
    assert admin.json("storage")["namespaces"] >= 0


def test_workers_and_the_queue(start_hub: Callable[..., HytheServer], capsys: pytest.CaptureFixture[str]) -> None:
    """A worker that has asked for builds is listed, and drains; only one that has stopped is removed."""
    hub = start_hub(["--worker-token", "token of the workers"])
    admin = Admin(hub, capsys)
    claim = {"worker": "builder:/work", "wait": 0, "version": "9", "platform": "linux/riscv64", "concurrency": 3}
    headers = {"Authorization": "Bearer token of the workers"}
    assert httpx2.post(f"{hub.url}/api/v1/workers/claim", json=claim, headers=headers).status_code == 204

    (listed,) = [each for each in admin.json("workers") if each["name"] == "builder:/work"]
    assert (listed["platform"], listed["concurrency"], listed["connected"]) == ("linux/riscv64", 3, True)
    assert "no more builds" in admin("drain-worker", "builder:/work")
    assert "connected, draining" in admin("workers")
    assert "builds again" in admin("drain-worker", str(listed["id"]), "--undo")
    assert "is connected" in admin.fail("remove-worker", "builder:/work")
    assert "there is no worker 'other'" in admin.fail("drain-worker", "other")
    assert admin.json("queue") == []
    assert "there is no build 7" in admin.fail("cancel-build", "7")


def test_a_build_is_cancelled_and_a_worker_removed(
    start_hub: Callable[..., HytheServer], capsys: pytest.CaptureFixture[str]
) -> None:
    """A build that waits, once; a worker whose last heartbeat is old. The owner of the build sees that in the log."""
    hub = start_hub(env=BY_HAND)
    admin = Admin(hub, capsys)
    hub.create_user("wanda", PASSWORD)
    with httpx2.Client(base_url=hub.url, timeout=60, auth=("wanda", PASSWORD)) as owner:
        path = create(owner, "wanda", "built")
        configuration = {"source": {"url": "http://127.0.0.1:1/team/app.git"}, "rules": [{"source": "main"}]}
        assert owner.post(f"{path}/build-configuration", json=configuration).status_code == 201
        assert owner.post(f"{path}/builds", json={"source_name": "main"}).is_success
    ((build_id, *_),) = admin.rows("queue")

    assert admin("cancel-build", build_id) == "cancelled wanda/built#1\n"
    assert "already finished" in admin.fail("cancel-build", build_id)
    assert admin.json("queue") == []
    assert actions(admin, "wanda")[0] == "queue.cancel-build"
    assert HandWorker(hub.url, "gone").claim() is None
    an_hour_ago = datetime.now(UTC) - timedelta(hours=1)
    with closing(sqlite3.connect(hub.data / "hythe.db", timeout=30)) as connection, connection:
        connection.execute("UPDATE build_workers SET seen_at = ?", (f"{an_hour_ago:%Y-%m-%d %H:%M:%S}",))
    assert [(each["name"], each["connected"]) for each in admin.json("workers")] == [("gone", False)]
    assert admin("remove-worker", "gone") == "removed gone\n"
    assert admin.json("workers") == []


def test_reports_and_a_new_owner_of_a_repository(admin: Admin, client: Callable[..., httpx2.Client]) -> None:
    """A report is resolved with a take-down, another one dismissed; then another account gets the repository."""
    owner, heir, user = client("hana"), client("hugo"), client("hedy")
    path = create(owner, "hana", "app", "public")

    def report(text: str) -> str:
        assert user.post(f"{path}/reports", json={"category": "malware", "text": text}).is_success
        (number,) = [row[0] for row in admin.rows("reports") if row[1:4] == ["hana/app", "malware", "hedy"]]
        return number

    number = report("it mines coins")
    assert admin("close-report", number, "--take-down", "mines coins") == f"report {number} is resolved\n"
    assert "hana/app" in {row[0] for row in admin.rows("taken-down")}
    assert admin("restore", "hana/app") == "restored hana/app\n"
    second = report("it still does")
    assert admin("close-report", second, "--dismiss", "--note", "a game") == f"report {second} is dismissed\n"
    assert [row[0] for row in admin.rows("reports", "--state", "resolved") if row[1] == "hana/app"] == [number]
    assert [row[0] for row in admin.rows("reports", "--state", "dismissed") if row[1] == "hana/app"] == [second]

    assert admin("hand-over", "hana/app", "hugo") == "hana/app is now hugo/app\n"
    assert heir.get("/api/v1/repositories/hugo/app").json()["namespace"] == "hugo"
    assert "repository.hand-over" in actions(admin, "hana")


def test_accounts_are_changed(admin: Admin, client: Callable[..., httpx2.Client], shared_hub: HytheServer) -> None:
    """A role on the hub, the end of logins, and a new name; each is in the audit log."""
    user = client("ruth")
    token = user.get("/token", params={"service": shared_hub.host}).json()["token"]
    login = {"Authorization": f"Bearer {token}"}
    assert httpx2.get(f"{shared_hub.url}/v2/", headers=login).status_code == 200

    assert admin("set-role", "ruth", "curator") == "ruth is now a curator\n"
    assert [row[0] for row in admin.rows("users", "ruth", "--role", "curator")] == ["ruth"]
    assert admin("set-role", "ruth", "administrator") == "ruth is now an administrator\n"
    assert user.get("/api/v1/admin/overview").status_code == 200
    assert admin("set-role", "ruth", "user") == "ruth is now a user\n"
    assert user.get("/api/v1/admin/overview").status_code == 403
    assert admin("sign-out-user", "ruth") == "ended every session and login of ruth\n"
    assert httpx2.get(f"{shared_hub.url}/v2/", headers=login).status_code == 401
    assert admin("rename-user", "ruth", "ruthie").startswith("renamed ruth to ruthie: ")

    assert [each["name"] for each in admin.json("users", "ruth")] == ["ruthie"]
    assert "'ruth' does not exist" in admin.fail("set-role", "ruth", "curator")
    assert actions(admin, "ruthie")[:5] == ["namespace.rename", "user.sign-out", *["user.set-role"] * 3]


def test_mail(admin: Admin) -> None:
    """E-mail that could not be sent is printed as JSON, too."""
    assert isinstance(admin.json("mail"), list)
