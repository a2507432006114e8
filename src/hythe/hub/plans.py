"""Plans: what an account's repositories are when a push makes them, and how many of them may be private."""

from hythe.database import Session
from hythe.hub.errors import Refused
from hythe.hub.sql import repositories as store
from hythe.hub.user import Visibility


async def admit(session: Session, namespace_id: int, wanted: Visibility | None) -> Visibility:
    """Return the visibility of one more repository in a namespace (``wanted`` None: the account's default).

    Raises Refused when the plan has no room for another private one. The account's row stays locked until the
    transaction ends, so that two requests at once cannot both take the last place.
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
    """Say what to do; a push is told too, and its repository became private by the account's default."""
    if not limit:
        return Refused(
            "your plan allows no private repositories",
            "make it public (on the page of your account: what pushes make), or ask the administrator for more",
        )
    allowed = (
        "1 private repository, and you have it" if limit == 1 else f"{limit} private repositories, and they are there"
    )
    return Refused(f"your plan allows {allowed}", "make one public or delete it, or ask the administrator for more")
