"""All repositories as administrators see them: names and states, also of private ones, but not what is in them."""

from hythe.database import Database
from hythe.hub.access.actions import HubAction
from hythe.hub.access.decision import HubAccess
from hythe.hub.accounts.namespaces import canonical_name, short_name
from hythe.hub.actor import HubActor
from hythe.hub.errors import Invalid, NotFound
from hythe.hub.page import Page, Paging
from hythe.hub.sql import all_repositories as store
from hythe.hub.sql.all_repositories import AdministeredRepository

MAX_BEGINNING = 255


class AllRepositories:
    """The repositories of the hub. Every call raises SignInNeeded or Refused unless an administrator calls."""

    def __init__(self, database: Database, access: HubAccess) -> None:
        self._database = database
        self._access = access

    async def find(
        self, actor: HubActor, beginning: str, paging: Paging, *, official: bool = False
    ) -> Page[AdministeredRepository]:
        """Return the repositories whose canonical name (NAMESPACE/NAME) begins so, by name.

        ``official``: only official repositories, whose name without the namespace begins so. Raises Invalid.
        """
        await self._access.require_hub(actor, HubAction.VIEW_ALL_REPOSITORIES)
        beginning = beginning.strip().lower()
        if len(beginning) > MAX_BEGINNING or "\0" in beginning:
            raise Invalid({"q": f"must have at most {MAX_BEGINNING} characters"})
        async with self._database.reading() as session:
            return await store.beginning_with(session, beginning, paging, official=official)

    async def get(self, actor: HubActor, repository: str) -> AdministeredRepository:
        """Return a repository. Raises NotFound."""
        await self._access.require_hub(actor, HubAction.VIEW_ALL_REPOSITORIES)
        full_name = canonical_name(repository)
        async with self._database.reading() as session:
            found = await store.by_name(session, full_name)
        if found is None:
            raise NotFound(f"repository {short_name(full_name)!r} does not exist")
        return found
