"""Repository links: rebuilds images when a base image changes, if the build configuration asks for it.

Base images of this hub are seen as they are pushed; for others, the hub asks their registry for the digest from time to
time. A link that leads back to the repository it starts from is a loop, and is not followed.
"""

import asyncio
from collections.abc import Callable, Collection
from datetime import UTC, datetime, timedelta

from hythe.builds.build import Build, Cause
from hythe.builds.builds import MAX_REBUILT_REFS, BuildRequest, BuildService
from hythe.builds.configuration import BuildConfiguration
from hythe.builds.events import BuildListener
from hythe.builds.sql import base_image_watch as rows
from hythe.builds.sql import builds as build_rows
from hythe.builds.sql import configurations as configuration_rows
from hythe.builds.status import BuildStatus
from hythe.client.client import Client
from hythe.client.credentials import ANONYMOUS
from hythe.client.errors import ClientError
from hythe.client.protocol import RemoteRepository
from hythe.client.retry import RetryPolicy
from hythe.database import Database, Session
from hythe.hub.accounts.namespaces import canonical_name
from hythe.hub.sql import former_names
from hythe.oci.errors import OCIError
from hythe.oci.reference import Reference
from hythe.periodic import repeat
from hythe.registry.events import RepositoryRef, TagMove

MAX_LINKS = 50
"""How many links are followed when looking for a loop."""
CHECK_INTERVAL = timedelta(minutes=15)
POLL_INTERVAL = 60.0
BATCH_SIZE = 50
CONCURRENCY = 3
"""Registries that are asked at the same time; each takes a thread of the server."""


def _client() -> Client:
    """Return a client with short timeouts: the next check asks an unreachable registry again."""
    return Client(policy=RetryPolicy(attempts=2, max_retry_after=0, read_timeout=10))


class BaseImageWatch(BuildListener):
    """Records which base images each repository is built from, and rebuilds it when one of them changes."""

    def __init__(self, database: Database, builds: BuildService, client: Callable[[], Client] = _client) -> None:
        self._database = database
        self._builds = builds
        self._client = client

    async def build_changed(self, session: Session, configuration: BuildConfiguration, build: Build) -> None:
        """Record the base images of a build that succeeded, and keep those of other rules and branches."""
        if build.status is not BuildStatus.SUCCEEDED or not build.trusted:
            return
        digests: dict[str, str] = {}
        for result in await build_rows.latest_results(session, configuration, MAX_REBUILT_REFS):
            digests |= {_key(name, result.registry): digest for name, digest in result.bases.items()}
        await rows.replace(session, configuration.id, digests, datetime.now(UTC))

    async def tags_moved(self, session: Session, repository: RepositoryRef, moves: tuple[TagMove, ...]) -> None:
        """Queue builds from images of this hub whose tags moved, in the transaction of the move.

        A Dockerfile can name the repository by a former name. Waiting workers are not woken: they poll every second,
        and by then the transaction is committed.
        """
        moved = [move.tag for move in moves if move.digest is not None and move.digest != move.previous]
        if not moved:
            return
        names = {repository.name, *await former_names.names_of(session, repository.id)}
        for tag in moved:
            references = [f"{name}:{tag}" for name in names]
            await self._rebuild(session, references, f"{repository.name}:{tag}", repository.name)

    async def _rebuild(self, session: Session, references: Collection[str], moved: str, repository: str = "") -> int:
        """Queue the builds from images with these references, which are one image; return how many."""
        queued = 0
        for configuration_id in await rows.built_from(session, references):
            configuration = await configuration_rows.by_id(session, configuration_id)
            if configuration is None or not configuration.active or not configuration.options.base_link:
                continue
            if repository and await self._is_loop(session, configuration.repository, repository):
                continue
            request = BuildRequest(cause=Cause.BASE, by=f"{moved} moved")
            queued += len(await self._builds.rebuild(session, configuration, request))
        return queued

    async def _is_loop(self, session: Session, repository: str, base: str) -> bool:
        """Whether ``base`` is itself built, through any number of links, from ``repository``."""
        seen = {base}
        todo = [base]
        while todo and len(seen) <= MAX_LINKS:
            for reference in await rows.bases_of(session, todo.pop()):
                name = await _present_name(session, reference.rpartition(":")[0])
                if name == repository:
                    return True
                if name not in seen:
                    seen.add(name)
                    todo.append(name)
        return base == repository

    async def run(self) -> None:
        """Check the base images of other registries until cancelled."""
        await asyncio.sleep(POLL_INTERVAL)
        await repeat(lambda: self.check(datetime.now(UTC) - CHECK_INTERVAL), POLL_INTERVAL, "base image check")

    async def check(self, before: datetime) -> int:
        """Check the base images of other registries last checked before then; return how many builds that queued."""
        async with self._database.reading() as session:
            due = await rows.due(session, before, BATCH_SIZE)
        queued = 0
        semaphore = asyncio.Semaphore(CONCURRENCY)
        digests = await asyncio.gather(*(self._fetch_digest(reference, semaphore) for reference, _ in due))
        for (reference, known), digest in zip(due, digests, strict=True):
            async with self._database.writing() as session:
                first = await rows.set_checked(session, reference, known, digest or known, datetime.now(UTC))
                if first and digest and digest != known:
                    queued += await self._rebuild(session, (reference,), reference)
        return queued

    async def _fetch_digest(self, reference: str, semaphore: asyncio.Semaphore) -> str | None:
        async with semaphore:
            return await asyncio.to_thread(self._request_digest, reference)

    def _request_digest(self, reference: str) -> str | None:
        client = self._client()
        try:
            parsed = Reference.parse(reference)
            # Anonymously: the server's own credentials are not for images that users name in their Dockerfiles.
            session = client.session(parsed.host, parsed.repository, ANONYMOUS)
            repository, target = RemoteRepository(session, parsed.repository), str(parsed.target)
            # A HEAD request first: registries that count pulls do not count it.
            return str(repository.manifest_digest(target) or repository.get_manifest(target).digest())
        except (ClientError, OCIError):
            return None
        finally:
            client.close()


async def _present_name(session: Session, name: str) -> str:
    """Return the name that a repository of this hub has now."""
    namespace, _, rest = name.partition("/")
    renamed = await former_names.successor(session, namespace, rest)
    return name if renamed is None or renamed.repository is None else renamed.repository


def _key(name: str, own_host: str) -> str:
    """Return how a base image is stored: NAMESPACE/NAME:TAG for images of this hub, with the host for others."""
    try:
        reference = Reference.parse(name).with_default_tag()
    except OCIError:
        return name[:400]
    if reference.host == own_host:
        return f"{canonical_name(reference.repository)}:{reference.target}"
    return str(reference)[:400]
