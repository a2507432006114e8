"""Linked accounts, webhooks and deliveries on PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.builds.forge_hub import NO_WORKER, ForgeHub, eventually
from tests.builds.services import Services
from tests.parts.forges import running_forge

pytestmark = pytest.mark.postgresql


def test_from_linking_to_unlinking(start_services: Callable[..., Services], postgresql_url: str) -> None:
    """Linking, webhook, push, a repeated delivery, a commit status, unlinking."""
    with running_forge("github") as forge:
        services = start_services({**NO_WORKER, "HYTHE_FORGES": forge.setting}, database_url=postgresql_url)
        forge_hub = ForgeHub(services, {"github": forge})
        connected = forge_hub.connect("github", "on-postgresql")
        [sent] = forge.push(connected.project, "refs/heads/main", connected.project.git.head("main"))
        again = forge.deliver(sent)
        eventually(lambda: connected.project.statuses)

        report = services.call("DELETE", f"/api/v1/linked-accounts/{connected.account['id']}")

        assert (sent.reply["outcome"], again.reply["outcome"]) == ("accepted", "duplicate")
        assert len(forge_hub.builds(connected)) == 1
        assert report["removed"] == ["the webhook of src/on-postgresql"]
        assert connected.project.webhooks == {}
        assert forge.violations == []
