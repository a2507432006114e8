"""Who is told of builds that ended: by mail, and by webhooks in chains."""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import Message
from typing import Any
from urllib.parse import urlsplit

import pytest
from tests.builds.forge_house import eventually
from tests.builds.hand_worker import BY_HAND, HandWorker
from tests.builds.services import Services

RULES = [{"source": "main"}, {"source": "dev", "tags": "dev"}]


@dataclass(slots=True)
class Mailbox:
    """A mail server that keeps what it is given."""

    address: str = ""
    letters: list[Message] = field(default_factory=list)

    @property
    def subjects(self) -> list[str]:
        """What the letters are about."""
        return [str(letter["Subject"]) for letter in self.letters]


@pytest.fixture(scope="module")
def mailbox() -> Iterator[Mailbox]:
    """A running one."""
    kept = Mailbox()

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(b"220 here\r\n")
            for line in self.rfile:
                verb = line[:4].upper()
                if verb == b"DATA":
                    self.wfile.write(b"354 go on\r\n")
                    lines = iter(self.rfile.readline, b".\r\n")
                    kept.letters.append(message_from_bytes(b"".join(lines)))
                self.wfile.write(b"221 bye\r\n" if verb == b"QUIT" else b"250 good\r\n")

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        kept.address = f"127.0.0.1:{server.server_address[1]}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield kept
        server.shutdown()


@pytest.fixture(scope="module")
def told(start_services: Callable[..., Services], mailbox: Mailbox) -> Services:
    """A hub that sends mail, and whose builds are carried out by hand."""
    mail = {"HYTHE_MAIL_SERVER": f"smtp://{mailbox.address}", "HYTHE_MAIL_FROM": "hub@example.com"}
    return start_services({**BY_HAND, **mail})


@dataclass(slots=True)
class SetUp:
    """A set-up of alice, and a worker for it."""

    services: Services
    path: str
    worker: HandWorker

    def build(self, branch: str, status: str, **more: Any) -> None:
        """Let a branch be built, with this end."""
        self.services.call("POST", f"{self.path}/builds", {"source_name": branch})
        assert self.worker.end_all(status, **more) == [branch]


def set_up(services: Services, name: str) -> SetUp:
    """Set up alice/NAME."""
    path = f"/api/v1/repositories/alice/{name}"
    services.call(
        "POST", f"{path}/build-configuration", {"source": {"url": "https://git.example/a/b.git"}, "rules": RULES}
    )
    return SetUp(services, path, HandWorker(services.hub.url))


def test_mail_on_failure_and_on_the_first_success_after_it(told: Services, mailbox: Mailbox) -> None:
    """One letter for each failure, one when that branch works again, none for the successes of others."""
    configuration = set_up(told, "mailed")

    for branch, status in (("main", "succeeded"), ("dev", "failed"), ("main", "succeeded"), ("dev", "succeeded")):
        configuration.build(branch, status, reason="step 2 failed" if status == "failed" else "")
    configuration.build("dev", "succeeded")

    expected = ["[hythe] build 2 of alice/mailed failed", "[hythe] build 4 of alice/mailed works again"]
    eventually(lambda: len(mailbox.letters) >= len(expected))
    configuration.build("main", "failed")
    eventually(lambda: len(mailbox.letters) > len(expected))
    assert sorted(mailbox.subjects) == [*expected, "[hythe] build 6 of alice/mailed failed"]
    first = mailbox.letters[mailbox.subjects.index(expected[0])]
    assert (first["To"], first["From"]) == ("alice@example.com", "hub@example.com")
    assert first["Date"]
    assert first["Message-ID"]
    assert "step 2 failed" in str(first.get_payload())
    assert "/alice/mailed/-/builds/2" in str(first.get_payload())


def test_mail_can_be_switched_off(told: Services, mailbox: Mailbox) -> None:
    """Also after the first letter."""
    configuration = set_up(told, "unmailed")
    configuration.build("main", "failed")
    eventually(lambda: "[hythe] build 1 of alice/unmailed failed" in mailbox.subjects)

    told.call("PATCH", f"{configuration.path}/build-configuration", {"options": {"mail": False}})
    configuration.build("main", "failed")

    [mail] = told.call("GET", f"{configuration.path}/webhooks")["items"]
    assert len(told.call("GET", f"{configuration.path}/webhooks/{mail['id']}/deliveries")["items"]) == 1


def test_a_chain_waits_for_webhooks_alone(told: Services) -> None:
    """Neither a mail before it, nor a webhook that is not told of this build, keeps the next of a chain waiting."""
    configuration = set_up(told, "chained")
    configuration.build("main", "failed")
    where = {"url": "http://127.0.0.1:9/hook"}
    told.call("POST", f"{configuration.path}/webhooks", where | {"events": ["failure"]})
    first = told.call("POST", f"{configuration.path}/webhooks", where | {"chained": True})
    second = told.call("POST", f"{configuration.path}/webhooks", where | {"chained": True})

    configuration.build("main", "succeeded")

    [sent] = told.call("GET", f"{configuration.path}/webhooks/{first['id']}/deliveries")["items"]
    [waits] = told.call("GET", f"{configuration.path}/webhooks/{second['id']}/deliveries")["items"]
    assert (sent["callback_state"], waits["callback_state"]) == ("", "chained")
    callback = urlsplit(json.loads(sent["body"])["callback_url"])
    assert callback.hostname == "127.0.0.1"
    told.call("POST", callback.path, {"state": "success"}, user="")
    [after] = told.call("GET", f"{configuration.path}/webhooks/{second['id']}/deliveries")["items"]
    assert after["callback_state"] == ""


def test_webhooks_go_outside(start_services: Callable[..., Services]) -> None:
    """Nothing inside is sent to, by address or by name, where no network of it is named; the owner sees why."""
    services = start_services({**BY_HAND, "HYTHE_WEBHOOK_NETWORKS": ""})
    configuration = set_up(services, "inward")
    urls = ["http://127.0.0.1:9/hook", "http://localhost:9/hook", "http://[::ffff:127.0.0.1]:9/hook"]
    notices = [services.call("POST", f"{configuration.path}/webhooks", {"url": url}) for url in urls]

    configuration.build("main", "succeeded")

    for notice in notices:
        where = f"{configuration.path}/webhooks/{notice['id']}/deliveries"
        eventually(lambda where=where: services.call("GET", where)["items"][0]["attempts"])
        [delivery] = services.call("GET", where)["items"]
        assert delivery["status"] == 0
        assert "webhook_networks" in delivery["outcome"]
