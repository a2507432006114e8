"""Search results in docker's columns, from small servers with prepared responses."""

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
    """Factory: a server that returns JSON for paths and 404 for others; returns its host."""
    servers: list[ThreadingHTTPServer] = []

    def start(responses: dict[str, object]) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                response = responses.get(self.path.partition("?")[0])
                body = json.dumps(response).encode()
                self.send_response(404 if response is None else 200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *arguments: object) -> None:
                """Do not log."""

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
    """Use an empty home folder, without credentials and settings."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("HYTHE_CONFIG", str(tmp_path / "config.json"))
    monkeypatch.delenv("DOCKER_CONFIG", raising=False)


def test_results_in_dockers_columns_by_stars(serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    """Descriptions are cut to 42 characters and three dots, line breaks become spaces, flags print as [OK]."""
    host = serve({"/v1/search": INDEX_REPLY})
    assert main(["search", f"{host}/cent"]) == 0
    lines = capsys.readouterr().out.splitlines()

    assert lines[0].split() == ["NAME", "DESCRIPTION", "STARS", "OFFICIAL", "AUTOMATED"]
    assert [line.split()[0] for line in lines[1:]] == ["centos", "ann/cent", "bob/cent"]
    assert "The official build of CentOS." in lines[1]
    assert lines[1].endswith("[OK]")
    assert "x" * 42 + "... " in lines[2]


def test_no_trunc_and_quiet(serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    """--no-trunc prints whole descriptions; -q prints only names."""
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
    """The client filters like docker."""
    host = serve({"/v1/search": INDEX_REPLY})
    main(["search", "-q", "--filter", condition, f"{host}/cent"])

    assert capsys.readouterr().out.split() == names


def test_a_host_with_the_v2_search_api(serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    """Uses /v2/search/repositories/ if /v1/search does not exist; library/ is not printed."""
    host = serve({"/v2/search/repositories/": HUB_REPLY})
    main(["search", "-q", f"{host}/centos"])

    assert capsys.readouterr().out == "centos\n"


def test_a_host_without_search_is_an_error(serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    """For example docker-registry."""
    assert main(["search", f"{serve({})}/x"]) == 5
    assert "does not support search" in capsys.readouterr().err


def test_a_limit_outside_the_range_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    """1 to 100, as in docker."""
    assert main(["search", "--limit", "101", "x"]) == 2


def test_both_fields_for_automated_builds() -> None:
    """Docker 0.9 used is_trusted, later versions is_automated."""
    (found,) = parse_index_reply(b'{"results":[{"name":"a","is_trusted":true}]}')

    assert found == SearchResult("a", automated=True)
    assert parse_hub_reply(json.dumps(HUB_REPLY).encode()) == [SearchResult("centos", "official", 7, official=True)]
