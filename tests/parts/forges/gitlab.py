"""GitLab, as documented at docs.gitlab.com/api (v4) and in "Webhook events"."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any, ClassVar
from urllib.parse import parse_qsl

from tests.parts.forges.fake_forge import (
    AUTHOR,
    CLIENT_ID,
    CLIENT_SECRET,
    LOGIN,
    ZERO,
    FakeForge,
    Project,
    split_ref,
)
from tests.parts.forges.messages import ForgeRequest, ForgeResponse, RequestRejected


class FakeGitLab(FakeForge):
    """GitLab."""

    kind = "gitlab"
    api = "/api/v4"
    authorize_path = "/oauth/authorize"
    token_path = "/oauth/token"
    project_path = "/projects/(?P<name>[^/]+)"
    deploy_keys_path = "/deploy_keys"
    refs_path = "/repository"
    more_routes = (("GET", "/projects", "repositories"),)
    account_scopes = ("api", "read_api", "read_user")
    read_scopes = ("api", "read_api")
    ref_scopes = ("api", "read_api", "read_repository")
    webhook_scopes = deploy_key_scopes = status_scopes = ("api",)
    invalid_status = 400
    no_admin = (403, "403 Forbidden")
    deploy_key_fields: ClassVar[Mapping[str, Any]] = {"title": None, "can_push": False}
    status_fields = frozenset({"state", "name", "target_url", "description"})
    status_states = frozenset({"pending", "running", "success", "failed", "canceled", "skipped"})
    status_context = "name"

    def handle(self, request: ForgeRequest) -> ForgeResponse:
        if request.path == "/oauth/revoke":
            form = dict(parse_qsl(request.body.decode()))
            if (form.get("client_id"), form.get("client_secret")) != (CLIENT_ID, CLIENT_SECRET):
                return ForgeResponse(403, {"error": "unauthorized_client"})
            self.tokens.pop(form.get("token", ""), None)
            return ForgeResponse(200, {})
        return super().handle(request)

    def account(self, request: ForgeRequest) -> ForgeResponse:
        self.require_scope(request, *self.account_scopes)
        return ForgeResponse(200, {"id": 42, "username": LOGIN, "name": "Octo"})

    def repositories(self, request: ForgeRequest) -> ForgeResponse:
        self.require_scope(request, *self.read_scopes)
        if request.query.get("membership") != "true":
            raise RequestRejected(400, "all public projects")
        search = request.query.get("search", "").lower()
        projects = [self.project_value(each) for each in self.projects.values() if search in each.name.lower()]
        return self.paginate(request, projects)

    def project_value(self, project: Project) -> dict[str, Any]:
        level = 40 if project.admin else 30
        return {
            "id": 15,
            "path_with_namespace": project.name,
            "visibility": "private" if project.private else "public",
            "default_branch": "main",
            "description": None,
            "http_url_to_repo": project.git.url,
            "ssh_url_to_repo": self.ssh_url(project),
            "permissions": {"project_access": {"access_level": level}, "group_access": None},
        }

    def ref_value(self, folder: str, name: str, commit: str) -> dict[str, Any]:
        return {"name": name, "commit": {"id": commit}}

    def read_webhook(self, value: Any) -> tuple[str, str]:
        self.require_fields(value, {"url", "token", "push_events", "tag_push_events", "enable_ssl_verification"})
        if not (value["push_events"] is value["tag_push_events"] is value["enable_ssl_verification"] is True):
            raise RequestRejected(400, f"webhook {value}")
        return value["url"], value["token"]

    def read_status(self, project: Project, commit: str, value: dict[str, Any]) -> None:
        earlier = [status for status in project.statuses if status["context"] == value["name"]]
        state = value["state"]
        if earlier and (earlier[-1]["state"], earlier[-1]["commit"]) == (state, commit):
            raise RequestRejected(400, f"Cannot transition status via :{state} from :{state}")

    def push_event(self, project: Project, ref: str, before: str, after: str) -> tuple[dict[str, str], Any]:
        folder, _ = split_ref(ref)
        headers = {
            "User-Agent": "GitLab/18.6.0",
            "X-Gitlab-Event": "Push Hook" if folder == "heads" else "Tag Push Hook",
            "X-Gitlab-Event-UUID": str(uuid.uuid4()),
            "X-Gitlab-Webhook-UUID": str(uuid.uuid4()),
            "Idempotency-Key": str(uuid.uuid4()),
        }
        commits = [] if after == ZERO else [{"id": after, "message": "Change", "author": AUTHOR}]
        return headers, {
            "object_kind": "push" if folder == "heads" else "tag_push",
            "before": before,
            "after": after,
            "ref": ref,
            "checkout_sha": None if after == ZERO else after,
            "user_username": LOGIN,
            "project": {"id": 15, "path_with_namespace": project.name, "git_http_url": project.git.url},
            "commits": commits,
            "total_commits_count": len(commits),
        }

    def signature(self, body: bytes, secret: str) -> dict[str, str]:
        return {"X-Gitlab-Token": secret} if secret else {}
