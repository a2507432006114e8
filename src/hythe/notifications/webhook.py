"""Outgoing notices as values: who wants to be told, what is sent, and how it went."""

import hashlib
import hmac
from datetime import datetime
from enum import Enum
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from hythe.builds.build import Build
from hythe.hub.namespaces import short_name
from hythe.hub.repository import Repository


class Event(Enum):
    """What a notice can be about; ``fixed`` is the first success after a failure."""

    SUCCESS = "success"
    FAILURE = "failure"
    FIXED = "fixed"


class NewNotice(msgspec.Struct, frozen=True, kw_only=True):
    """Where to send what. With ``chained`` it waits until the one before it was called back with success."""

    url: Annotated[str, Meta(min_length=8, max_length=2000)]
    secret: Annotated[str, Meta(max_length=200)] = ""
    events: tuple[Event, ...] = (Event.SUCCESS,)
    chained: bool = False


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """A place that is told of builds; ``secret`` is sealed."""

    id: int
    configuration_id: int
    url: str
    secret: str
    events: tuple[Event, ...]
    chained: bool
    created_at: datetime

    @property
    def is_mail(self) -> bool:
        """Whether this is an e-mail address."""
        return self.url.startswith("mailto:")


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """One notice of one build; ``due_at`` None: delivered, given up, or waiting for the one before it."""

    id: str
    webhook_id: int
    build_id: int
    event: Event
    body: str
    callback: str
    callback_state: str
    attempts: int
    due_at: datetime | None
    status: int
    outcome: str
    created_at: datetime


class CallbackBody(msgspec.Struct, frozen=True):
    """What a receiver answers to ``callback_url`` (Docker Hub's webhook chains)."""

    state: str
    description: Annotated[str, Meta(max_length=255)] = ""
    context: Annotated[str, Meta(max_length=100)] = ""
    target_url: Annotated[str, Meta(max_length=2000)] = ""


def body_of(build: Build, repository: Repository, hub_url: str, callback: str) -> dict[str, Any]:
    """Return Docker Hub's webhook body, with what a build adds to it."""
    name = short_name(build.repository)
    return {
        "callback_url": f"{hub_url}/u/{build.repository}/hook/{callback}/",
        "push_data": {
            "pushed_at": int((build.finished_at or build.created_at).timestamp()),
            "pusher": build.account,
            "tag": build.tags[0] if build.tags else "",
            "images": [],
        },
        "repository": {
            "name": repository.name,
            "namespace": repository.namespace,
            "repo_name": name,
            "repo_url": f"{hub_url}/{name}",
            "owner": repository.namespace,
            "description": repository.description,
            "full_description": repository.full_description,
            "is_private": repository.private,
            "is_official": repository.official,
            "is_trusted": True,
            "star_count": repository.stars,
            "comment_count": 0,
            "date_created": int(repository.created_at.timestamp()),
            "dockerfile": build.result.dockerfile,
            "status": "Active",
        },
        "build": {
            "number": build.number,
            "status": build.status.value,
            "reason": build.reason,
            "commit": build.ref.commit,
            "source": build.ref.name,
            "tags": list(build.tags),
            "digest": build.digest,
        },
    }


def signature(secret: str, body: bytes) -> str:
    """Return the value of ``X-Hub-Signature-256``, as GitHub signs its own."""
    return f"sha256={hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}"
