"""Gitea and Forgejo, as documented at docs.gitea.com: "API", "Webhooks", "OAuth2 provider"."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any, ClassVar

from tests.parts.forges.fake_forge import (
    AUTHOR,
    LOGIN,
    OWNER_AND_NAME,
    ZERO,
    FakeForge,
    Project,
    hmac_hex,
    split_ref,
)
from tests.parts.forges.messages import ForgeRequest, ForgeResponse, RequestRejected


class FakeGitea(FakeForge):
    """Gitea; with `forgejo` it adds the headers of Forgejo."""

    kind = "gitea"
    api = "/api/v1"
    authorize_path = "/login/oauth/authorize"
    token_path = "/login/oauth/access_token"
    forgejo = False
    project_path = f"/repos/{OWNER_AND_NAME}"
    more_routes = (("GET", "/repos/search", "repositories"),)
    account_scopes = ("read:user",)
    read_scopes = ref_scopes = ("write:repository", "read:repository")
    webhook_scopes = deploy_key_scopes = status_scopes = ("write:repository",)
    page_size = "limit"
    no_admin = (403, "user should be an owner or a collaborator with admin write of a repository")
    deploy_key_fields: ClassVar[Mapping[str, Any]] = {"title": None, "read_only": True}
    status_fields = frozenset({"state", "target_url", "description", "context"})
    status_states = frozenset({"pending", "success", "error", "failure", "warning"})

    def account(self, request: ForgeRequest) -> ForgeResponse:
        self.require_scope(request, *self.account_scopes)
        return ForgeResponse(200, {"id": 7, "login": LOGIN, "full_name": ""})

    def repositories(self, request: ForgeRequest) -> ForgeResponse:
        self.require_scope(request, *self.read_scopes)
        if request.query.get("uid") != "7" or int(request.query.get("limit", 10)) > 50:
            raise RequestRejected(422, f"query {request.query}")
        search = request.query["q"].lower()
        projects = [self.project_value(each) for each in self.projects.values() if search in each.name.lower()]
        page = self.paginate(request, projects)
        return ForgeResponse(200, {"ok": True, "data": page.value}, page.headers)

    def project_value(self, project: Project) -> dict[str, Any]:
        return {
            "id": 140,
            "name": project.name.split("/")[1],
            "full_name": project.name,
            "private": project.private,
            "description": "",
            "clone_url": project.git.url,
            "ssh_url": self.ssh_url(project),
            "default_branch": "main",
            "permissions": {"admin": project.admin, "push": True, "pull": True},
        }

    def ref_value(self, folder: str, name: str, commit: str) -> dict[str, Any]:
        return {"name": name, "commit": {"id" if folder == "heads" else "sha": commit}}

    def read_webhook(self, value: Any) -> tuple[str, str]:
        self.require_fields(value, {"type", "active", "events", "config"})
        config = self.require_fields(value["config"], {"url", "content_type", "secret"})
        if value["type"] != "gitea" or set(value["events"]) != {"push", "delete"} or config["content_type"] != "json":
            raise RequestRejected(422, f"webhook {value}")
        return config["url"], config["secret"]

    def push_event(self, project: Project, ref: str, before: str, after: str) -> tuple[dict[str, str], Any]:
        if after == ZERO:
            folder, name = split_ref(ref)
            value = {"ref": name, "ref_type": "branch" if folder == "heads" else "tag", "pusher_type": "user"}
            return self._headers("delete"), value | {"repository": self.project_value(project)}
        author = {**AUTHOR, "username": LOGIN}
        commit = {"id": after, "message": "Change", "author": author, "committer": author}
        return self._headers("push"), {
            "ref": ref,
            "before": before,
            "after": after,
            "compare_url": "",
            "commits": [commit],
            "head_commit": commit,
            "repository": self.project_value(project),
            "pusher": {"id": 7, "login": LOGIN, "username": LOGIN},
            "sender": {"id": 7, "login": LOGIN},
        }

    def _headers(self, event: str) -> dict[str, str]:
        delivery = str(uuid.uuid4())
        brands = ["Gitea", "Gogs", "GitHub"] + (["Forgejo"] if self.forgejo else [])
        headers = {f"X-{brand}-Event": event for brand in brands}
        return headers | {f"X-{brand}-Delivery": delivery for brand in brands}

    def signature(self, body: bytes, secret: str) -> dict[str, str]:
        signed = hmac_hex(body, secret)
        headers = {"X-Gitea-Signature": signed, "X-Gogs-Signature": signed, "X-Hub-Signature-256": f"sha256={signed}"}
        return headers | ({"X-Forgejo-Signature": signed} if self.forgejo else {})
