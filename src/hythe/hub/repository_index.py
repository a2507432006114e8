"""How a repository enters the index, be it by its first push or made by hand."""

from hythe.database import Session
from hythe.hub.access_context import AccessContext
from hythe.hub.errors import Refused
from hythe.hub.namespaces import NamespaceKind
from hythe.hub.plans import admit
from hythe.hub.sql import repositories as store
from hythe.hub.user import Visibility
from hythe.registry.events import RepositoryRef


async def enlist(
    session: Session,
    repository: RepositoryRef,
    standing: AccessContext,
    *,
    listed: bool,
    visibility: Visibility | None = None,
    description: str = "",
    full_description: str = "",
) -> None:
    """Add what the registry just made to the index; ``visibility`` None: the account's default.

    Raises Refused when there is no such namespace, or when its plan has no room.
    """
    if standing.namespace_id is None:
        raise Refused(f"there is no namespace for {repository.name}", "push to YOUR-NAME/..")
    allowed = await admit(session, standing.namespace_id, visibility)
    values = {
        "visibility": allowed.value,
        "official": standing.namespace is NamespaceKind.CURATED,
        "listed": listed,
        "description": description,
        "full_description": full_description,
        "created_at": repository.created_at,
        "updated_at": repository.created_at,
    }
    name = repository.name.partition("/")[2]
    await store.add(session, repository.id, standing.namespace_id, name, values)
    if listed:
        await store.index(session, repository.id)
