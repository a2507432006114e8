"""Bitbucket Cloud, after developer.atlassian.com/cloud/bitbucket/rest (2.0) and "Event payloads"."""

from __future__ import annotations

import re
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


class BitbucketForge(Forge):
    """Bitbucket Cloud."""

    kind = "bitbucket"
    api = "/2.0"
    authorize_path = "/site/oauth2/authorize"
    token_path = "/site/oauth2/access_token"
    basic_client = True
    routes = (
        ("GET", "/user", "user"),
        ("GET", "/user/workspaces", "workspaces"),
        ("GET", "/repositories/(?P<workspace>[^/]+)", "repositories"),
        ("GET", "/repositories/(?P<name>[^/]+/[^/]+)", "repository"),
        ("GET", "/repositories/(?P<name>[^/]+/[^/]+)/refs/(?P<what>branches|tags)", "list_refs"),
        ("POST", "/repositories/(?P<name>[^/]+/[^/]+)/hooks", "add_hook"),
        ("DELETE", "/repositories/(?P<name>[^/]+/[^/]+)/hooks/(?P<id>[^/]+)", "remove_hook"),
        ("POST", "/repositories/(?P<name>[^/]+/[^/]+)/deploy-keys", "add_key"),
        ("DELETE", "/repositories/(?P<name>[^/]+/[^/]+)/deploy-keys/(?P<id>\\d+)", "remove_key"),
        ("POST", "/repositories/(?P<name>[^/]+/[^/]+)/commit/(?P<sha>[0-9a-f]{40})/statuses/build", "add_status"),
    )

    def error_body(self, message: str) -> Any:
        return {"type": "error", "error": {"message": message}}

    def user(self, asked: Asked) -> Reply:
        self.need(asked, "account")
        value = {"uuid": "{b7a1}", "account_id": "557058:1", "nickname": LOGIN, "display_name": "Octo"}
        return Reply(200, value, {"X-OAuth-Scopes": ", ".join(sorted(self.scopes(asked)))})

    def workspaces(self, asked: Asked) -> Reply:
        self.need(asked, "account")
        slugs = sorted({name.split("/")[0] for name in self.projects})
        access = [{"type": "workspace_access", "administrator": True, "workspace": {"slug": slug}} for slug in slugs]
        return Reply(200, {"values": access})

    def repositories(self, asked: Asked) -> Reply:
        self.need(asked, "repository")
        if asked.query.get("role") not in ("contributor", "admin") or int(asked.query["pagelen"]) > 100:
            raise Wrong(400, f"query {asked.query}")
        found = [each for each in self.projects.values() if each.name.startswith(f"{asked.groups['workspace']}/")]
        wanted = re.fullmatch(r'(name|slug) (~|=) "(.*)"', asked.query.get("q", 'name ~ ""'))
        if wanted is None:
            raise Wrong(400, f"q {asked.query['q']}")
        found = [each for each in found if wanted[3].lower() in each.name.lower()]
        if asked.query["role"] == "admin":
            found = [each for each in found if each.admin]
        return Reply(200, {"values": [self._shown(each) for each in found], "page": 1, "size": len(found)})

    def repository(self, asked: Asked) -> Reply:
        self.need(asked, "repository")
        return Reply(200, self._shown(self.project(asked)))

    def _shown(self, project: Project) -> dict[str, Any]:
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

    def list_refs(self, asked: Asked) -> Reply:
        self.need(asked, "repository")
        kind = "branch" if asked.groups["what"] == "branches" else "tag"
        found = self.refs(self.project(asked), "heads" if kind == "branch" else "tags")
        return Reply(200, {"values": [{"type": kind, "name": n, "target": {"hash": sha}} for n, sha in found]})

    def _administered(self, asked: Asked, scope: str) -> Project:
        self.need(asked, scope)
        project = self.project(asked)
        if not project.admin:
            raise Wrong(403, "Your credentials lack one or more required privilege scopes.")
        return project

    def add_hook(self, asked: Asked) -> Reply:
        project = self._administered(asked, "webhook")
        sent = exactly(asked.json, {"description", "url", "active", "secret", "events"})
        if sent["events"] != ["repo:push"] or sent["active"] is not True:
            raise Wrong(400, f"hook {sent}")
        name = f"{{{uuid.uuid4()}}}"
        project.hooks[name] = {"url": sent["url"], "secret": sent["secret"]}
        return Reply(201, {"uuid": name, "secret_set": True})

    def remove_hook(self, asked: Asked) -> Reply:
        gone = self._administered(asked, "webhook").hooks.pop(asked.groups["id"], None)
        return Reply(204) if gone else Reply(404, self.error_body("gone"))

    def add_key(self, asked: Asked) -> Reply:
        project = self._administered(asked, "repository:admin")
        sent = exactly(asked.json, {"label", "key"})
        if not SSH_KEY.fullmatch(sent["key"]):
            raise Wrong(400, "key is invalid")
        number = str(next(NUMBERS))
        project.keys[number] = sent
        return Reply(200, {"id": int(number), "type": "deploy_key"})

    def remove_key(self, asked: Asked) -> Reply:
        gone = self._administered(asked, "repository:admin").keys.pop(asked.groups["id"], None)
        return Reply(204) if gone else Reply(404, self.error_body("gone"))

    def add_status(self, asked: Asked) -> Reply:
        self.need(asked, "repository")
        sent = exactly(asked.json, {"key", "name", "state", "url", "description"})
        if sent["state"] not in ("INPROGRESS", "SUCCESSFUL", "FAILED", "STOPPED") or len(sent["key"]) > 40:
            raise Wrong(400, f"status {sent}")
        self.project(asked).statuses.append({"commit": asked.groups["sha"], "context": sent["name"], **sent})
        return Reply(201, {"type": "build", "key": sent["key"]})

    def push_event(self, project: Project, ref: str, before: str, after: str) -> tuple[dict[str, str], Any]:
        kind, name = ref_parts(ref)
        headers = {
            "User-Agent": "Bitbucket-Webhooks/2.0",
            "X-Event-Key": "repo:push",
            "X-Hook-UUID": str(uuid.uuid4()),
            "X-Request-UUID": str(uuid.uuid4()),
            "X-Attempt-Number": "1",
        }

        def side(commit: str) -> Any:
            if commit == ZERO:
                return None
            author = {"type": "author", "raw": "Ann Author <ann@example.com>"}
            target = {"type": "commit", "hash": commit, "message": "Change\n", "author": author}
            return {"type": "branch" if kind == "heads" else "tag", "name": name, "target": target}

        change = {"old": side(before), "new": side(after), "created": before == ZERO, "closed": after == ZERO}
        actor = {"type": "user", "uuid": "{b7a1}", "nickname": LOGIN, "display_name": "Octo"}
        return headers, {
            "actor": actor,
            "repository": {"type": "repository", "full_name": project.name, "uuid": "{1}"},
            "push": {"changes": [change | {"forced": False, "truncated": False}]},
        }

    def signature(self, body: bytes, secret: str) -> dict[str, str]:
        return {"X-Hub-Signature": f"sha256={hexadecimal(body, secret)}"} if secret else {}
