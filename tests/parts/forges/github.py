"""GitHub Enterprise, after docs.github.com/rest (2022-11-28) and "Webhook events and payloads"."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
import uuid
from typing import Any

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
    Sent,
    Wrong,
    exactly,
    hexadecimal,
)


class GitHubForge(Forge):
    """GitHub Enterprise: the API is below /api/v3."""

    kind = "github"
    api = "/api/v3"
    authorize_path = "/login/oauth/authorize"
    token_path = "/login/oauth/access_token"
    says_expiry = False
    routes = (
        ("GET", "/user", "user"),
        ("GET", "/user/repos", "repositories"),
        ("GET", "/repos/(?P<name>[^/]+/[^/]+)", "repository"),
        ("GET", "/repos/(?P<name>[^/]+/[^/]+)/(?P<what>branches|tags)", "list_refs"),
        ("POST", "/repos/(?P<name>[^/]+/[^/]+)/hooks", "add_hook"),
        ("DELETE", "/repos/(?P<name>[^/]+/[^/]+)/hooks/(?P<id>\\d+)", "remove_hook"),
        ("POST", "/repos/(?P<name>[^/]+/[^/]+)/keys", "add_key"),
        ("DELETE", "/repos/(?P<name>[^/]+/[^/]+)/keys/(?P<id>\\d+)", "remove_key"),
        ("POST", "/repos/(?P<name>[^/]+/[^/]+)/statuses/(?P<sha>[0-9a-f]{40})", "add_status"),
        ("DELETE", f"/applications/{CLIENT_ID}/token", "revoke"),
    )

    def user(self, asked: Asked) -> Reply:
        if not asked.headers.get("user-agent"):
            raise Wrong(403, "Request forbidden by administrative rules: a User-Agent is needed")
        scopes = self.scopes(asked)
        return Reply(200, {"id": 583231, "login": LOGIN, "type": "User"}, {"X-OAuth-Scopes": ", ".join(sorted(scopes))})

    def repositories(self, asked: Asked) -> Reply:
        seen = [each for each in self.projects.values() if not each.private or self._reads_private(asked)]
        return self.paged(asked, [self._shown(each) for each in seen], "per_page")

    def _reads_private(self, asked: Asked) -> bool:
        """What is public needs no scope."""
        return bool(self.scopes(asked) & {"repo", "*"})

    def repository(self, asked: Asked) -> Reply:
        project = self.project(asked)
        if project.private and not self._reads_private(asked):
            raise Wrong(404, "Not Found")
        return Reply(200, self._shown(project))

    def _shown(self, project: Project) -> dict[str, Any]:
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

    def list_refs(self, asked: Asked) -> Reply:
        self.scopes(asked)
        folder = "heads" if asked.groups["what"] == "branches" else "tags"
        found = self.refs(self.project(asked), folder)
        return self.paged(asked, [{"name": name, "commit": {"sha": sha}} for name, sha in found], "per_page")

    def add_hook(self, asked: Asked) -> Reply:
        self.need(asked, "repo", "admin:repo_hook", "write:repo_hook")
        project = self._administered(asked)
        sent = exactly(asked.json, {"name", "active", "events", "config"})
        config = exactly(sent["config"], {"url", "content_type", "secret", "insecure_ssl"})
        if sent["name"] != "web" or sent["events"] != ["push"] or config["content_type"] != "json":
            raise Wrong(422, f"hook {sent}")
        if any(hook["url"] == config["url"] for hook in project.hooks.values()):
            raise Wrong(422, "Hook already exists on this repository")
        number = str(next(NUMBERS))
        project.hooks[number] = {"url": config["url"], "secret": config["secret"]}
        return Reply(201, {"id": int(number), "type": "Repository", "active": True})

    def _administered(self, asked: Asked) -> Project:
        project = self.project(asked)
        if not project.admin:
            raise Wrong(404, "Not Found")
        return project

    def remove_hook(self, asked: Asked) -> Reply:
        self.need(asked, "repo", "admin:repo_hook")
        return Reply(204) if self._administered(asked).hooks.pop(asked.groups["id"], None) else Reply(404, {})

    def add_key(self, asked: Asked) -> Reply:
        self.need(asked, "repo")
        sent = exactly(asked.json, {"title", "key", "read_only"})
        if not SSH_KEY.fullmatch(sent["key"]) or sent["read_only"] is not True:
            raise Wrong(422, "key is invalid")
        number = str(next(NUMBERS))
        self._administered(asked).keys[number] = sent
        return Reply(201, {"id": int(number), "read_only": True, "verified": True})

    def remove_key(self, asked: Asked) -> Reply:
        self.need(asked, "repo")
        return Reply(204) if self._administered(asked).keys.pop(asked.groups["id"], None) else Reply(404, {})

    def add_status(self, asked: Asked) -> Reply:
        self.need(asked, "repo", "public_repo", "repo:status")
        sent = exactly(asked.json, {"state", "target_url", "description", "context"})
        if sent["state"] not in ("error", "failure", "pending", "success") or len(sent["description"]) > 140:
            raise Wrong(422, f"status {sent}")
        self.project(asked).statuses.append({"commit": asked.groups["sha"], **sent})
        return Reply(201, {"id": next(NUMBERS), **sent})

    def revoke(self, asked: Asked) -> Reply:
        basic = base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()
        if asked.headers.get("authorization") != f"Basic {basic}":
            raise Wrong(401, "Bad credentials")
        gone = self.tokens.pop(exactly(asked.json, {"access_token"})["access_token"], None)
        return Reply(204) if gone is not None else Reply(404, {"message": "Not Found"})

    def push_event(self, project: Project, ref: str, before: str, after: str) -> tuple[dict[str, str], Any]:
        headers = {
            "User-Agent": "GitHub-Hookshot/044aadd",
            "X-GitHub-Delivery": str(uuid.uuid4()),
            "X-GitHub-Event": "push",
            "X-GitHub-Hook-ID": "292430182",
        }
        author = {"name": "Ann Author", "email": "ann@example.com", "username": LOGIN}
        commit = {"id": after, "message": "Change", "timestamp": "2026-11-23T12:00:00Z", "author": author}
        repository = self._shown(project) | {"pushed_at": int(time.time())}
        return headers, {
            "ref": ref,
            "before": before,
            "after": after,
            "created": before == ZERO,
            "deleted": after == ZERO,
            "forced": False,
            "head_commit": None if after == ZERO else commit,
            "commits": [] if after == ZERO else [commit],
            "repository": repository,
            "pusher": {"name": LOGIN, "email": "octo@example.com"},
            "sender": {"login": LOGIN, "id": 583231},
        }

    def ping(self, project: Project) -> list[Sent]:
        """The event that a new webhook is tried with."""
        headers = {"X-GitHub-Delivery": str(uuid.uuid4()), "X-GitHub-Event": "ping"}
        value = {"zen": "Design for failure.", "hook_id": 1, "repository": self._shown(project)}
        return [self.send(hook, headers, value) for hook in project.hooks.values()]

    def signature(self, body: bytes, secret: str) -> dict[str, str]:
        sha1 = hmac.new(secret.encode(), body, hashlib.sha1).hexdigest()
        return {"X-Hub-Signature": f"sha1={sha1}", "X-Hub-Signature-256": f"sha256={hexadecimal(body, secret)}"}
