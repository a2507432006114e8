"""Full descriptions as HTML: rendered once when they are written, off the event loop, and stored."""

import asyncio
import hashlib

import msgspec

from hythe.database import Database
from hythe.hub.repositories.markdown import RENDERER, render_within
from hythe.hub.repositories.repository import Repository
from hythe.hub.sql import descriptions as store
from hythe.offload import OffloadLimitExceeded, OffloadPool

MAX_HTML_SIZE = 1_000_000
"""Characters; a description whose HTML is longer is shown as it was written."""


class RenderedDescription(msgspec.Struct, frozen=True):
    """A description as HTML; ``html`` None: it exceeds a bound, and pages show it as it was written."""

    text: str
    html: str | None

    @property
    def columns(self) -> dict[str, str | None]:
        """The columns of the repository that store it."""
        return {
            "full_description": self.text,
            "description_html": self.html,
            "description_rendering": _rendering(self.text),
        }


NO_DESCRIPTION = RenderedDescription("", "")


class Descriptions:
    """Renders descriptions and stores the result."""

    def __init__(self, database: Database, offload: OffloadPool) -> None:
        self._database = database
        self._offload = offload
        self._running: dict[tuple[int, str], asyncio.Task[RenderedDescription]] = {}

    async def render(self, owner: str, text: str) -> RenderedDescription:
        """Render a description; those of one ``owner`` wait for each other."""
        if not text:
            return NO_DESCRIPTION
        try:
            html = await self._offload.run(owner, render_within, text, MAX_HTML_SIZE)
        except OffloadLimitExceeded:
            html = None
        return RenderedDescription(text, html)

    async def of(self, repository: Repository) -> RenderedDescription:
        """Return the description of a repository.

        It is already stored, except for the README of a build and for what an earlier version rendered: those are
        rendered now, once for all who ask at the same time.
        """
        if (stored := await self._stored(repository)) is not None:
            return stored
        key = (repository.id, repository.full_description)
        if key not in self._running:
            self._running[key] = asyncio.create_task(self._render_and_store(repository))
            self._running[key].add_done_callback(lambda _: self._running.pop(key))
        return await asyncio.shield(self._running[key])

    async def _render_and_store(self, repository: Repository) -> RenderedDescription:
        rendered = await self.render(repository.namespace, repository.full_description)
        async with self._database.writing(durable=False) as session:
            await store.save(session, repository.id, rendered.text, rendered.columns)
        return rendered

    async def _stored(self, repository: Repository) -> RenderedDescription | None:
        async with self._database.reading() as session:
            found = await store.find(session, repository.id)
        if found is None or found.rendering != _rendering(repository.full_description):
            return None
        return RenderedDescription(repository.full_description, found.html)


def _rendering(text: str) -> str:
    """Return what the HTML of ``text`` is stored with: a server of another version may change the text alone."""
    return f"{RENDERER}:{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()}"
