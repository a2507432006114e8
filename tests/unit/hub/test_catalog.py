"""Pages of the catalog, which merge public repositories, one's own and those that others share."""

import msgspec
import pytest
from tests.unit.hub.services import Services
from tests.unit.hub.test_organizations import FIRST, create, grant, join, team

from hythe.hub.accounts.user import Visibility
from hythe.hub.actor import HubActor
from hythe.hub.organizations.organization import RoleWord
from hythe.hub.repositories.collaborators import NewCollaborator
from hythe.hub.repositories.repositories import NewRepository, RepositoryChange
from hythe.hub.sql import repository_lists
from hythe.oci.scope import Scope

EMPTY = ("acme/a", "acme/c", "acme/zz", "ann/d", "ben/a")
SHARED = ("acme/b", "acme/d", "acme/e", "ann/b", "ann/e")
OPEN = ("acme/open", "ann/c", "ben/open")
OWN = ("ben/b", "ben/z")
FOREIGN = ("acme/bb", "ann/f")


@pytest.mark.parametrize("few", [1, 1000], ids=["walk", "grants"])
def test_pages_have_no_gaps(
    services: Services, ann: HubActor, ben: HubActor, monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    """Pages of every size give the whole list, although some shared repositories have no content yet."""
    monkeypatch.setattr(repository_lists, "FEW", few)
    create(services, ann)
    join(services, ann, ben)
    team(services, ann, "devs", ben)
    for name in (*EMPTY, *SHARED, *OPEN, *OWN, *FOREIGN):
        owner = ben if name.startswith("ben/") else ann
        services.run(services.hub.repositories.create(owner, NewRepository(*name.split("/"), Visibility.PRIVATE)))
        if name not in EMPTY:
            services.push(owner, name)
        if name in OPEN:
            services.run(services.hub.repositories.edit(owner, name, RepositoryChange(visibility=Visibility.PUBLIC)))
        elif name not in FOREIGN and owner is ann:
            share(services, ann, ben, name)
    reader = msgspec.structs.replace(ben, granted=(Scope("registry", "catalog", frozenset({"*"})),))

    for size in range(1, 6):
        shown: list[str] = []
        more = True
        while more:
            page = services.run(services.registry.catalog.names(reader, shown[-1] if shown else "", size))
            assert len(page.names) <= size
            shown += page.names
            more = page.more
        assert shown == sorted((*SHARED, *OPEN, *OWN))


def share(services: Services, ann: HubActor, ben: HubActor, name: str) -> None:
    """Let ben read a repository: as a member of a team of acme, or as a collaborator of ann."""
    if name.startswith("acme/"):
        grant(services, ann, "devs", name.removeprefix("acme/"), RoleWord.READ)
        return
    services.run(services.hub.collaborators.add(ann, name, NewCollaborator("ben", RoleWord.READ)))
    (invitation,) = services.run(services.hub.invitations.of_actor(ben, FIRST)).items
    services.run(services.hub.invitations.accept(ben, invitation.id))
