"""What all fake forges have in common: accounts, tokens, OAuth, the API's routes, and the webhooks that they send."""

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
from tests.parts.forges.messages import ForgeRequest, ForgeResponse, RequestRejected, SentWebhook
from tests.parts.git_server import GitRepository

ZERO = "0" * 40
LOGIN = "octo"
CLIENT_ID, CLIENT_SECRET = "hythe-client", "hythe-secret"
BASIC_AUTH = f"Basic {base64.b64encode(f'{CLIENT_ID}:{CLIENT_SECRET}'.encode()).decode()}"
SSH_KEY = re.compile(r"ssh-ed25519 [A-Za-z0-9+/=]{68}( .*)?")
OWNER_AND_NAME = "(?P<name>[^/]+/[^/]+)"
AUTHOR = {"name": "Ann Author", "email": "ann@example.com"}

_IDS = itertools.count(1000)


@dataclass(slots=True)
class Project:
    """A repository at a forge."""

    name: str
    git: GitRepository
    private: bool = False
    admin: bool = True
    ssh: str = ""
    webhooks: dict[str, dict[str, Any]] = field(default_factory=dict)
    deploy_keys: dict[str, dict[str, Any]] = field(default_factory=dict)
    statuses: list[dict[str, Any]] = field(default_factory=list)
    heads: dict[str, str] = field(default_factory=dict)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *arguments: Any) -> None:
        return None


