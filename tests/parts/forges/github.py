"""GitHub Enterprise, as documented at docs.github.com/rest (2022-11-28) and in "Webhook events and payloads"."""

from __future__ import annotations

import hashlib
import hmac
import time
import uuid
from collections.abc import Mapping
from typing import Any, ClassVar

from tests.parts.forges.fake_forge import (
    AUTHOR,
    BASIC_AUTH,
    CLIENT_ID,
    LOGIN,
    OWNER_AND_NAME,
    ZERO,
    FakeForge,
    Project,
    hmac_hex,
)
from tests.parts.forges.messages import ForgeRequest, ForgeResponse, RequestRejected, SentWebhook


class FakeGitHub(FakeForge):
    """GitHub Enterprise: the API is below /api/v3."""

    kind = "github"
    api = "/api/v3"
    authorize_path = "/login/oauth/authorize"
    token_path = "/login/oauth/access_token"
    refresh_tokens = False
    project_path = f"/repos/{OWNER_AND_NAME}"
    more_routes = (("GET", "/user/repos", "repositories"), ("DELETE", f"/applications/{CLIENT_ID}/token", "revoke"))
    webhook_scopes = ("repo", "admin:repo_hook")
    deploy_key_scopes = ("repo",)
    status_scopes = ("repo", "public_repo", "repo:status")
    no_admin = (404, "Not Found")
    deploy_key_fields: ClassVar[Mapping[str, Any]] = {"title": None, "read_only": True}
    status_fields = frozenset({"state", "target_url", "description", "context"})
    status_states = frozenset({"error", "failure", "pending", "success"})

    def account(self, request: ForgeRequest) -> ForgeResponse:
        if not request.headers.get("user-agent"):
            raise RequestRejected(403, "Request forbidden by administrative rules: a User-Agent is needed")
        scopes = {"X-OAuth-Scopes": ", ".join(sorted(self.token_scopes(request)))}
        return ForgeResponse(200, {"id": 583231, "login": LOGIN, "type": "User"}, scopes)

    def repositories(self, request: ForgeRequest) -> ForgeResponse:
        reads_private = self._reads_private(request)
        projects = [project for project in self.projects.values() if reads_private or not project.private]
        return self.paginate(request, [self.project_value(project) for project in projects])

    def repository(self, request: ForgeRequest) -> ForgeResponse:
        if self.project(request).private and not self._reads_private(request):
            raise RequestRejected(404, "Not Found")
        return super().repository(request)

    def _reads_private(self, request: ForgeRequest) -> bool:
        """Public repositories can be read without a scope."""
        return bool(self.token_scopes(request) & {"repo", "*"})

    def project_value(self, project: Project) -> dict[str, Any]:
        return {
            "id": 1296269,
            "name": project.name.split("/")[1],
            "full_name": project.name,
            "private": project.private,
            "description": None,
            "clone_url": project.git.url,
            "ssh_url": self.ssh_url(project),
            "default_branch": "main",
            "permissions": {"admin": project.admin, "push": True, "pull": True},
        }

    def ref_value(self, folder: str, name: str, commit: str) -> dict[str, Any]:
        return {"name": name, "commit": {"sha": commit}}

    def add_webhook(self, request: ForgeRequest) -> ForgeResponse:
        project = self.administered(request, self.webhook_scopes)
        url, _ = self.read_webhook(request.json)
        if any(webhook["url"] == url for webhook in project.webhooks.values()):
            raise RequestRejected(422, "Hook already exists on this repository")
        return super().add_webhook(request)

    def read_webhook(self, value: Any) -> tuple[str, str]:
        self.require_fields(value, {"name", "active", "events", "config"})
        config = self.require_fields(value["config"], {"url", "content_type", "secret", "insecure_ssl"})
        if value["name"] != "web" or value["events"] != ["push"] or config["content_type"] != "json":
            raise RequestRejected(422, f"webhook {value}")
        return config["url"], config["secret"]

    def read_status(self, project: Project, commit: str, value: dict[str, Any]) -> None:
        if len(value["description"]) > 140:
            raise RequestRejected(422, f"status {value}")

    def revoke(self, request: ForgeRequest) -> ForgeResponse:
        if request.headers.get("authorization") != BASIC_AUTH:
            raise RequestRejected(401, "Bad credentials")
        token = self.require_fields(request.json, {"access_token"})["access_token"]
        return ForgeResponse(204) if self.tokens.pop(token, None) else ForgeResponse(404, {"message": "Not Found"})

    def push_event(self, project: Project, ref: str, before: str, after: str) -> tuple[dict[str, str], Any]:
        author = {**AUTHOR, "username": LOGIN}
        commit = {"id": after, "message": "Change", "timestamp": "2026-11-23T12:00:00Z", "author": author}
        return self._headers("push"), {
            "ref": ref,
            "before": before,
            "after": after,
            "created": before == ZERO,
            "deleted": after == ZERO,
            "forced": False,
            "head_commit": None if after == ZERO else commit,
            "commits": [] if after == ZERO else [commit],
            "repository": self.project_value(project) | {"pushed_at": int(time.time())},
            "pusher": {"name": LOGIN, "email": "octo@example.com"},
            "sender": {"login": LOGIN, "id": 583231},
        }

    def ping(self, project: Project) -> list[SentWebhook]:
        """Send the event that tests a new webhook."""
        value = {"zen": "Design for failure.", "hook_id": 1, "repository": self.project_value(project)}
        return [self.send(webhook, self._headers("ping"), value) for webhook in project.webhooks.values()]

    def _headers(self, event: str) -> dict[str, str]:
        return {
            "User-Agent": "GitHub-Hookshot/044aadd",
            "X-GitHub-Delivery": str(uuid.uuid4()),
            "X-GitHub-Event": event,
            "X-GitHub-Hook-ID": "292430182",
        }

    def signature(self, body: bytes, secret: str) -> dict[str, str]:
        sha1 = hmac.new(secret.encode(), body, hashlib.sha1).hexdigest()
        return {"X-Hub-Signature": f"sha1={sha1}", "X-Hub-Signature-256": f"sha256={hmac_hex(body, secret)}"}
