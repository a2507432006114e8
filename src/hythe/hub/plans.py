"""Plans: the visibility of repositories that a push creates, and the number of private repositories."""

from hythe.database import Session
from hythe.hub.errors import Refused
from hythe.hub.sql import repositories as store
from hythe.hub.user import Visibility


async def admit(session: Session, namespace_id: int, wanted: Visibility | None) -> Visibility:
    """Return the visibility of a new repository in a namespace (``wanted`` None: the account's default).

    Raises Refused if the plan allows no further private repository. The account's row stays locked until the
    transaction ends, so two concurrent requests cannot both take the last place.
    """
    plan = await store.plan_of(session, namespace_id)
    if plan is None:
        return wanted or Visibility.PUBLIC
    visibility = wanted or Visibility(plan.default_visibility)
    if visibility is Visibility.PUBLIC or plan.private_limit is None:
        return visibility
    if await store.count_private(session, plan.id) >= plan.private_limit:
        raise _no_room(plan.private_limit)
    return visibility


def _no_room(limit: int) -> Refused:
    """Explain the options. A push gets this text, too: its repository may be private by the account's default."""
    if not limit:
        return Refused(
            "your plan allows no private repositories",
            "make it public (see the default visibility on your account page), or ask an administrator for more",
        )
    count = "1 private repository" if limit == 1 else f"{limit} private repositories"
    return Refused(
        f"your plan allows {count}, which you have", "make one public, delete one, or ask an administrator for more"
    )
