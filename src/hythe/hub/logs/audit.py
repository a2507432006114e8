"""The audit log: who changed what, from where and with which credential.

Services record each change in its own transaction, so that there is no change without its entry and no entry without
its change.
"""

import re
from collections.abc import Mapping
from datetime import datetime

import msgspec

from hythe.database import Session
from hythe.hub.access.actions import HubAction
from hythe.hub.accounts.namespaces import namespace_of, short_name
from hythe.hub.actor import HubActor
from hythe.hub.sql import audit as store

_PART = re.compile("[:@#]")

MAX_TARGET = 300
MAX_VALUE = 500
"""Characters of each text of an entry's detail."""


class AuditEntry(msgspec.Struct, frozen=True):
    """One entry. ``namespace`` (empty: none) is whose owners may read it, besides administrators."""

    id: int
    at: datetime
    actor: str
    credential: str
    address: str
    action: str
    namespace: str
    target: str
    detail: dict[str, str]


def subject_of(target: str) -> str:
    """Return a target without the part of a repository: ``ann/web`` for ``ann/web:1.0`` and ``ann/web#7``."""
    return _PART.split(target, 1)[0]


async def record_repository(
    session: Session,
    actor: HubActor,
    action: HubAction,
    repository: str,
    part: str = "",
    *,
    at: datetime,
    **detail: object,
) -> None:
    """Add an entry about a repository (canonical name), or about a ``part`` of it, such as ``:1.0`` or ``#7``."""
    target = f"{short_name(repository)}{part}"
    await record(session, actor, action, target, at=at, namespace=namespace_of(repository), detail=detail)


async def record(
    session: Session,
    actor: HubActor,
    action: HubAction,
    target: str,
    *,
    at: datetime,
    namespace: str = "",
    detail: Mapping[str, object] | None = None,
) -> None:
    """Add an entry to the audit log in the transaction of the change.

    ``target`` is what changed: ``ann/web``, ``ann/web:1.0``, the name of an account. ``namespace`` is the present name
    of the namespace whose owners may read the entry. ``detail`` has texts, numbers and the like that say how; no
    secrets.
    """
    texts = {name: str(value)[:MAX_VALUE] for name, value in (detail or {}).items()}
    await store.add(
        session,
        {
            "at": at,
            "actor": actor.name[:255],
            "credential": actor.credential[:160],
            "address": actor.address[:64],
            "action": action.value,
            "namespace": namespace,
            "target": target[:MAX_TARGET],
            "subject": subject_of(target)[:MAX_TARGET],
            "detail": msgspec.json.encode(texts).decode(),
        },
    )
