"""Base class and helpers of the adapters' webhook formats."""

from datetime import datetime
from typing import Any

import msgspec

from hythe.forges.json_sanitizing import without_nul
from hythe.forges.port import ForgeEvent, Headers, InvalidEvent, RefUpdate
from hythe.forges.source_ref import SourceRef, parse_ref, valid_commit

MAX_OBJECTS = 20_000
"""Commits and other objects in a body, which take about 10 ms to parse; GitHub sends at most 2,048 commits."""


class HeaderWebhookFormat:
    """Implements port.WebhookFormat's header lookups: subclasses name the forge's headers, in order of preference."""

    event_headers: tuple[str, ...]
    delivery_headers: tuple[str, ...]

    def matches(self, headers: Headers) -> bool:
        """See port.WebhookFormat."""
        return any(name in headers for name in self.event_headers)

    def event(self, headers: Headers) -> str:
        """See port.WebhookFormat."""
        return first_header(headers, self.event_headers)

    def delivery_id(self, headers: Headers, body: bytes) -> str:
        """See port.WebhookFormat."""
        return first_header(headers, self.delivery_headers)


class AuthorBody(msgspec.Struct, frozen=True):
    """The author of a commit, or the user who pushed."""

    name: str = ""
    email: str = ""
    login: str = ""


class CommitDetails(msgspec.Struct, frozen=True):
    """A commit as push events describe it."""

    id: str = ""
    message: str = ""
    author: AuthorBody = AuthorBody()


class _RepositoryName(msgspec.Struct, frozen=True):
    full_name: str


class _RepositoryEvent(msgspec.Struct, frozen=True):
    repository: _RepositoryName | None = None


def first_header(headers: Headers, names: tuple[str, ...]) -> str:
    """Return the first of these headers that is set, or ""."""
    return next((headers[name] for name in names if headers.get(name)), "")


def parse_body(body: bytes, wanted: type[Any]) -> Any:
    """Return a webhook's JSON body as ``wanted``. Raises InvalidEvent."""
    # Both are counted in texts, too, because that takes no time.
    if len(body) > MAX_OBJECTS and max(body.count(b"{"), body.count(b"\\u0000")) > MAX_OBJECTS:
        raise InvalidEvent(f"the body has more than {MAX_OBJECTS} objects: push fewer commits at once")
    try:
        return msgspec.json.decode(without_nul(body), type=wanted)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidEvent(f"the body is not in this forge's documented format: {error}") from error


def other_event(body: bytes, event: str) -> ForgeEvent:
    """Return an event that is not a push, such as a ping, in the format of GitHub and Gitea. Raises InvalidEvent."""
    repository = parse_body(body, _RepositoryEvent).repository
    return ForgeEvent(repository=repository.full_name if repository else "", event=event)


def push_event(
    *,
    repository: str,
    event: str,
    ref: str,
    before: str,
    commit: str,
    details: CommitDetails,
    pusher: str,
    sent_at: datetime | None = None,
) -> ForgeEvent:
    """Return the event of a push to one ref: an update, or without ``commit`` a deletion."""
    parsed = parse_ref(ref, commit)
    author = f"{details.author.name} <{details.author.email}>" if details.author.name else ""
    updates: tuple[RefUpdate, ...] = ()
    deleted: tuple[SourceRef, ...] = ()
    if parsed is not None and parsed.commit:
        updates = (RefUpdate(ref=parsed, before=valid_commit(before), message=details.message, author=author),)
    elif parsed is not None:
        deleted = (parsed,)
    return ForgeEvent(
        repository=repository, event=event, updates=updates, deleted=deleted, pusher=pusher, sent_at=sent_at
    )
