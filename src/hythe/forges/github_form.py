"""What GitHub and Gitea have in common, for Gitea's API took GitHub's form: webhooks, deploy keys, commit statuses."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import msgspec

from hythe.forges.api import API
from hythe.forges.port import CommitStatus, StatusState

STATES = {
    StatusState.PENDING: "pending",
    StatusState.RUNNING: "pending",
    StatusState.SUCCESS: "success",
    StatusState.FAILURE: "failure",
    StatusState.CANCELLED: "error",
}
LONGEST_DESCRIPTION = 140


class _Made(msgspec.Struct, frozen=True):
    id: int


class GitHubFormClient:
    """The part of port.ForgeClient that is the same at both."""

    def __init__(self, api: API) -> None:
        self._api = api

    async def make_hook(self, name: str, body: Mapping[str, Any]) -> str:
        """Install a webhook in the forge's own words; return its number."""
        return str((await self._api.post(f"{repository_path(name)}/hooks", body, _Made)).id)

    async def remove_hook(self, name: str, hook_id: str) -> None:
        """See port.ForgeClient."""
        await self._api.delete(f"{repository_path(name)}/hooks/{quote(hook_id)}")

    async def add_key(self, name: str, title: str, public_key: str) -> str:
        """See port.ForgeClient."""
        body = {"title": title, "key": public_key, "read_only": True}
        return str((await self._api.post(f"{repository_path(name)}/keys", body, _Made)).id)

    async def remove_key(self, name: str, key_id: str) -> None:
        """See port.ForgeClient."""
        await self._api.delete(f"{repository_path(name)}/keys/{quote(key_id)}")

    async def set_status(self, name: str, status: CommitStatus) -> None:
        """See port.ForgeClient."""
        body = {
            "state": STATES[status.state],
            "target_url": status.target_url,
            "description": status.description[:LONGEST_DESCRIPTION],
            "context": status.context,
        }
        await self._api.send("POST", f"{repository_path(name)}/statuses/{quote(status.commit)}", body=body)


def repository_path(name: str) -> str:
    """Return a repository's place below the API's address."""
    return f"/repos/{quote(name)}"
