"""Gitea and Forgejo, after docs.gitea.com: "API", "Webhooks", "OAuth2 provider"."""

from __future__ import annotations

import uuid
from typing import Any

from tests.parts.forges.forge import (
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
    hexadecimal,
    ref_parts,
)


class GiteaForge(Forge):
    """Gitea; with `forgejo` the headers that Forgejo adds."""

    kind = "gitea"
    api = "/api/v1"
    authorize_path = "/login/oauth/authorize"
    token_path = "/login/oauth/access_token"
    forgejo = False
    routes = (
        ("GET", "/user", "user"),
        ("GET", "/repos/search", "repositories"),
        ("GET", "/repos/(?P<name>[^/]+/[^/]+)", "repository"),
        ("GET", "/repos/(?P<name>[^/]+/[^/]+)/(?P<what>branches|tags)", "list_refs"),
        ("POST", "/repos/(?P<name>[^/]+/[^/]+)/hooks", "add_hook"),
        ("DELETE", "/repos/(?P<name>[^/]+/[^/]+)/hooks/(?P<id>\\d+)", "remove_hook"),
        ("POST", "/repos/(?P<name>[^/]+/[^/]+)/keys", "add_key"),
        ("DELETE", "/repos/(?P<name>[^/]+/[^/]+)/keys/(?P<id>\\d+)", "remove_key"),
        ("POST", "/repos/(?P<name>[^/]+/[^/]+)/statuses/(?P<sha>[0-9a-f]{40})", "add_status"),
    )

    def user(self, asked: Asked) -> Reply:
        self.need(asked, "read:user")
        return Reply(200, {"id": 7, "login": LOGIN, "full_name": ""})

    def repositories(self, asked: Asked) -> Reply:
        self.need(asked, "write:repository", "read:repository")
        if asked.query.get("uid") != "7" or int(asked.query.get("limit", 10)) > 50:
            raise Wrong(422, f"query {asked.query}")
        found = [self._shown(each) for each in self.projects.values() if asked.query["q"].lower() in each.name.lower()]
        page = self.paged(asked, found, "limit")
        return Reply(200, {"ok": True, "data": page.value}, page.headers)

    def repository(self, asked: Asked) -> Reply:
        self.need(asked, "write:repository", "read:repository")
        return Reply(200, self._shown(self.project(asked)))

    def _shown(self, project: Project) -> dict[str, Any]:
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

    def list_refs(self, asked: Asked) -> Reply:
        self.need(asked, "write:repository", "read:repository")
        branches = asked.groups["what"] == "branches"
        found = self.refs(self.project(asked), "heads" if branches else "tags")
        field_name = "id" if branches else "sha"
        return self.paged(asked, [{"name": name, "commit": {field_name: sha}} for name, sha in found], "limit")

    def _administered(self, asked: Asked) -> Project:
        self.need(asked, "write:repository")
        project = self.project(asked)
        if not project.admin:
            raise Wrong(403, "user should be an owner or a collaborator with admin write of a repository")
        return project

    def add_hook(self, asked: Asked) -> Reply:
        project = self._administered(asked)
        sent = exactly(asked.json, {"type", "active", "events", "config"})
        config = exactly(sent["config"], {"url", "content_type", "secret"})
        if sent["type"] != "gitea" or set(sent["events"]) != {"push", "delete"} or config["content_type"] != "json":
            raise Wrong(422, f"hook {sent}")
        number = str(next(NUMBERS))
        project.hooks[number] = {"url": config["url"], "secret": config["secret"]}
        return Reply(201, {"id": int(number), "type": "gitea", "active": True})

    def remove_hook(self, asked: Asked) -> Reply:
        return Reply(204) if self._administered(asked).hooks.pop(asked.groups["id"], None) else Reply(404, {})

    def add_key(self, asked: Asked) -> Reply:
        project = self._administered(asked)
        sent = exactly(asked.json, {"title", "key", "read_only"})
        if not SSH_KEY.fullmatch(sent["key"]) or sent["read_only"] is not True:
            raise Wrong(422, "key is invalid")
        number = str(next(NUMBERS))
        project.keys[number] = sent
        return Reply(201, {"id": int(number), "read_only": True})

    def remove_key(self, asked: Asked) -> Reply:
        return Reply(204) if self._administered(asked).keys.pop(asked.groups["id"], None) else Reply(404, {})

    def add_status(self, asked: Asked) -> Reply:
        self.need(asked, "write:repository")
        sent = exactly(asked.json, {"state", "target_url", "description", "context"})
        if sent["state"] not in ("pending", "success", "error", "failure", "warning"):
            raise Wrong(422, f"status {sent}")
        self.project(asked).statuses.append({"commit": asked.groups["sha"], **sent})
        return Reply(201, {"id": next(NUMBERS), "status": sent["state"]})

    def push_event(self, project: Project, ref: str, before: str, after: str) -> tuple[dict[str, str], Any]:
        if after == ZERO:
            kind, name = ref_parts(ref)
            value = {"ref": name, "ref_type": "branch" if kind == "heads" else "tag", "pusher_type": "user"}
            return self._headers("delete"), value | {"repository": self._shown(project)}
        author = {"name": "Ann Author", "email": "ann@example.com", "username": LOGIN}
        commit = {"id": after, "message": "Change", "author": author, "committer": author}
        return self._headers("push"), {
            "ref": ref,
            "before": before,
            "after": after,
            "compare_url": "",
            "commits": [commit],
            "head_commit": commit,
            "repository": self._shown(project),
            "pusher": {"id": 7, "login": LOGIN, "username": LOGIN},
            "sender": {"id": 7, "login": LOGIN},
        }

    def _headers(self, event: str) -> dict[str, str]:
        delivery = str(uuid.uuid4())
        brands = ["Gitea", "Gogs", "GitHub"] + (["Forgejo"] if self.forgejo else [])
        headers = {f"X-{brand}-Event": event for brand in brands}
        return headers | {f"X-{brand}-Delivery": delivery for brand in brands}

    def signature(self, body: bytes, secret: str) -> dict[str, str]:
        signed = hexadecimal(body, secret)
        headers = {"X-Gitea-Signature": signed, "X-Gogs-Signature": signed, "X-Hub-Signature-256": f"sha256={signed}"}
        return headers | ({"X-Forgejo-Signature": signed} if self.forgejo else {})
