"""Administrators open, take down, restore, delete and hand over repositories; the audit log tells the owners."""

from __future__ import annotations

import pytest
from tests.unit.hub.services import Services

from hythe.hub.accounts.user import Visibility
from hythe.hub.actor import ANONYMOUS, HubActor
from hythe.hub.administration.takedowns import TakedownReason
from hythe.hub.errors import NotFound, Refused
from hythe.hub.logs.audit_log import AuditFilter
from hythe.hub.page import Paging
from hythe.hub.renaming.transfers import NewTransfer
from hythe.hub.repositories.repositories import RepositoryChange
from hythe.oci.errors import ErrorCode, WireError
from hythe.registry.access import Action

MALWARE = TakedownReason("malware")


def actions(services: Services, ann: HubActor) -> list[str]:
    """Return what the owners read about their namespace, oldest first."""
    page = services.run(services.hub.audit_log.entries(ann, AuditFilter(namespace="ann"), Paging(page_size=100)))
    return [entry.action for entry in reversed(page.items)]


def names(services: Services, actor: HubActor) -> set[str]:
    """Return the names in a list, search and the catalog."""
    listed = services.run(services.hub.repositories.in_namespace(actor, "ann", Paging())).items
    found = services.run(services.hub.search.find(actor, "app", Paging())).items
    catalog = services.run(services.registry.catalog.names(actor)).names
    return {each.full_name for each in (*listed, *found)} | set(catalog)


def test_an_administrator_reads_a_private_repository_for_an_hour(
    services: Services, ann: HubActor, curator: HubActor
) -> None:
    """Before and after it does not exist for them, and they never get more than the role ``read``."""
    services.push(ann, "ann/app")
    services.run(services.hub.repositories.edit(ann, "ann/app", RepositoryChange(visibility=Visibility.PRIVATE)))
    get = services.hub.repositories.get
    with pytest.raises(NotFound):
        services.run(get(curator, "ann/app"))
    with pytest.raises(Refused):
        services.run(services.hub.hub_administration.access.open(ann, "ann/app"))

    services.run(services.hub.hub_administration.access.open(curator, "ann/app", "ticket 7"))

    services.run(get(curator, "ann/app"))
    services.run(services.hub.access.require(curator, "ann/app", Action.PULL))
    with pytest.raises(Refused):
        services.run(services.hub.repositories.edit(curator, "ann/app", RepositoryChange(description="mine")))
    assert "repository.open" in actions(services, ann)
    services.clock.forward(hours=1)
    with pytest.raises(NotFound):
        services.run(get(curator, "ann/app"))


def test_what_is_taken_down_does_not_exist_for_others(
    services: Services, ann: HubActor, ben: HubActor, curator: HubActor
) -> None:
    """Its owner sees it, and engines print the reason; when it is restored, all is as before."""
    services.push(ann, "ann/app")
    shown = names(services, ben)
    assert shown == {"ann/app"}
    with pytest.raises(Refused):
        services.run(services.hub.hub_administration.takedowns.take_down(ann, "ann/app", MALWARE))

    services.run(services.hub.hub_administration.takedowns.take_down(curator, "ann/app", MALWARE))

    for other in (ben, ANONYMOUS, curator):
        with pytest.raises(NotFound):
            services.run(services.hub.repositories.get(other, "ann/app"))
        with pytest.raises(WireError) as missing:
            services.run(services.hub.access.require(other, "ann/app", Action.PULL))
        assert missing.value.code is ErrorCode.UNAUTHORIZED
    for each in (ann, ben):
        assert names(services, each) == set()
    services.run(services.hub.repositories.get(ann, "ann/app"))
    for action in Action:
        with pytest.raises(WireError, match="took ann/app down: malware") as refused:
            services.run(services.hub.access.require(ann, "ann/app", action))
        assert refused.value.code is ErrorCode.DENIED
    with pytest.raises(Refused, match="malware"):
        services.run(services.hub.repositories.edit(ann, "ann/app", RepositoryChange(visibility=Visibility.PUBLIC)))
    listed = services.run(services.hub.hub_administration.takedowns.list(curator, Paging())).items
    assert [(each.repository, each.reason) for each in listed] == [("ann/app", "malware")]

    services.run(services.hub.hub_administration.takedowns.restore(curator, "ann/app"))

    assert names(services, ben) == shown
    assert {"repository.take-down", "repository.restore"} <= set(actions(services, ann))


def test_an_administrator_deletes_and_hands_over(
    services: Services, ann: HubActor, ben: HubActor, curator: HubActor
) -> None:
    """Without the owner, at once, and each with an entry under the administrator's name."""
    for name in ("ann/app", "ann/old"):
        services.push(ann, name)
    takedowns = services.hub.hub_administration.takedowns

    services.run(takedowns.delete(curator, "ann/old", MALWARE))
    assert services.run(takedowns.hand_over(curator, "ann/app", NewTransfer("ben"))).done

    assert services.run(services.hub.repositories.get(ben, "ben/app")).full_name == "ben/app"
    with pytest.raises(NotFound):
        services.run(services.hub.repositories.get(ann, "ann/old"))
    assert {"repository.remove", "repository.hand-over"} <= set(actions(services, ann))
