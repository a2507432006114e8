"""What all stand-ins of forges share: accounts, tokens, OAuth, routes, webhooks sent."""

from __future__ import annotations

import base64
import hashlib
import hmac
import itertools
import json
import re
import secrets
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

import pytest
from tests.parts.git_server import GitRepository

ZERO = "0" * 40
LOGIN = "octo"
CLIENT_ID, CLIENT_SECRET = "hythe-client", "hythe-secret"
SSH_KEY = re.compile(r"ssh-ed25519 [A-Za-z0-9+/=]{68}( .*)?")
COMMIT = re.compile(r"[0-9a-f]{40}")

NUMBERS = itertools.count(1000)


@dataclass(slots=True)
class Reply:
    """What is answered."""

    status: int
    value: Any = None
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Asked:
    """What was asked, parsed."""

    method: str
    path: str
    query: dict[str, str]
    headers: Mapping[str, str]
    body: bytes
    groups: dict[str, str] = field(default_factory=dict)

    @property
    def json(self) -> Any:
        """The body as JSON, where it says that it is."""
        if self.headers.get("content-type") != "application/json":
            raise Wrong(415, f"content type {self.headers.get('content-type')}")
        return json.loads(self.body)


class Wrong(Exception):
    """A request that the forge would not take."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(slots=True)
class Project:
    """One repository at a forge."""

    name: str
    git: GitRepository
    private: bool = False
    admin: bool = True
    ssh: str = ""
    hooks: dict[str, dict[str, Any]] = field(default_factory=dict)
    keys: dict[str, dict[str, Any]] = field(default_factory=dict)
    statuses: list[dict[str, Any]] = field(default_factory=list)
    heads: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Sent:
    """A webhook request as it was sent, and what was answered."""

    url: str
    headers: dict[str, str]
    body: bytes
    status: int = 0
    answer: Any = None


Handler = Callable[[Any, Asked], Reply]


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *arguments: Any) -> None:
        return None


class Forge:
    """What all stand-ins share."""

    kind = ""
    api = ""
    routes: ClassVar[tuple[tuple[str, str, str], ...]] = ()
    authorize_path = ""
    token_path = ""
    basic_client = False
    says_expiry = True

    def __init__(self) -> None:
        self.url = ""
        self.projects: dict[str, Project] = {}
        self.tokens: dict[str, set[str]] = {}
        self.refreshes: dict[str, set[str]] = {}
        self.codes: dict[str, dict[str, str]] = {}
        self.redirect_uris: set[str] = set()
        self.violations: list[str] = []
        self.requests: list[str] = []
        self.fail_next: list[int] = []
        self.lifetime = 7200

    # What tests do

    @property
    def setting(self) -> str:
        """This forge in the hub's setting `forges`, with the hub registered as an application."""
        return f"{self.kind}+{self.url.replace('://', f'://{CLIENT_ID}:{CLIENT_SECRET}@')}"

    def token(self, *scopes: str) -> str:
        """Make a token of the user with these scopes; none: everything."""
        made = f"pat-{secrets.token_hex(8)}"
        self.tokens[made] = set(scopes) or {"*"}
        return made

    def add(self, git: GitRepository, *, private: bool = False, admin: bool = True, name: str = "") -> Project:
        """Put a repository of the git server on the forge."""
        project = Project(name or git.name, git, private, admin)
        self.projects[project.name] = project
        return project

    def allow(self, url: str) -> str:
        """Open an authorization address as a user who says yes; returns where the browser is sent."""
        opener = urllib.request.build_opener(_NoRedirect)
        with pytest.raises(urllib.error.HTTPError) as answered:
            opener.open(url, timeout=10)
        assert answered.value.code == 302, answered.value.read()
        return str(answered.value.headers["Location"])

    def push(self, project: Project, ref: str, after: str, **more: Any) -> list[Sent]:
        """Tell every webhook of a project that a full ref moved to a commit (ZERO: it was deleted)."""
        before = project.heads.get(ref, ZERO)
        project.heads[ref] = after
        return [
            self.send(hook, *self.push_event(project, ref, before, after), **more) for hook in project.hooks.values()
        ]

    def send(self, hook: Mapping[str, Any], headers: dict[str, str], value: Any, *, secret: str | None = None) -> Sent:
        """Sign and send one event to a webhook."""
        body = json.dumps(value).encode()
        signed = headers | self.signature(body, hook["secret"] if secret is None else secret)
        return self.deliver(Sent(hook["url"], {"Content-Type": "application/json", **signed}, body))

    def deliver(self, sent: Sent) -> Sent:
        """Send a request as it stands."""
        request = urllib.request.Request(sent.url, sent.body, sent.headers, method="POST")
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                status, content = response.status, response.read()
        except urllib.error.HTTPError as error:
            status, content = error.code, error.read()
        return Sent(sent.url, sent.headers, sent.body, status, json.loads(content) if content else None)

    def ssh_url(self, project: Project) -> str:
        """Where a project is cloned by SSH."""
        return project.ssh or f"git@{urlsplit(self.url).hostname}:{project.name}.git"

    # What each forge does in its own way

    def push_event(self, project: Project, ref: str, before: str, after: str) -> tuple[dict[str, str], Any]:
        """The headers and the body of a push event."""
        raise NotImplementedError

    def signature(self, body: bytes, secret: str) -> dict[str, str]:
        """The headers that sign a body."""
        raise NotImplementedError

    # Answering

    def answer(self, asked: Asked) -> Reply:
        """Answer a request; what is not taken is noted."""
        self.requests.append(f"{asked.method} {asked.path}")
        try:
            if asked.path == self.authorize_path:
                return self.authorize(asked)
            if asked.path == self.token_path:
                return self.grant(asked)
            return self.api_answer(asked)
        except Wrong as error:
            if error.status not in (401, 403, 404):
                self.violations.append(f"{asked.method} {asked.path}: {error}")
            return Reply(error.status, self.error_body(str(error)))

    def error_body(self, message: str) -> Any:
        """An error in this forge's form."""
        return {"message": message}

    def api_answer(self, asked: Asked) -> Reply:
        """Answer a request of the API: the token first, then the route."""
        for method, pattern, name in self.routes:
            found = re.fullmatch(self.api + pattern, asked.path)
            if found and method == asked.method:
                asked.groups = {key: unquote(value) for key, value in found.groupdict().items()}
                if self.fail_next:
                    return Reply(self.fail_next.pop(0), self.error_body("try later"))
                handler: Handler = getattr(type(self), name)
                return handler(self, asked)
        self.violations.append(f"{asked.method} {asked.path} is not documented")
        raise Wrong(404, "Not Found")

    def scopes(self, asked: Asked) -> set[str]:
        """The scopes of the request's token."""
        shown = asked.headers.get("authorization", "").removeprefix("Bearer ")
        if shown not in self.tokens:
            raise Wrong(401, "Bad credentials")
        return self.tokens[shown]

    def need(self, asked: Asked, *any_of: str) -> None:
        """One of these scopes is needed."""
        held = self.scopes(asked)
        if "*" not in held and not held & set(any_of):
            raise Wrong(403, f"needs one of {', '.join(any_of)}")

    def project(self, asked: Asked) -> Project:
        """The project that the path names."""
        if asked.groups["name"] not in self.projects:
            raise Wrong(404, "Not Found")
        return self.projects[asked.groups["name"]]

    def refs(self, project: Project, folder: str) -> list[tuple[str, str]]:
        """Names and commits of the project's branches or tags."""
        form = "--format=%(refname:short) %(if)%(*objectname)%(then)%(*objectname)%(else)%(objectname)%(end)"
        bare = project.git.bare
        lines = project.git.git("--git-dir", str(bare), "for-each-ref", form, f"refs/{folder}").splitlines()
        return [(line.split()[0], line.split()[1]) for line in lines]

    def paged(self, asked: Asked, items: list[Any], size_name: str) -> Reply:
        """One page of a list with a Link header (RFC 8288)."""
        size, page = int(asked.query.get(size_name, 30)), int(asked.query.get("page", 1))
        if size > 100:
            raise Wrong(422, f"{size_name} {size}")
        headers = {}
        if len(items) > size * page:
            headers["Link"] = f'<{self.url}{asked.path}?page={page + 1}>; rel="next"'
        return Reply(200, items[size * (page - 1) : size * page], headers)

    # OAuth

    def authorize(self, asked: Asked) -> Reply:
        """The authorization page; its user says yes."""
        query = asked.query
        if query.get("client_id") != CLIENT_ID or query.get("response_type") != "code":
            raise Wrong(400, "unknown client")
        if self.redirect_uris and query.get("redirect_uri") not in self.redirect_uris:
            raise Wrong(400, f"redirect_uri {query.get('redirect_uri')} is not registered")
        if query.get("code_challenge_method") != "S256" or not query.get("state"):
            raise Wrong(400, "no PKCE or no state")
        code = secrets.token_hex(8)
        self.codes[code] = query
        back = urlencode({"code": code, "state": query["state"]})
        return Reply(302, None, {"Location": f"{query['redirect_uri']}?{back}"})

    def grant(self, asked: Asked) -> Reply:
        """The token address."""
        if asked.headers.get("content-type") != "application/x-www-form-urlencoded":
            raise Wrong(415, "not a form")
        form = dict(parse_qsl(asked.body.decode()))
        basic = base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()
        by_header = asked.headers.get("authorization") == f"Basic {basic}"
        by_form = (form.get("client_id"), form.get("client_secret")) == (CLIENT_ID, CLIENT_SECRET)
        if not (by_header if self.basic_client else by_form):
            raise Wrong(401, "invalid_client")
        scopes = self._granted(form)
        if scopes is None:
            return Reply(400, {"error": "invalid_grant", "error_description": "the grant is used or wrong"})
        access, refresh = f"oauth-{secrets.token_hex(8)}", secrets.token_hex(8)
        self.tokens[access] = scopes
        reply: dict[str, Any] = {"access_token": access, "token_type": "bearer", "scope": " ".join(scopes)}
        if self.says_expiry:
            self.refreshes[refresh] = scopes
            reply |= {"refresh_token": refresh, "expires_in": self.lifetime}
        return Reply(200, reply)

    def _granted(self, form: dict[str, str]) -> set[str] | None:
        if form.get("grant_type") == "refresh_token":
            return self.refreshes.pop(form.get("refresh_token", ""), None)
        begun = self.codes.pop(form.get("code", ""), None)
        if begun is None or form.get("redirect_uri") != begun["redirect_uri"]:
            return None
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        return set(begun.get("scope", "").split()) if challenge == begun["code_challenge"] else None


def exactly(value: Any, required: set[str], optional: set[str] = frozenset()) -> Any:  # type: ignore[assignment]
    """Return an object that has these fields and no other."""
    if not isinstance(value, dict) or not required <= set(value) <= required | optional:
        raise Wrong(422, f"fields {sorted(value) if isinstance(value, dict) else value}, wanted {sorted(required)}")
    return value


def hexadecimal(body: bytes, secret: str) -> str:
    """HMAC-SHA-256 in hex."""
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def ref_parts(ref: str) -> tuple[str, str]:
    """`heads` or `tags`, and the name."""
    _, kind, name = ref.split("/", 2)
    return kind, name
