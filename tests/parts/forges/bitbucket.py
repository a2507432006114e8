"""Bitbucket Cloud, as documented at developer.atlassian.com/cloud/bitbucket/rest (2.0) and in "Event payloads"."""

from __future__ import annotations

import re
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

TYPES = {"heads": "branch", "tags": "tag"}


class FakeBitbucket(FakeForge):
    """Bitbucket Cloud."""

    kind = "bitbucket"
    api = "/2.0"
    authorize_path = "/site/oauth2/authorize"
    token_path = "/site/oauth2/access_token"
    basic_auth = True
    project_path = f"/repositories/{OWNER_AND_NAME}"
    deploy_keys_path = "/deploy-keys"
    refs_path = "/refs"
    status_path = "/commit/(?P<commit>[0-9a-f]{40})/statuses/build"
    more_routes = (
        ("GET", "/user/workspaces", "workspaces"),
        ("GET", "/repositories/(?P<workspace>[^/]+)", "repositories"),
    )
    account_scopes = ("account",)
    read_scopes = ref_scopes = status_scopes = ("repository",)
    webhook_scopes = ("webhook",)
    deploy_key_scopes = ("repository:admin",)
    page_size = "pagelen"
    invalid_status = 400
    no_admin = (403, "Your credentials lack one or more required privilege scopes.")
    deploy_key_fields: ClassVar[Mapping[str, Any]] = {"label": None}
    deploy_key_status = 200
    status_fields = frozenset({"key", "name", "state", "url", "description"})
    status_states = frozenset({"INPROGRESS", "SUCCESSFUL", "FAILED", "STOPPED"})
    status_context = "name"

    def error_value(self, message: str) -> Any:
        return {"type": "error", "error": {"message": message}}

    def account(self, request: ForgeRequest) -> ForgeResponse:
        self.require_scope(request, *self.account_scopes)
        value = {"uuid": "{b7a1}", "account_id": "557058:1", "nickname": LOGIN, "display_name": "Octo"}
        return ForgeResponse(200, value, {"X-OAuth-Scopes": ", ".join(sorted(self.token_scopes(request)))})

    def workspaces(self, request: ForgeRequest) -> ForgeResponse:
        self.require_scope(request, *self.account_scopes)
        slugs = sorted({name.split("/")[0] for name in self.projects})
        access = [{"type": "workspace_access", "administrator": True, "workspace": {"slug": slug}} for slug in slugs]
        return ForgeResponse(200, {"values": access})

    def repositories(self, request: ForgeRequest) -> ForgeResponse:
        self.require_scope(request, *self.read_scopes)
        role = request.query.get("role")
        search = re.fullmatch(r'(name|slug) (~|=) "(.*)"', request.query.get("q", 'name ~ ""'))
        if role not in ("contributor", "admin") or int(request.query["pagelen"]) > 100 or search is None:
            raise RequestRejected(400, f"query {request.query}")
        workspace = f"{request.groups['workspace']}/"
        projects = [
            project
            for project in self.projects.values()
            if project.name.startswith(workspace)
            and search[3].lower() in project.name.lower()
            and (project.admin or role != "admin")
        ]
        values = [self.project_value(project) for project in projects]
        return ForgeResponse(200, {"values": values, "page": 1, "size": len(values)})

    def list_refs(self, request: ForgeRequest) -> ForgeResponse:
        response = super().list_refs(request)
        return ForgeResponse(200, {"values": response.value})

    def project_value(self, project: Project) -> dict[str, Any]:
        clone = [
            {"name": "https", "href": project.git.url.replace("://", f"://{LOGIN}@")},
            {"name": "ssh", "href": self.ssh_url(project)},
        ]
        return {
            "type": "repository",
            "full_name": project.name,
            "is_private": project.private,
            "description": "",
            "mainbranch": {"type": "branch", "name": "main"},
            "links": {"clone": clone},
        }

    def ref_value(self, folder: str, name: str, commit: str) -> dict[str, Any]:
        return {"type": TYPES[folder], "name": name, "target": {"hash": commit}}

    def read_webhook(self, value: Any) -> tuple[str, str]:
        self.require_fields(value, {"description", "url", "active", "secret", "events"})
        if value["events"] != ["repo:push"] or value["active"] is not True:
            raise RequestRejected(400, f"webhook {value}")
        return value["url"], value["secret"]

    def created_webhook(self) -> tuple[str, dict[str, Any]]:
        webhook_id = f"{{{uuid.uuid4()}}}"
        return webhook_id, {"uuid": webhook_id, "secret_set": True}

    def read_status(self, project: Project, commit: str, value: dict[str, Any]) -> None:
        if len(value["key"]) > 40:
            raise RequestRejected(400, f"status {value}")

    def push_event(self, project: Project, ref: str, before: str, after: str) -> tuple[dict[str, str], Any]:
        headers = {
            "User-Agent": "Bitbucket-Webhooks/2.0",
            "X-Event-Key": "repo:push",
            "X-Hook-UUID": str(uuid.uuid4()),
            "X-Request-UUID": str(uuid.uuid4()),
            "X-Attempt-Number": "1",
        }
        change = {"old": _target(ref, before), "new": _target(ref, after)}
        flags = {"created": before == ZERO, "closed": after == ZERO, "forced": False, "truncated": False}
        return headers, {
            "actor": {"type": "user", "uuid": "{b7a1}", "nickname": LOGIN, "display_name": "Octo"},
            "repository": {"type": "repository", "full_name": project.name, "uuid": "{1}"},
            "push": {"changes": [change | flags]},
        }

    def signature(self, body: bytes, secret: str) -> dict[str, str]:
        return {"X-Hub-Signature": f"sha256={hmac_hex(body, secret)}"} if secret else {}


def _target(ref: str, commit: str) -> Any:
    """Return one side of a change: a branch or tag and its commit, or None."""
    if commit == ZERO:
        return None
    folder, name = split_ref(ref)
    author = {"type": "author", "raw": f"{AUTHOR['name']} <{AUTHOR['email']}>"}
    target = {"type": "commit", "hash": commit, "message": "Change\n", "author": author}
    return {"type": TYPES[folder], "name": name, "target": target}
