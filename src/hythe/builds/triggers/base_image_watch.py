"""Repository links: a set-up that asks for it is built anew when one of its base images moved.

Bases of this hub are noticed as they are pushed; bases elsewhere by asking their registry for the digest from time to
time. A base that is built, through whatever others, from the very image that it would rebuild is a loop: such a link is
not followed.
"""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from hythe.builds.build import Build, Cause
from hythe.builds.builds import REBUILT_REFS, BuildRequest, BuildService
from hythe.builds.configuration import BuildConfiguration
from hythe.builds.events import BuildListener
from hythe.builds.sql import base_image_watch as rows
from hythe.builds.sql import builds as build_rows
from hythe.builds.sql import configurations as configuration_rows
from hythe.builds.status import BuildStatus
from hythe.client.client import Client
from hythe.client.credentials import ANONYMOUS
from hythe.client.errors import ClientError
from hythe.client.protocol import Repository
from hythe.client.retry import RetryPolicy
from hythe.database import Database, Session
from hythe.hub.namespaces import canonical_name
from hythe.oci.errors import OCIError
from hythe.oci.reference import Reference
from hythe.periodic import repeat
from hythe.registry.events import TagMove

DEEPEST = 50
"""How many links are followed when looking for a loop."""
LOOK_EVERY = timedelta(minutes=15)
PAUSE = 60.0
AT_ONCE = 50
TOGETHER = 3
"""Registries asked at the same time: the threads for it are the server's own."""


def _client() -> Client:
    """A client that loses no time with a registry that is away: it is asked again in the next round."""
    return Client(policy=RetryPolicy(attempts=2, patience=0, silence=10))


class BaseImageWatch(BuildListener):
    """Knows which set-ups are built from what."""

    def __init__(self, database: Database, builds: BuildService, client: Callable[[], Client] = _client) -> None:
        self._database = database
        self._builds = builds
        self._client = client

    async def record(self, session: Session, configuration: BuildConfiguration, build: Build) -> None:
        """Remember what a build was made from, once it is done, beside what other rules and branches are made from."""
        if build.status is not BuildStatus.SUCCEEDED or not build.trusted:
            return
        found: dict[str, str] = {}
        for result in await build_rows.present_results(session, configuration, REBUILT_REFS):
            found |= {_key(name, result.registry): digest for name, digest in result.bases.items()}
        await rows.replace(session, configuration.id, found, datetime.now(UTC))

    async def build_changed(self, session: Session, configuration: BuildConfiguration, build: Build) -> None:
        """See BuildListener."""
        await self.record(session, configuration, build)

    async def tags_moved(self, session: Session, repository: str, moves: tuple[TagMove, ...]) -> None:
        """Tags of this hub moved: queue what is built from them, in the same transaction.

        Nobody is woken: workers that wait look again within a second, by when this is committed.
        """
        for move in moves:
            if move.digest is not None and move.digest != move.previous:
                await self._rebuild(session, f"{repository}:{move.tag}", repository)

    async def _rebuild(self, session: Session, reference: str, repository: str) -> int:
        queued = 0
        for configuration_id in await rows.built_from(session, reference):
            configuration = await configuration_rows.by_id(session, configuration_id)
            if configuration is None or not configuration.active or not configuration.options.base_link:
                continue
            if repository and await self._is_loop(session, configuration.repository, repository):
                continue
            wanted = BuildRequest(cause=Cause.BASE, by=f"{reference} moved")
            queued += len(await self._builds.rebuild(session, configuration, wanted))
        return queued

    async def _is_loop(self, session: Session, repository: str, base: str) -> bool:
        """Whether ``base`` is itself built, through any number of links, from ``repository``."""
        seen = {base}
        todo = [base]
        while todo and len(seen) <= DEEPEST:
            for reference in await rows.bases_of(session, todo.pop()):
                name = reference.rpartition(":")[0]
                if name == repository:
                    return True
                if name not in seen:
                    seen.add(name)
                    todo.append(name)
        return base == repository

    async def run(self) -> None:
        """Ask other registries for the digests of base images until cancelled."""
        await asyncio.sleep(PAUSE)
        await repeat(lambda: self.check(datetime.now(UTC) - LOOK_EVERY), PAUSE, "base images of other registries")

    async def check(self, before: datetime) -> int:
        """Ask for every base of others' that was not looked at since ``before``; returns how many builds it queued."""
        async with self._database.reading() as session:
            due = await rows.due(session, before, AT_ONCE)
        queued = 0
        turns = asyncio.Semaphore(TOGETHER)
        asked = await asyncio.gather(*(self._asked(reference, turns) for reference, _ in due))
        for (reference, known), found in zip(due, asked, strict=True):
            async with self._database.writing() as session:
                first = await rows.looked_at(session, reference, known, found or known, datetime.now(UTC))
                if first and found and found != known:
                    queued += await self._rebuild(session, reference, "")
        return queued

    async def _asked(self, reference: str, turns: asyncio.Semaphore) -> str | None:
        async with turns:
            return await asyncio.to_thread(self._ask, reference)

    def _ask(self, reference: str) -> str | None:
        client = self._client()
        try:
            parsed = Reference.parse(reference)
            # As nobody: the server's own credentials are not for what users name in their Dockerfiles.
            session = client.session(parsed.host, parsed.repository, ANONYMOUS)
            repository, target = Repository(session, parsed.repository), str(parsed.target)
            # Registries that count pulls count none for this.
            return str(repository.manifest_digest(target) or repository.get_manifest(target).digest())
        except (ClientError, OCIError):
            return None
        finally:
            client.close()


def _key(name: str, own_host: str) -> str:
    """Return a base's name as it is kept: NAMESPACE/NAME:TAG for our own, with its host for others'."""
    try:
        reference = Reference.parse(name).with_default_tag()
    except OCIError:
        return name[:400]
    if reference.host == own_host:
        return f"{canonical_name(reference.repository)}:{reference.target}"
    return str(reference)[:400]
