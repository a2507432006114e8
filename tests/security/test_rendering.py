"""Descriptions that take long to render: no one waits, pages stay small, and the owner reads why."""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from pathlib import Path

import httpx2
import pytest
from tests.parts.hub import HUB, HytheServer, server_factory
from tests.security.loop_probe import measured_delays
from tests.security.registry_client import PASSWORD, RegistryClient, basic

MAX_DELAY = 0.25
"""Seconds; rendering the reported table in the hub's process took 40."""

MAX_PAGE = 1_500_000
"""Bytes of a page; that of the reported table had 142 MB."""

LENGTH = 25_000
"""Characters of the longest description."""

TABLE = "|a" * 1500 + "|\n" + "|-" * 1500 + "|\n" + "a\n" * 9000

HEAVY = {
    "a wide table with short rows": TABLE,
    "the same in a list": "- " + TABLE.replace("\n", "\n  "),
    "the same in a quote": "> " + TABLE.replace("\n", "\n> "),
    "ten tables": ("|a" * 300 + "|\n" + "|-" * 300 + "|\n" + "a\n" * 600 + "\n") * 10,
    "deep lists": ("- " * 1000 + "a\n") * 12,
    "deep quotes": ("> " * 500 + "a\n") * 25,
    "brackets": "[" * LENGTH,
    "brackets that end": "[" * 12_000 + "](b)" * 3000,
    "link definitions": "".join(f"[a{number}]: <b>\n" for number in range(1500)) + "[a1]" * 2000,
    "a long link that is used often": "[a]: " + "x" * 5000 + "\n\n" + "[a]" * 6600,
    "emphasis that never ends": "*a_ " * 6000,
    "strong emphasis": "**a " * 6000 + "**" * 400,
    "entities": "&amp;" * 5000,
    "backticks of every length": "".join("`" * number + "a" for number in range(220)),
    "autolinks": "www.a.b " * 3000,
    "elements that never end": "<b>" * 8000,
    "comments that never end": "<!--" * 6000,
    "footnotes": "[^1]" * 4000 + "\n\n[^1]: a\n",
}


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HytheServer]:
    """A hub with default settings, and a repository of the account ann."""
    with server_factory(tmp_path_factory.mktemp("rendering"), HUB) as start:
        hub = start()
        hub.create_user("ann", PASSWORD)
        body = {"namespace": "ann", "name": "app"}
        assert RegistryClient(hub.url).status("POST", "/api/v1/repositories", basic("ann"), json=body) == 201
        assert describe(hub, "The first page compiles its template.").status_code == page(hub).status_code == 200
        yield hub


def describe(hub: HytheServer, text: str) -> httpx2.Response:
    """Change the description by the JSON API."""
    body = {"full_description": text[:LENGTH]}
    return RegistryClient(hub.url).send("PATCH", "/api/v1/repositories/ann/app", basic("ann"), json=body)


def page(hub: HytheServer) -> httpx2.Response:
    """Open the page of the repository as a stranger."""
    return RegistryClient(hub.url).send("GET", "/ann/app")


@pytest.mark.parametrize("text", HEAVY.values(), ids=HEAVY.keys())
def test_heavy_markdown_delays_no_one(hub: HytheServer, text: str) -> None:
    """Neither who writes it nor who reads it keeps others waiting, and the next description is rendered as usual."""
    with measured_delays(hub) as delays:
        assert describe(hub, text).status_code == 200
        shown = page(hub)
    assert shown.status_code == 200
    assert len(shown.content) < MAX_PAGE
    assert delays.worst < MAX_DELAY
    assert describe(hub, "# Fine").status_code == 200
    assert "<h2>Fine</h2>" in page(hub).text


def test_a_repository_that_is_created_with_it(hub: HytheServer) -> None:
    """Creating a repository renders its description in the same process."""
    body = {"namespace": "ann", "name": "new", "full_description": TABLE[:LENGTH]}
    with measured_delays(hub) as delays:
        assert RegistryClient(hub.url).status("POST", "/api/v1/repositories", basic("ann"), json=body) == 201
        shown = RegistryClient(hub.url).send("GET", "/ann/new")
    assert len(shown.content) < MAX_PAGE
    assert delays.worst < MAX_DELAY


def test_the_form_of_the_settings_page(hub: HytheServer) -> None:
    """The form also stores the HTML."""
    client = RegistryClient(hub.url)
    cookie = {"Cookie": f"hythe_session={client.session('ann')}"}
    path = "/ann/app/-/settings"
    form = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', client.send("GET", path, cookie).text))
    form |= {"visibility": "public", "description": "", "full_description": TABLE[:LENGTH], "patterns": ""}
    with measured_delays(hub) as delays:
        assert client.status("POST", path, {**cookie, "Origin": hub.url}, data=form) == 303
        shown = page(hub)
    assert "<pre>|a|a|a" in shown.text
    assert delays.worst < MAX_DELAY


def test_a_readme_that_a_build_stored(hub: HytheServer) -> None:
    """A build stores the text alone: the first of many readers has it rendered, in the process with bounds."""
    assert describe(hub, "").status_code == 200
    with sqlite3.connect(hub.data / "hythe.db", timeout=30) as database:
        database.execute("UPDATE hub_repositories SET full_description = ?", (TABLE[:LENGTH],))
    with measured_delays(hub) as delays:
        shown = [page(hub) for _ in range(3)]
    assert max(len(each.content) for each in shown) < MAX_PAGE
    assert delays.worst < MAX_DELAY


def test_the_owner_reads_why_it_is_plain(hub: HytheServer) -> None:
    """Strangers see the text as it was written; its owner also sees what to do."""
    assert describe(hub, TABLE).status_code == 200
    client = RegistryClient(hub.url)
    stranger = client.send("GET", "/ann/app").text
    owner = client.send("GET", "/ann/app", {"Cookie": f"hythe_session={client.session('ann')}"}).text
    assert "<pre>|a|a|a" in stranger
    assert "takes too long to render" not in stranger
    assert "takes too long to render" in owner


def test_one_account_does_not_delay_the_descriptions_of_another(hub: HytheServer) -> None:
    """Three heavy texts of one account take three turns; another account waits for one of them."""
    hub.create_user("ben", PASSWORD)
    client = RegistryClient(hub.url)
    body = {"namespace": "ben", "name": "app", "full_description": "*hello*"}
    with ThreadPoolExecutor(3) as threads:
        writing = [threads.submit(describe, hub, TABLE) for _ in range(3)]
        wait(writing, return_when=FIRST_COMPLETED)
        began = time.monotonic()
        assert client.status("POST", "/api/v1/repositories", basic("ben"), json=body) == 201
        waited = time.monotonic() - began
        unfinished = sum(not each.done() for each in writing)
    assert "<em>hello</em>" in client.send("GET", "/ben/app").text
    assert waited < 3
    assert unfinished >= 1, "ben waited for ann's descriptions"


def test_memory_after_all(hub: HytheServer) -> None:
    """Rendering the reported table left 4.9 GB."""
    status = Path(f"/proc/{hub.pid}/status").read_text()
    assert int(status.partition("VmRSS:")[2].split()[0]) < 300_000
    assert "Traceback" not in hub.log
