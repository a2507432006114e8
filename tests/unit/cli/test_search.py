"""search: what a hub answers, in docker's columns. The hosts are small real servers with canned answers."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from hythe.cli.main import main
from hythe.client.hub import SearchResult, parse_hub_reply, parse_index_reply

INDEX_REPLY = {
    "query": "cent",
    "num_results": 3,
    "results": [
        {"name": "ann/cent", "description": "x" * 60, "star_count": 1, "is_official": False, "is_trusted": True},
        {"name": "centos", "description": "The official build\nof CentOS.", "star_count": 7, "is_official": True},
        {"name": "bob/cent", "description": None, "star_count": 0, "is_official": False, "is_automated": False},
    ],
}
HUB_REPLY = {
    "count": 1,
    "results": [{"repo_name": "library/centos", "short_description": "official", "star_count": 7, "is_official": True}],
}

Serve = Callable[[dict[str, object]], str]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Factory: a server that answers paths with JSON, and 404 to everything else; returns its host."""
    servers: list[ThreadingHTTPServer] = []

    def start(answers: dict[str, object]) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                answer = answers.get(self.path.partition("?")[0])
                body = json.dumps(answer).encode()
                self.send_response(404 if answer is None else 200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *arguments: object) -> None:
                """Say nothing."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        return f"127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody's credentials and settings."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("HYTHE_CONFIG", str(tmp_path / "config.json"))
    monkeypatch.delenv("DOCKER_CONFIG", raising=False)


def test_results_stand_in_dockers_columns_by_stars(serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    """Long descriptions are cut to 42 characters and dots, line breaks are none, flags are [OK]."""
    host = serve({"/v1/search": INDEX_REPLY})
    assert main(["search", f"{host}/cent"]) == 0
    lines = capsys.readouterr().out.splitlines()

    assert lines[0].split() == ["NAME", "DESCRIPTION", "STARS", "OFFICIAL", "AUTOMATED"]
    assert [line.split()[0] for line in lines[1:]] == ["centos", "ann/cent", "bob/cent"]
    assert "The official build of CentOS." in lines[1]
    assert lines[1].endswith("[OK]")
    assert "x" * 42 + "... " in lines[2]


def test_nothing_is_cut_when_asked(serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    """--no-trunc; -q prints names alone."""
    host = serve({"/v1/search": INDEX_REPLY})
    main(["search", "--no-trunc", f"{host}/cent"])
    whole = capsys.readouterr().out
    main(["search", "-q", f"{host}/cent"])

    assert "x" * 60 in whole
    assert capsys.readouterr().out.split() == ["centos", "ann/cent", "bob/cent"]


@pytest.mark.parametrize(
    ("condition", "names"),
    [("stars=1", ["centos", "ann/cent"]), ("is-official=true", ["centos"]), ("is-automated=true", ["ann/cent"])],
)
def test_filters(serve: Serve, capsys: pytest.CaptureFixture[str], condition: str, names: list[str]) -> None:
    """As docker filters, at the client."""
    host = serve({"/v1/search": INDEX_REPLY})
    main(["search", "-q", "--filter", condition, f"{host}/cent"])

    assert capsys.readouterr().out.split() == names


def test_a_host_with_docker_hubs_newer_search_is_asked_that_way(
    serve: Serve, capsys: pytest.CaptureFixture[str]
) -> None:
    """/v2/search/repositories/ where there is no /v1/search; library/ is not shown."""
    host = serve({"/v2/search/repositories/": HUB_REPLY})
    main(["search", "-q", f"{host}/centos"])

    assert capsys.readouterr().out == "centos\n"


def test_a_host_without_search_is_said_to_have_none(serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    """docker-registry, say."""
    assert main(["search", f"{serve({})}/x"]) == 5
    assert "does not support search" in capsys.readouterr().err


def test_a_limit_outside_the_range_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    """1 to 100, as docker."""
    assert main(["search", "--limit", "101", "x"]) == 2


def test_either_mark_of_automated_builds_counts() -> None:
    """Docker 0.9 knew is_trusted alone, later ones is_automated."""
    (found,) = parse_index_reply(b'{"results":[{"name":"a","is_trusted":true}]}')

    assert found == SearchResult("a", automated=True)
    assert parse_hub_reply(json.dumps(HUB_REPLY).encode()) == [SearchResult("centos", "official", 7, official=True)]
