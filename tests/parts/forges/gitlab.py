"""GitLab, after docs.gitlab.com/api (v4) and "Webhook events"."""

from __future__ import annotations

import uuid
from typing import Any
from urllib.parse import parse_qsl

from tests.parts.forges.forge import (
    CLIENT_ID,
    CLIENT_SECRET,
    LOGIN,
    NUMBERS,
    SSH_KEY,
    ZERO,
    Asked,
    Forge,
    Project,
    Reply,
    Wrong,
    exactly,
    ref_parts,
)


class GitLabForge(Forge):
    """GitLab."""

    kind = "gitlab"
    api = "/api/v4"
    authorize_path = "/oauth/authorize"
    token_path = "/oauth/token"
    routes = (
        ("GET", "/user", "user"),
        ("GET", "/projects", "repositories"),
        ("GET", "/projects/(?P<name>[^/]+)", "repository"),
        ("GET", "/projects/(?P<name>[^/]+)/repository/(?P<what>branches|tags)", "list_refs"),
        ("POST", "/projects/(?P<name>[^/]+)/hooks", "add_hook"),
        ("DELETE", "/projects/(?P<name>[^/]+)/hooks/(?P<id>\\d+)", "remove_hook"),
        ("POST", "/projects/(?P<name>[^/]+)/deploy_keys", "add_key"),
        ("DELETE", "/projects/(?P<name>[^/]+)/deploy_keys/(?P<id>\\d+)", "remove_key"),
        ("POST", "/projects/(?P<name>[^/]+)/statuses/(?P<sha>[0-9a-f]{40})", "add_status"),
    )

    def answer(self, asked: Asked) -> Reply:
        if asked.path == "/oauth/revoke":
            form = dict(parse_qsl(asked.body.decode()))
            if (form.get("client_id"), form.get("client_secret")) != (CLIENT_ID, CLIENT_SECRET):
                return Reply(403, {"error": "unauthorized_client"})
            self.tokens.pop(form.get("token", ""), None)
            return Reply(200, {})
        return super().answer(asked)

    def user(self, asked: Asked) -> Reply:
        self.need(asked, "api", "read_api", "read_user")
        return Reply(200, {"id": 42, "username": LOGIN, "name": "Octo"})

    def repositories(self, asked: Asked) -> Reply:
        self.need(asked, "api", "read_api")
        if asked.query.get("membership") != "true":
            raise Wrong(400, "all public projects")
        search = asked.query.get("search", "").lower()
        return self.paged(
            asked, [self._shown(each) for each in self.projects.values() if search in each.name.lower()], "per_page"
        )

    def repository(self, asked: Asked) -> Reply:
        self.need(asked, "api", "read_api")
        return Reply(200, self._shown(self.project(asked)))

    def _shown(self, project: Project) -> dict[str, Any]:
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

    def list_refs(self, asked: Asked) -> Reply:
        self.need(asked, "api", "read_api", "read_repository")
        folder = "heads" if asked.groups["what"] == "branches" else "tags"
        found = self.refs(self.project(asked), folder)
        return self.paged(asked, [{"name": name, "commit": {"id": sha}} for name, sha in found], "per_page")

    def _administered(self, asked: Asked) -> Project:
        self.need(asked, "api")
        project = self.project(asked)
        if not project.admin:
            raise Wrong(403, "403 Forbidden")
        return project

    def add_hook(self, asked: Asked) -> Reply:
        project = self._administered(asked)
        sent = exactly(asked.json, {"url", "token", "push_events", "tag_push_events", "enable_ssl_verification"})
        if not (sent["push_events"] is sent["tag_push_events"] is sent["enable_ssl_verification"] is True):
            raise Wrong(400, f"hook {sent}")
        number = str(next(NUMBERS))
        project.hooks[number] = {"url": sent["url"], "secret": sent["token"]}
        return Reply(201, {"id": int(number), "url": sent["url"]})

    def remove_hook(self, asked: Asked) -> Reply:
        gone = self._administered(asked).hooks.pop(asked.groups["id"], None)
        return Reply(204) if gone else Reply(404, {"message": "404 Not found"})

    def add_key(self, asked: Asked) -> Reply:
        project = self._administered(asked)
        sent = exactly(asked.json, {"title", "key", "can_push"})
        if not SSH_KEY.fullmatch(sent["key"]) or sent["can_push"] is not False:
            raise Wrong(400, "key is invalid")
        number = str(next(NUMBERS))
        project.keys[number] = sent
        return Reply(201, {"id": int(number), "can_push": False})

    def remove_key(self, asked: Asked) -> Reply:
        gone = self._administered(asked).keys.pop(asked.groups["id"], None)
        return Reply(204) if gone else Reply(404, {"message": "404 Not found"})

    def add_status(self, asked: Asked) -> Reply:
        self.need(asked, "api")
        sent = exactly(asked.json, {"state", "name", "target_url", "description"})
        if sent["state"] not in ("pending", "running", "success", "failed", "canceled", "skipped"):
            raise Wrong(400, f"status {sent}")
        known = [each for each in self.project(asked).statuses if each["context"] == sent["name"]]
        if known and (known[-1]["state"], known[-1]["commit"]) == (sent["state"], asked.groups["sha"]):
            raise Wrong(400, f"Cannot transition status via :{sent['state']} from :{sent['state']}")
        self.project(asked).statuses.append({"commit": asked.groups["sha"], "context": sent["name"], **sent})
        return Reply(201, {"id": next(NUMBERS), "status": sent["state"]})

    def push_event(self, project: Project, ref: str, before: str, after: str) -> tuple[dict[str, str], Any]:
        kind, _ = ref_parts(ref)
        headers = {
            "User-Agent": "GitLab/18.6.0",
            "X-Gitlab-Event": "Push Hook" if kind == "heads" else "Tag Push Hook",
            "X-Gitlab-Event-UUID": str(uuid.uuid4()),
            "X-Gitlab-Webhook-UUID": str(uuid.uuid4()),
            "Idempotency-Key": str(uuid.uuid4()),
        }
        author = {"name": "Ann Author", "email": "ann@example.com"}
        commits = [] if after == ZERO else [{"id": after, "message": "Change", "author": author}]
        return headers, {
            "object_kind": "push" if kind == "heads" else "tag_push",
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
