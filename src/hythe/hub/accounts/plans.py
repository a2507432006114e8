"""Plans: how many repositories an account may have, and the visibility of those that a push creates.

The limits of stored bytes and of uploads are enforced by the registry (``registry.quota``).
"""

from hythe.database import Session
from hythe.hub.accounts.user import Visibility
from hythe.hub.errors import Refused
from hythe.hub.sql import repositories as store
from hythe.hub.sql.repositories import Owner
from hythe.hub.wording import counted


async def admit_repository(session: Session, namespace_id: int, wanted: Visibility | None) -> Visibility:
    """Return the visibility of a repository that is added to a namespace (``wanted`` None: the account's default).

    Raises Refused if the plan does not allow it. The account's row stays locked until the transaction ends, so two
    concurrent requests cannot both take the last place.
    """
    owner = await store.owner_of(session, namespace_id)
    if owner is None:
        return wanted or Visibility.PUBLIC
    limit = owner.plan.repository_limit
    if limit is not None and await store.count_all(session, namespace_id, limit) >= limit:
        raise _too_many(limit)
    visibility = wanted or owner.default_visibility
    if visibility is Visibility.PRIVATE:
        await _admit_private(session, owner)
    return visibility


async def admit_private(session: Session, namespace_id: int) -> None:
    """Check that the plan allows one more private repository, as above. Raises Refused."""
    owner = await store.owner_of(session, namespace_id)
    if owner is not None:
        await _admit_private(session, owner)


async def _admit_private(session: Session, owner: Owner) -> None:
    limit = owner.plan.private_limit
    if limit is not None and await store.count_private(session, owner.user_id, limit) >= limit:
        raise _no_private_room(limit)


def _too_many(limit: int) -> Refused:
    if not limit:
        return Refused("your plan allows no repositories", "ask an administrator for more")
    return Refused(
        f"your plan allows {counted(limit, 'repository', 'repositories')}, which you have",
        "delete one, or ask an administrator for more",
    )


def _no_private_room(limit: int) -> Refused:
    """Explain the options. A push gets this text, too: its repository may be private by the account's default."""
    if not limit:
        return Refused(
            "your plan allows no private repositories",
            "make it public (see the default visibility on your account page), or ask an administrator for more",
        )
    return Refused(
        f"your plan allows {counted(limit, 'private repository', 'private repositories')}, which you have",
        "make one public, delete one, or ask an administrator for more",
    )
