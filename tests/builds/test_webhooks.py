"""Outgoing webhooks and e-mail: who is notified of builds and pushes, in which order, and what is never reached."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import pytest
from tests.builds.forge_hub import eventually
from tests.builds.hand_worker import BY_HAND, HandWorker
from tests.builds.services import Services
from tests.builds.webhook_receiver import Receiver, receiver
from tests.parts.mail_server import Mailbox, running_mail_server

__all__ = ["receiver"]

RULES = [{"source": "main"}, {"source": "dev", "tags": "dev"}]
INDEX = "application/vnd.oci.image.index.v1+json"


@pytest.fixture(scope="module")
def mailbox() -> Iterator[Mailbox]:
    """A running mail server."""
    with running_mail_server() as running:
        yield running


@pytest.fixture(scope="module")
def mailing(start_services: Callable[..., Services], mailbox: Mailbox) -> Services:
    """A hub that sends e-mail, and whose builds a test ends by hand."""
    mail = {"HYTHE_MAIL_SERVER": mailbox.url, "HYTHE_MAIL_FROM": "hub@example.com"}
    return start_services({**BY_HAND, **mail})


@dataclass(slots=True)
class Configured:
    """A repository of alice with Trusted Builds, and a worker for it."""

    services: Services
    path: str
    worker: HandWorker

    def build(self, branch: str, status: str, **more: Any) -> None:
        """Start a build of a branch, and end it with this status."""
        self.services.call("POST", f"{self.path}/builds", {"source_name": branch})
        assert self.worker.end_all(status, **more) == [branch]

    def add_webhook(self, **body: Any) -> dict[str, Any]:
        """Add a webhook."""
        return dict(self.services.call("POST", f"{self.path}/webhooks", body))

    def deliveries(self, webhook: dict[str, Any]) -> list[dict[str, Any]]:
        """The last deliveries of a webhook, newest first."""
        return list(self.services.call("GET", f"{self.path}/webhooks/{webhook['id']}/deliveries")["items"])


def configure(services: Services, name: str) -> Configured:
    """Configure builds of alice/NAME."""
    path = f"/api/v1/repositories/alice/{name}"
    services.call(
        "POST", f"{path}/build-configuration", {"source": {"url": "https://git.example/a/b.git"}, "rules": RULES}
    )
    return Configured(services, path, HandWorker(services.hub.url))


def test_e_mail_on_failure_and_on_the_first_success_after_it(mailing: Services, mailbox: Mailbox) -> None:
    """Each failure sends an e-mail, and the next success of that branch; successes of other branches do not."""
    configured = configure(mailing, "mailed")

    for branch, status in (("main", "succeeded"), ("dev", "failed"), ("main", "succeeded"), ("dev", "succeeded")):
        configured.build(branch, status, reason="step 2 failed" if status == "failed" else "")
    configured.build("dev", "succeeded")

    expected = ["[hythe] build 2 of alice/mailed failed", "[hythe] build 4 of alice/mailed works again"]
    eventually(lambda: len(_about_builds(mailbox)) >= len(expected))
    configured.build("main", "failed")
    eventually(lambda: len(_about_builds(mailbox)) > len(expected))
    assert _about_builds(mailbox) == [*expected, "[hythe] build 6 of alice/mailed failed"]
    first = mailbox.messages[mailbox.subjects.index(expected[0])]
    assert (first["To"], first["From"]) == ("alice@example.com", "hub@example.com")
    assert first["Date"]
    assert first["Message-ID"]
    assert "step 2 failed" in str(first.get_payload())
    assert "/alice/mailed/-/builds/2" in str(first.get_payload())


def _about_builds(mailbox: Mailbox) -> list[str]:
    """The subjects of e-mail about builds, without that about the account."""
    return sorted(subject for subject in mailbox.subjects if subject.startswith("[hythe] build"))


def test_e_mail_can_be_disabled(mailing: Services, mailbox: Mailbox) -> None:
    """Also after the first message."""
    configured = configure(mailing, "unmailed")
    configured.build("main", "failed")
    eventually(lambda: "[hythe] build 1 of alice/unmailed failed" in mailbox.subjects)

    mailing.call("PATCH", f"{configured.path}/build-configuration", {"options": {"mail": False}})
    configured.build("main", "failed")

    [mail] = mailing.call("GET", f"{configured.path}/webhooks")["items"]
    assert len(configured.deliveries(mail)) == 1


def test_a_chain_waits_only_for_webhooks(mailing: Services) -> None:
    """A chained webhook waits neither for e-mail nor for a webhook that does not subscribe to the event."""
    configured = configure(mailing, "chained")
    configured.build("main", "failed")
    where = {"url": "http://127.0.0.1:9/hook"}
    configured.add_webhook(**where, events=["failure"])
    first = configured.add_webhook(**where, chained=True)
    second = configured.add_webhook(**where, chained=True)

    configured.build("main", "succeeded")

    [sent] = configured.deliveries(first)
    [waiting] = configured.deliveries(second)
    assert (sent["callback_state"], waiting["callback_state"]) == ("", "chained")
    callback = urlsplit(json.loads(sent["body"])["callback_url"])
    assert callback.hostname == "127.0.0.1"
    mailing.call("POST", callback.path, {"state": "success"}, user="")
    [after] = configured.deliveries(second)
    assert after["callback_state"] == ""


def test_a_push_is_delivered(mailing: Services, receiver: Receiver) -> None:
    """A webhook that subscribes to pushes is notified of a tag that is pushed; one for builds is not."""
    configured = configure(mailing, "pushed")
    webhook = configured.add_webhook(url=receiver.url, events=["push"])
    other = configured.add_webhook(url=receiver.url, events=["success"])
    mailing.call("POST", f"{configured.path}/builds", {"source_name": "main"})
    job = configured.worker.claim()
    assert job is not None
    token = configured.worker.send(job, "token", [])["token"]
    request = urllib.request.Request(
        f"{mailing.hub.url}/v2/alice/pushed/manifests/latest",
        b'{"schemaVersion": 2, "mediaType": "%b", "manifests": []}' % INDEX.encode(),
        {"Authorization": f"Bearer {token}", "Content-Type": INDEX},
        method="PUT",
    )

    with urllib.request.urlopen(request) as response:
        assert response.status == 201

    [received] = receiver.wait(1)
    assert received.headers["X-Hythe-Event"] == "push"
    assert received.body["push_data"]["tag"] == "latest"
    assert received.body["repository"]["repo_name"] == "alice/pushed"
    assert configured.deliveries(other) == []
    eventually(lambda: configured.deliveries(webhook)[0]["attempts"])
    delivery = configured.deliveries(webhook)[0]
    assert (delivery["status"], delivery["due_at"]) == (200, None)


def test_webhooks_are_deleted_with_the_build_configuration(mailing: Services) -> None:
    """A new configuration of the same repository starts without webhooks."""
    configured = configure(mailing, "reset")
    configured.add_webhook(url="http://127.0.0.1:9/hook")

    mailing.call("DELETE", f"{configured.path}/build-configuration")

    assert configure(mailing, "reset").services.call("GET", f"{configured.path}/webhooks")["items"] == []


def test_webhooks_do_not_reach_internal_networks(start_services: Callable[..., Services]) -> None:
    """By address or by name, unless `internal_networks` lists the network; the delivery says so."""
    services = start_services({**BY_HAND, "HYTHE_INTERNAL_NETWORKS": ""})
    configured = configure(services, "internal")
    urls = ["http://127.0.0.1:9/hook", "http://localhost:9/hook", "http://[::ffff:127.0.0.1]:9/hook"]
    webhooks = [configured.add_webhook(url=url) for url in urls]

    configured.build("main", "succeeded")

    for webhook in webhooks:
        eventually(lambda webhook=webhook: configured.deliveries(webhook)[0]["attempts"])
        [delivery] = configured.deliveries(webhook)
        assert delivery["status"] == 0
        assert "internal_networks" in delivery["outcome"]
