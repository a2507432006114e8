"""`hythe api`: requests to a running hub's JSON API with the stored credentials."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.builds.hand_worker import BY_HAND
from tests.parts.hub import HUB, server_factory
from tests.parts.hythe_shell import HytheShell

PASSWORD = "correct horse battery"
REPOSITORIES = 5


@pytest.fixture(scope="module")
def ann(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HytheShell]:
    """The shell of Ann, who has REPOSITORIES repositories, the first with builds, on a hub without workers."""
    with server_factory(tmp_path_factory.mktemp("api"), HUB) as start:
        server = start(env=BY_HAND)
        server.create_user("ann", PASSWORD)
        shell = HytheShell(tmp_path_factory.mktemp("ann"), server.host)
        shell.login("ann", PASSWORD)
        for number in range(REPOSITORIES):
            shell.ok("repo", "create", f"ann/app-{number}", "-d", "web server")
        yield shell


def test_reading(ann: HytheShell) -> None:
    """A path with or without the prefix, its query, and fields as a query with GET."""
    assert json.loads(ann.ok("api", "users/me"))["username"] == "ann"
    assert ann.ok("api", "/api/v1/users/me") == ann.ok("api", "users/me")
    by_field = json.loads(ann.ok("api", "search", "-X", "GET", "-f", "q=web server", "-F", "page_size=2"))
    by_query = json.loads(ann.ok("api", "search?q=web server&page_size=2"))
    assert len(by_field["items"]) == 2
    assert by_field == by_query


def test_all_pages(ann: HytheShell) -> None:
    """One item on each line, however small the pages are; a query keeps its meaning."""
    lines = ann.ok("api", "repositories/ann?page_size=2", "--paginate").splitlines()
    assert {json.loads(line)["name"] for line in lines} == {f"app-{number}" for number in range(REPOSITORIES)}
    found = ann.ok("api", "search?q=web%20server&page_size=2", "--paginate").splitlines()
    assert len(found) == REPOSITORIES
    no_list = ann.run("api", "users/me", "--paginate")
    assert no_list.code == 1
    assert "error: /api/v1/users/me is not a list" in no_list.err


def test_all_pages_of_builds(ann: HytheShell) -> None:
    """Lists of builds page by number, in `api` and in `builds list`."""
    configuration = {"source": {"url": "https://git.example.org/ann/app.git"}, "rules": [{"source": "/.*/"}]}
    builds = "repositories/ann/app-0/builds"
    ann.ok("api", "repositories/ann/app-0/build-configuration", "--input", "-", stdin=json.dumps(configuration))
    for number in range(3):
        ann.ok("api", builds, "-f", f"source_name=branch-{number}")

    lines = ann.ok("api", f"{builds}?limit=2", "--paginate").splitlines()
    listed = ann.json("builds", "list", f"{ann.host}/ann/app-0", "--limit", "2")

    assert [json.loads(line)["number"] for line in lines] == [3, 2, 1]
    assert [build["number"] for build in listed] == [3, 2]


def test_changes_only_of_what_was_read(ann: HytheShell) -> None:
    """If-Match with the ETag that `--include` prints; after another change it is refused as a conflict."""
    path = "repositories/ann/app-1"
    head, _, body = ann.ok("api", path, "--include").partition("\n\n")
    etag = next(line for line in head.splitlines() if line.lower().startswith("etag: ")).partition(" ")[2]
    match = ("-H", f"If-Match: {etag}")

    changed = ann.ok("api", path, "-X", "PATCH", "-f", "description=First", *match)
    conflict = ann.run("api", path, "-X", "PATCH", "-f", "description=Second", *match)
    unchanged = ann.run("api", path, "-H", f"If-None-Match: {etag}", "--include")

    assert head.startswith("HTTP/1.1 200\n")
    assert json.loads(body)["name"] == "app-1"
    assert json.loads(changed)["description"] == "First"
    assert conflict.code == 7
    assert json.loads(conflict.out)["status"] == 412
    assert conflict.err.splitlines() == [
        "error: this has changed since you read it",
        "hint: GET it again, and send its new ETag",
    ]
    assert unchanged.out.startswith("HTTP/1.1 200\n")
    current = next(line for line in unchanged.out.splitlines() if line.lower().startswith("etag: ")).partition(" ")[2]
    same = ann.ok("api", path, "-H", f"If-None-Match: {current}", "--include")
    assert same.startswith("HTTP/1.1 304\n")


def test_bodies(ann: HytheShell, tmp_path: Path) -> None:
    """Texts, JSON values, a file and standard input; a body makes it a POST."""
    created = json.loads(
        ann.ok("api", "tokens", "-f", "name=7", "-F", 'rights=["repo:read"]', "-F", "expires_in_days=3")
    )
    assert (created["name"], created["rights"]) == ("7", ["repo:read"])
    file = tmp_path / "new.json"
    file.write_text('{"namespace": "ann", "name": "from-file"}')
    assert json.loads(ann.ok("api", "repositories", "--input", str(file)))["name"] == "from-file"
    assert ann.ok("api", "repositories/ann/from-file", "-X", "DELETE") == ""
    both = ann.run("api", "repositories", "--input", str(file), "-f", "name=x")
    assert (both.code, both.err.splitlines()[0]) == (2, "error: --input and fields cannot be combined")


@pytest.mark.parametrize(
    ("words", "code", "status"),
    [
        (("repositories/ann/none-such",), 3, 404),
        (("admin/accounts",), 4, 403),
        (("repositories", "-f", "namespace=ann", "-f", "name=app-0"), 7, 409),
        (("repositories", "-f", "namespace=ann", "-f", "name=NO"), 1, 422),
    ],
)
def test_errors(ann: HytheShell, words: tuple[str, ...], code: int, status: int) -> None:
    """The problem is on stdout for programs, its words on stderr, and the exit code says which kind it is."""
    done = ann.run("api", *words)

    assert done.code == code, done
    problem = json.loads(done.out)
    assert problem["status"] == status
    assert done.err.startswith(f"error: {problem['detail']}")


def test_a_path_names_no_other_server(ann: HytheShell) -> None:
    """Two slashes do not send the credentials elsewhere, and a path outside the API is an error."""
    done = ann.run("api", "//other.example/x")

    assert done.code == 5
    assert done.err.startswith(f"error: {ann.host} is not a hythe hub, or has no such address\n")


def test_flags_that_are_no_pairs(ann: HytheShell) -> None:
    """They are refused before anything is sent."""
    for words in (("-f", "name"), ("-F", "=x"), ("-H", "If-Match"), ("-X", "BREW")):
        assert ann.run("api", "tokens", *words).code == 2, words


def test_a_renamed_repository(ann: HytheShell) -> None:
    """GET follows the redirect; a change is refused with the new name."""
    ann.ok("repo", "create", "ann/before")
    ann.ok("repo", "rename", "ann/before", "after")

    read = json.loads(ann.ok("api", "repositories/ann/before"))
    changed = ann.run("api", "repositories/ann/before", "-X", "PATCH", "-f", "description=x")

    assert read["name"] == "after"
    assert changed.code == 3
    assert changed.err == "error: ann/before is now ann/after\nhint: use ann/after\n"
