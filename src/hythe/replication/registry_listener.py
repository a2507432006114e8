"""Events of the registry: what changed here is behind at the destinations of rules that push."""

import random
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from hythe.database import Session
from hythe.oci.digest import Digest
from hythe.registry.access import Actor
from hythe.registry.events import RegistryListener, RepositoryRef, TagMove
from hythe.replication.item import WHOLE_REPOSITORY
from hythe.replication.rule import Direction, ReplicationRule, subject_of_tag
from hythe.replication.sql import items as item_store
from hythe.replication.sql import rules as rule_store
from hythe.worker.layer_tags import is_layer_tag

RULES_LIFETIME = 1.0
"""Seconds for which the rules are cached, so that a push asks for them seldom. The first comparison of a rule begins
after twice that time, and finds what a server missed that did not know the rule yet.
"""

MAX_DELAY = 0.5
"""Maximum seconds by which an item waits, at random: two hubs that replicate to each other do not swap tags in step."""


class ReplicationRegistryListener(RegistryListener):
    """Records what is behind, in the transaction of the change."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._rules: tuple[ReplicationRule, ...] = ()
        self._loaded_at = float("-inf")

    async def tags_moved(
        self, session: Session, repository: RepositoryRef, moves: tuple[TagMove, ...], actor: Actor
    ) -> None:
        """See RegistryListener. Tags of layers that workers share are internal."""
        for rule in await self._covering(session, repository.name):
            names = [
                move.tag
                for move in moves
                if not is_layer_tag(move.tag)
                and (rule.covers_tag(move.tag) or subject_of_tag(move.tag))
                and (move.digest is not None or rule.deletions)
            ]
            await self._add(session, rule, repository.name, names)

    async def manifest_pushed(
        self, session: Session, repository: RepositoryRef, digest: Digest, media_type: str, size: int, actor: Actor
    ) -> None:
        """See RegistryListener. A manifest with a subject, such as a signature, may have no tag."""
        rules = await self._covering(session, repository.name)
        if not rules:
            return
        if await item_store.has_subject(session, repository.id, str(digest)):
            for rule in rules:
                await self._add(session, rule, repository.name, [str(digest)])

    async def repository_deleted(self, session: Session, repository: RepositoryRef, actor: Actor) -> None:
        """See RegistryListener."""
        for rule in await self._covering(session, repository.name):
            if rule.deletions:
                await self._add(session, rule, repository.name, [WHOLE_REPOSITORY])

    async def _covering(self, session: Session, repository: str) -> list[ReplicationRule]:
        if time.monotonic() - self._loaded_at > RULES_LIFETIME:
            loaded_at = time.monotonic()
            found = await rule_store.listed(session)
            self._rules = tuple(rule for rule in found if rule.direction is Direction.PUSH and rule.events)
            self._loaded_at = loaded_at
        return [rule for rule in self._rules if rule.covers_repository(repository)]

    async def _add(self, session: Session, rule: ReplicationRule, repository: str, names: Sequence[str]) -> None:
        now = self._clock()
        delay = timedelta(seconds=random.uniform(0, MAX_DELAY))  # noqa: S311 (no secret)
        # The rule may be gone since it was cached; if it is there, it must not go before the items refer to it.
        if names and await rule_store.hold(session, rule.id):
            await item_store.add(session, rule.id, repository, sorted(names), now, now + delay)
