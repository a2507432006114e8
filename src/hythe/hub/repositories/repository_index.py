"""Adds a repository to the index, after its first push or when a user creates it."""

from hythe.database import Session
from hythe.hub.access.access_context import AccessContext
from hythe.hub.access.former_names import reserved_refusal
from hythe.hub.accounts.namespaces import HIDDEN_NAMES, NamespaceKind, namespace_of
from hythe.hub.accounts.plans import admit_repository
from hythe.hub.accounts.user import Visibility
from hythe.hub.administration.blocked_names import require_repository_name
from hythe.hub.errors import Refused
from hythe.hub.repositories.descriptions import NO_DESCRIPTION, RenderedDescription
from hythe.hub.roles import OrganizationRole, RepositoryRole
from hythe.hub.sql import collaborators as collaborator_store
from hythe.hub.sql import former_names as former_store
from hythe.hub.sql import repositories as store
from hythe.hub.sql import team_repositories
from hythe.registry.events import RepositoryRef


async def enlist(
    session: Session,
    repository: RepositoryRef,
    context: AccessContext,
    *,
    listed: bool,
    visibility: Visibility | None = None,
    description: str = "",
    full_description: RenderedDescription = NO_DESCRIPTION,
) -> None:
    """Add a repository of the registry to the index; ``visibility`` None: the account's default.

    Raises Refused if the namespace does not exist or its plan is exhausted.
    """
    if context.namespace_id is None:
        raise Refused(f"the namespace of {repository.name} does not exist", "push to YOUR-NAME/..")
    name = repository.name.partition("/")[2]
    if context.namespace is NamespaceKind.CURATED and name in HIDDEN_NAMES:
        raise Refused(f"{name} is an address of Docker Hub's API: no one could pull it", "choose another name")
    await require_repository_name(session, name)
    allowed = await admit_repository(session, context.namespace_id, visibility)
    # After the row of the account is locked: its name may have changed since.
    present, former_holder = await former_store.place(session, context.namespace_id, name)
    if present != namespace_of(repository.name):
        raise Refused(f"the namespace of {repository.name} was renamed", f"push to {present}/{name}")
    if former_holder is not None:
        raise Refused(reserved_refusal(repository.name))
    values = {
        "visibility": allowed.value,
        "official": context.namespace is NamespaceKind.CURATED,
        "listed": listed,
        "description": description,
        "created_at": repository.created_at,
        "updated_at": repository.created_at,
        **full_description.columns,
    }
    await store.add(session, repository.id, context.namespace_id, name, values)
    if context.namespace is NamespaceKind.ORGANIZATION:
        await _share(session, repository, context)
    if listed:
        await store.index(session, repository.id)


async def _share(session: Session, repository: RepositoryRef, context: AccessContext) -> None:
    """Give teams their roles on an organization's new repository, and its creator the role ``admin``."""
    await team_repositories.apply_to_new(session, repository.id)
    person = context.user_id if context.user_id != context.owner_id else None
    if person is not None and context.namespace_role is not OrganizationRole.OWNER:
        await collaborator_store.put(session, repository.id, person, RepositoryRole.ADMIN, repository.created_at)