class FakeForge:
    """Implements what the APIs of all forges have in common; subclasses describe the differences."""

    kind = ""
    api = ""
    authorize_path = ""
    token_path = ""
    basic_auth = False
    """The token URL wants the client in the header, not in the form."""
    refresh_tokens = True

    project_path = ""
    webhooks_path = "/hooks"
    deploy_keys_path = "/keys"
    refs_path = ""
    status_path = "/statuses/(?P<commit>[0-9a-f]{40})"
    more_routes: tuple[tuple[str, str, str], ...] = ()
    """(method, pattern, name of the handler)."""

    account_scopes: tuple[str, ...] = ()
    read_scopes: tuple[str, ...] = ()
    ref_scopes: tuple[str, ...] = ()
    webhook_scopes: tuple[str, ...] = ()
    deploy_key_scopes: tuple[str, ...] = ()
    status_scopes: tuple[str, ...] = ()

    page_size = "per_page"
    invalid_status = 422
    no_admin = (403, "Forbidden")
    deploy_key_fields: ClassVar[Mapping[str, Any]] = {}
    """Fields of a new deploy key besides ``key``, with their values; None: any value."""
    deploy_key_status = 201
    status_fields = frozenset[str]()
    status_states = frozenset[str]()
    status_context = "context"
    """The field with the context of a commit status."""

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

    # What tests call

    @property
    def setting(self) -> str:
        """This forge in the hub's setting `forges`, with the hub registered as an OAuth application."""
        return f"{self.kind}+{self.url.replace('://', f'://{CLIENT_ID}:{CLIENT_SECRET}@')}"

    def token(self, *scopes: str) -> str:
        """Create an access token with these scopes, or with all."""
        token = f"pat-{secrets.token_hex(8)}"
        self.tokens[token] = set(scopes) or {"*"}
        return token

    def add(self, git: GitRepository, *, private: bool = False, admin: bool = True, name: str = "") -> Project:
        """Add a repository of the git server to the forge."""
        project = Project(name or git.name, git, private, admin)
        self.projects[project.name] = project
        return project

    def approve(self, url: str) -> str:
        """Open an authorization URL as a user who approves; return where the browser is redirected."""
        opener = urllib.request.build_opener(_NoRedirect)
        with pytest.raises(urllib.error.HTTPError) as redirected:
            opener.open(url, timeout=10)
        assert redirected.value.code == 302, redirected.value.read()
        return str(redirected.value.headers["Location"])

    def push(self, project: Project, ref: str, after: str, **options: Any) -> list[SentWebhook]:
        """Send a push to a full ref to every webhook of a project; `after` ZERO deletes the ref."""
        before = project.heads.get(ref, ZERO)
        project.heads[ref] = after
        return [
            self.send(webhook, *self.push_event(project, ref, before, after), **options)
            for webhook in project.webhooks.values()
        ]

    def send(
        self, webhook: Mapping[str, Any], headers: dict[str, str], value: Any, *, secret: str | None = None
    ) -> SentWebhook:
        """Sign and send one event to a webhook."""
        body = json.dumps(value).encode()
        signed = headers | self.signature(body, webhook["secret"] if secret is None else secret)
        return self.deliver(SentWebhook(webhook["url"], {"Content-Type": "application/json", **signed}, body))

    def deliver(self, webhook: SentWebhook) -> SentWebhook:
        """Send a webhook request unchanged."""
        request = urllib.request.Request(webhook.url, webhook.body, webhook.headers, method="POST")
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                status, content = response.status, response.read()
        except urllib.error.HTTPError as error:
            status, content = error.code, error.read()
        reply = json.loads(content) if content else None
        return SentWebhook(webhook.url, webhook.headers, webhook.body, status, reply)

    def ssh_url(self, project: Project) -> str:
        """Return a project's SSH clone URL."""
        return project.ssh or f"git@{urlsplit(self.url).hostname}:{project.name}.git"

    # What each forge defines

    def push_event(self, project: Project, ref: str, before: str, after: str) -> tuple[dict[str, str], Any]:
        """Return the headers and the JSON body of a push event."""
        raise NotImplementedError

    def signature(self, body: bytes, secret: str) -> dict[str, str]:
        """Return the headers that sign a body."""
        raise NotImplementedError

    def account(self, request: ForgeRequest) -> ForgeResponse:
        """Handle the request for the token's account."""
        raise NotImplementedError

    def project_value(self, project: Project) -> dict[str, Any]:
        """Return a project in the forge's format."""
        raise NotImplementedError

    def ref_value(self, folder: str, name: str, commit: str) -> dict[str, Any]:
        """Return a branch (`folder` is `heads`) or tag in the forge's format."""
        raise NotImplementedError

    def read_webhook(self, value: Any) -> tuple[str, str]:
        """Return the URL and the secret of a new webhook. Raises RequestRejected."""
        raise NotImplementedError

    def read_status(self, project: Project, commit: str, value: dict[str, Any]) -> None:
        """Check a new commit status beyond its fields and state. Raises RequestRejected."""

    def created_webhook(self) -> tuple[str, dict[str, Any]]:
        """Return the id of a new webhook, and the response."""
        number = next(_IDS)
        return str(number), {"id": number, "active": True}

    def error_value(self, message: str) -> Any:
        """Return an error in the forge's format."""
        return {"message": message}

    # The API

    def handle(self, request: ForgeRequest) -> ForgeResponse:
        """Handle a request; record it as a violation if the real forge would reject it as malformed."""
        self.requests.append(f"{request.method} {request.path}")
        try:
            if request.path == self.authorize_path:
                return self.authorize(request)
            if request.path == self.token_path:
                return self.issue_token(request)
            return self._handle_api(request)
        except RequestRejected as error:
            if error.status not in (401, 403, 404):
                self.violations.append(f"{request.method} {request.path}: {error}")
            return ForgeResponse(error.status, self.error_value(str(error)))

    def _routes(self) -> tuple[tuple[str, str, str], ...]:
        project = self.project_path
        return (
            ("GET", "/user", "account"),
            ("GET", project, "repository"),
            ("GET", f"{project}{self.refs_path}/(?P<folder>branches|tags)", "list_refs"),
            ("POST", f"{project}{self.webhooks_path}", "add_webhook"),
            ("DELETE", f"{project}{self.webhooks_path}/(?P<id>[^/]+)", "remove_webhook"),
            ("POST", f"{project}{self.deploy_keys_path}", "add_deploy_key"),
            ("DELETE", f"{project}{self.deploy_keys_path}/(?P<id>\\d+)", "remove_deploy_key"),
            ("POST", f"{project}{self.status_path}", "add_status"),
            *self.more_routes,
        )

    def _handle_api(self, request: ForgeRequest) -> ForgeResponse:
        for method, pattern, name in self._routes():
            match = re.fullmatch(self.api + pattern, request.path)
            if match and method == request.method:
                request.groups = {key: unquote(value) for key, value in match.groupdict().items()}
                if self.fail_next:
                    return ForgeResponse(self.fail_next.pop(0), self.error_value("try later"))
                handler: Callable[[ForgeRequest], ForgeResponse] = getattr(self, name)
                return handler(request)
        self.violations.append(f"{request.method} {request.path} is not documented")
        raise RequestRejected(404, "Not Found")

    def token_scopes(self, request: ForgeRequest) -> set[str]:
        """Return the scopes of the request's token. Raises RequestRejected."""
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if token not in self.tokens:
            raise RequestRejected(401, "Bad credentials")
        return self.tokens[token]

    def require_scope(self, request: ForgeRequest, *scopes: str) -> None:
        """Require a token with one of these scopes, or just a valid token."""
        held = self.token_scopes(request)
        if scopes and "*" not in held and not held & set(scopes):
            raise RequestRejected(403, f"needs one of {', '.join(scopes)}")

    def project(self, request: ForgeRequest) -> Project:
        """Return the project that the path names."""
        if request.groups["name"] not in self.projects:
            raise RequestRejected(404, "Not Found")
        return self.projects[request.groups["name"]]

    def administered(self, request: ForgeRequest, scopes: tuple[str, ...]) -> Project:
        """Return the project that the path names, if the token can administer it."""
        self.require_scope(request, *scopes)
        project = self.project(request)
        if not project.admin:
            raise RequestRejected(*self.no_admin)
        return project

    def repository(self, request: ForgeRequest) -> ForgeResponse:
        """Handle the request for one project."""
        self.require_scope(request, *self.read_scopes)
        return ForgeResponse(200, self.project_value(self.project(request)))

    def list_refs(self, request: ForgeRequest) -> ForgeResponse:
        """Handle the request for branches or tags."""
        self.require_scope(request, *self.ref_scopes)
        folder = "heads" if request.groups["folder"] == "branches" else "tags"
        refs = self._refs(self.project(request), folder)
        return self.paginate(request, [self.ref_value(folder, name, commit) for name, commit in refs])

    def _refs(self, project: Project, folder: str) -> list[tuple[str, str]]:
        line = "--format=%(refname:short) %(if)%(*objectname)%(then)%(*objectname)%(else)%(objectname)%(end)"
        bare = project.git.bare
        lines = project.git.git("--git-dir", str(bare), "for-each-ref", line, f"refs/{folder}").splitlines()
        return [(line.split()[0], line.split()[1]) for line in lines]

    def add_webhook(self, request: ForgeRequest) -> ForgeResponse:
        """Handle the request that adds a webhook."""
        project = self.administered(request, self.webhook_scopes)
        url, secret = self.read_webhook(request.json)
        webhook_id, response = self.created_webhook()
        project.webhooks[webhook_id] = {"url": url, "secret": secret}
        return ForgeResponse(201, response)

    def remove_webhook(self, request: ForgeRequest) -> ForgeResponse:
        """Handle the request that removes a webhook."""
        project = self.administered(request, self.webhook_scopes)
        return self._removed(project.webhooks.pop(request.groups["id"], None))

    def add_deploy_key(self, request: ForgeRequest) -> ForgeResponse:
        """Handle the request that adds a deploy key."""
        project = self.administered(request, self.deploy_key_scopes)
        key = self.require_fields(request.json, {"key", *self.deploy_key_fields})
        read_only = all(key[name] is value for name, value in self.deploy_key_fields.items() if value is not None)
        if not SSH_KEY.fullmatch(key["key"]) or not read_only:
            raise RequestRejected(self.invalid_status, "key is invalid")
        number = next(_IDS)
        project.deploy_keys[str(number)] = key
        return ForgeResponse(self.deploy_key_status, {"id": number, "type": "deploy_key", "verified": True})

    def remove_deploy_key(self, request: ForgeRequest) -> ForgeResponse:
        """Handle the request that removes a deploy key."""
        project = self.administered(request, self.deploy_key_scopes)
        return self._removed(project.deploy_keys.pop(request.groups["id"], None))

    def _removed(self, value: object) -> ForgeResponse:
        return ForgeResponse(204) if value is not None else ForgeResponse(404, self.error_value("Not Found"))

    def add_status(self, request: ForgeRequest) -> ForgeResponse:
        """Handle the request that adds a commit status."""
        self.require_scope(request, *self.status_scopes)
        status = self.require_fields(request.json, set(self.status_fields))
        project, commit = self.project(request), request.groups["commit"]
        if status["state"] not in self.status_states:
            raise RequestRejected(self.invalid_status, f"status {status}")
        self.read_status(project, commit, status)
        project.statuses.append({"commit": commit, "context": status[self.status_context], **status})
        return ForgeResponse(201, {"id": next(_IDS), "status": status["state"]})

    def require_fields(self, value: Any, fields: set[str]) -> Any:
        """Return an object that has exactly these fields. Raises RequestRejected."""
        if not isinstance(value, dict) or set(value) != fields:
            sent = sorted(value) if isinstance(value, dict) else value
            raise RequestRejected(self.invalid_status, f"fields {sent}, expected {sorted(fields)}")
        return value

    def paginate(self, request: ForgeRequest, items: list[Any]) -> ForgeResponse:
        """Return one page of a list with a Link header (RFC 8288)."""
        size, page = int(request.query.get(self.page_size, 30)), int(request.query.get("page", 1))
        if size > 100:
            raise RequestRejected(422, f"{self.page_size} {size}")
        headers = {}
        if len(items) > size * page:
            headers["Link"] = f'<{self.url}{request.path}?page={page + 1}>; rel="next"'
        return ForgeResponse(200, items[size * (page - 1) : size * page], headers)

    # OAuth

    def authorize(self, request: ForgeRequest) -> ForgeResponse:
        """Handle the authorization URL for a user who approves."""
        query = request.query
        if query.get("client_id") != CLIENT_ID or query.get("response_type") != "code":
            raise RequestRejected(400, "unknown client")
        if self.redirect_uris and query.get("redirect_uri") not in self.redirect_uris:
            raise RequestRejected(400, f"redirect_uri {query.get('redirect_uri')} is not registered")
        if query.get("code_challenge_method") != "S256" or not query.get("state"):
            raise RequestRejected(400, "no PKCE or no state")
        code = secrets.token_hex(8)
        self.codes[code] = query
        parameters = urlencode({"code": code, "state": query["state"]})
        return ForgeResponse(302, None, {"Location": f"{query['redirect_uri']}?{parameters}"})

    def issue_token(self, request: ForgeRequest) -> ForgeResponse:
        """Handle the token URL."""
        if request.headers.get("content-type") != "application/x-www-form-urlencoded":
            raise RequestRejected(415, "not a form")
        form = dict(parse_qsl(request.body.decode()))
        in_header = request.headers.get("authorization") == BASIC_AUTH
        in_form = (form.get("client_id"), form.get("client_secret")) == (CLIENT_ID, CLIENT_SECRET)
        if not (in_header if self.basic_auth else in_form):
            raise RequestRejected(401, "invalid_client")
        scopes = self._granted_scopes(form)
        if scopes is None:
            return ForgeResponse(400, {"error": "invalid_grant", "error_description": "the grant is invalid"})
        access, refresh = f"oauth-{secrets.token_hex(8)}", secrets.token_hex(8)
        self.tokens[access] = scopes
        response: dict[str, Any] = {"access_token": access, "token_type": "bearer", "scope": " ".join(scopes)}
        if self.refresh_tokens:
            self.refreshes[refresh] = scopes
            response |= {"refresh_token": refresh, "expires_in": self.lifetime}
        return ForgeResponse(200, response)

    def _granted_scopes(self, form: dict[str, str]) -> set[str] | None:
        if form.get("grant_type") == "refresh_token":
            return self.refreshes.pop(form.get("refresh_token", ""), None)
        authorization = self.codes.pop(form.get("code", ""), None)
        if authorization is None or form.get("redirect_uri") != authorization["redirect_uri"]:
            return None
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        return set(authorization.get("scope", "").split()) if challenge == authorization["code_challenge"] else None


def hmac_hex(body: bytes, secret: str) -> str:
    """Return the HMAC-SHA-256 in hex."""
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def split_ref(ref: str) -> tuple[str, str]:
    """Return `heads` or `tags`, and the name."""
    _, folder, name = ref.split("/", 2)
    return folder, name
