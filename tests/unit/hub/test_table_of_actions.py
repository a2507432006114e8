"""The decision is that of the table, for changes that the tests of routes do not make, too."""

from datetime import UTC, datetime
from typing import Any
from unittest.mock import Mock

import pytest
from tests.unit.hub.routes.kinds import KINDS, REPOSITORY, Kind

from hythe.hub.access.access_context import AccessContext
from hythe.hub.access.actions import HubAction
from hythe.hub.access.decision import HubAccess
from hythe.hub.access.table import TABLE
from hythe.hub.accounts.namespaces import NamespaceKind
from hythe.hub.accounts.user import Visibility
from hythe.hub.actor import HubActor
from hythe.hub.errors import Refused, SignInNeeded
from hythe.hub.roles import Everyone, HubRole, OrganizationRole, RepositoryRole
from hythe.oci.scope import Scope

ORGANIZATION_ID, PERSON_ID = 1, 2
NOTHING: Any = Mock()
"""A decision whose context is given reads no database."""


@pytest.fixture
def access() -> HubAccess:
    """The decisions of a hub."""
    return HubAccess(NOTHING, NOTHING, lambda: datetime.now(UTC))


def _actor(kind: Kind) -> HubActor:
    user_id = ORGANIZATION_ID if kind.robot else PERSON_ID if kind.account else None
    granted = None if kind.scopes is None else (Scope.repository(REPOSITORY, *kind.scopes),)
    return HubActor(kind.account, user_id=user_id, rights=kind.rights, granted=granted)


def _context(kind: Kind, repository_id: int | None) -> AccessContext:
    return AccessContext(
        NamespaceKind.ORGANIZATION,
        namespace_id=1,
        owner_id=ORGANIZATION_ID,
        repository_id=repository_id,
        visibility=Visibility.PRIVATE if repository_id else None,
        user_id=_actor(kind).user_id,
        admin=kind.hub is HubRole.ADMINISTRATOR,
        curator=kind.hub is HubRole.CURATOR,
        member=None if kind.robot else kind.organization,
        granted=kind.repository if repository_id else None,
        members_create=True,
    )


@pytest.mark.parametrize("name", [name for name, kind in KINDS.items() if not kind.blocked])
def test_the_table_decides(name: str, access: HubAccess) -> None:
    """Each kind of actor may do what the table allows it on a repository, in a namespace and with its account."""
    kind, actor = KINDS[name], _actor(KINDS[name])
    permitted = set()
    for action in HubAction:
        match TABLE[action].needs:
            case RepositoryRole():
                may = access.permits(actor, REPOSITORY, _context(kind, 1), action)
            case OrganizationRole():
                may = access.permits(actor, "acme/", _context(kind, None), action)
            case Everyone.ACCOUNT:
                may = _has_account(access, actor, action)
            case _:
                continue
        permitted |= {action} if may else set()

    decided = [each for each in HubAction if isinstance(TABLE[each].needs, RepositoryRole | OrganizationRole)]
    decided += [each for each in HubAction if TABLE[each].needs is Everyone.ACCOUNT]
    assert permitted == {action for action in decided if kind.allowed(action)}


def _has_account(access: HubAccess, actor: HubActor, action: HubAction) -> bool:
    try:
        access.require_account(actor, action)
    except (SignInNeeded, Refused):
        return False
    return True
