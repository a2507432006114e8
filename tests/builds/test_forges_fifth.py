"""A fifth forge, added as docs/recipes.md ("Add a forge") says: one module, here this file, and one row of ADAPTERS."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote

import msgspec
import pytest
from tests.parts.forges import running_forge
from tests.parts.forges.fake_forge import LOGIN, OWNER_AND_NAME, ZERO, FakeForge, Project, hmac_hex
from tests.parts.forges.messages import ForgeRequest, ForgeResponse
from tests.parts.git_server import GitServer

from hythe.builds.configuration import BuildSource, NewBuildConfiguration
from hythe.builds.forge_integration.forge_deliveries import DeliveryResult, WebhookRequest
from hythe.builds.rules import Rule
from hythe.builds.sql.forge_deliveries import DeliveryOutcome
from hythe.database.migration import upgrade
from hythe.forges.adapters import ADAPTERS, Adapter
from hythe.forges.port import (
    CommitStatus,
    ForgeAccount,
    ForgeEvent,
    ForgeRepository,
    Headers,
    OAuthEndpoints,
    Permissions,
    RepositoryPage,
    StatusState,
)
from hythe.forges.rest import RestClient, RestForge
from hythe.forges.signatures import is_hmac
from hythe.forges.webhook_format import CommitDetails, HeaderWebhookFormat, parse_body, push_event
from hythe.hub.accounts.users import NewUser
from hythe.hub.actor import ANONYMOUS, HubActor
from hythe.hub.errors import Invalid
from hythe.hub.repositories.repositories import NewRepository
from hythe.server.hub import Services, open_hub
from hythe.settings import Settings

COMMIT = "c" * 40


# Step 1 of the recipe: the module


class _User(msgspec.Struct, frozen=True):
    name: str


class _Repository(msgspec.Struct, frozen=True):
    path: str
    https: str
    ssh: str

    def value(self) -> ForgeRepository:
        return ForgeRepository(
            name=self.path, clone_url=self.https, ssh_url=self.ssh, default_branch="main", private=False, admin=True
        )


class Fifth(RestForge):
    """The forge at one URL."""

    kind = "fifth"
    public = private = Permissions(("code",), "read code, install webhooks and write commit statuses")

    @property
    def title(self) -> str:
        return f"Fifth at {self.host}"

    @property
    def api_url(self) -> str:
        return f"{self.url}/api"

    @property
    def token_page(self) -> str:
        return f"{self.url}/tokens"

    def oauth_endpoints(self) -> OAuthEndpoints:
        return OAuthEndpoints(f"{self.url}/authorize", f"{self.url}/token")

    def client(self, token: str) -> FifthClient:
        return FifthClient(self.api(token))


class FifthClient(RestClient):
    """The forge's API."""

    page_size: ClassVar = {"per_page": 50}
    repository_type = _Repository
    states: ClassVar = {state: state.value.upper() for state in StatusState}

    def repository_path(self, name: str) -> str:
        return f"/code/{quote(name)}"

    async def account(self) -> ForgeAccount:
        user = await self._api.get("/user", _User)
        return ForgeAccount(user.name, user.name)

    async def repositories(self, query: str, page: int) -> RepositoryPage:
        found = await self._api.get("/code", list[_Repository], q=query, page=page)
        return RepositoryPage(tuple(repository.value() for repository in found))

    def webhook_body(self, url: str, secret: str) -> Mapping[str, Any]:
        return {"target": url, "secret": secret}

    def deploy_key_body(self, title: str, public_key: str) -> Mapping[str, Any]:
        return {"key": public_key}

    def status_body(self, status: CommitStatus, state: str, description: str) -> Mapping[str, Any]:
        return {"state": state, "context": status.context, "text": description}


class _Push(msgspec.Struct, frozen=True):
    code: str
    ref: str
    old: str
    new: str


class FifthWebhooks(HeaderWebhookFormat):
    """The forge's webhooks."""

    event_headers = ("x-fifth-event",)
    delivery_headers = ("x-fifth-delivery",)

    def is_signed(self, headers: Headers, body: bytes, secret: str) -> bool:
        return is_hmac(headers.get("x-fifth-signature", ""), secret, body)

    def parse(self, headers: Headers, body: bytes) -> ForgeEvent:
        push = parse_body(body, _Push)
        return push_event(
            repository=push.code,
            event=self.event(headers),
            ref=push.ref,
            before=push.old,
            commit=push.new,
            details=CommitDetails(),
            pusher="",
        )


# Step 3: its fake forge


class FakeFifth(FakeForge):
    """The forge's API."""

    kind = "fifth"
    api = "/api"
    authorize_path = "/authorize"
    token_path = "/token"
    project_path = f"/code/{OWNER_AND_NAME}"
    more_routes = (("GET", "/code", "repositories"),)
    status_fields = frozenset({"state", "context", "text"})
    status_states = frozenset({"PENDING", "RUNNING", "SUCCESS", "FAILURE", "CANCELLED"})

    def account(self, request: ForgeRequest) -> ForgeResponse:
        self.require_scope(request)
        return ForgeResponse(200, {"name": LOGIN})

    def repositories(self, request: ForgeRequest) -> ForgeResponse:
        found = [project for project in self.projects.values() if request.query["q"] in project.name]
        return ForgeResponse(200, [self.project_value(project) for project in found])

    def project_value(self, project: Project) -> dict[str, Any]:
        return {"path": project.name, "https": project.git.url, "ssh": self.ssh_url(project)}

    def read_webhook(self, value: Any) -> tuple[str, str]:
        self.require_fields(value, {"target", "secret"})
        return value["target"], value["secret"]

    def push_event(self, project: Project, ref: str, before: str, after: str) -> tuple[dict[str, str], Any]:
        headers = {"x-fifth-event": "push", "x-fifth-delivery": after}
        return headers, {"code": project.name, "ref": ref, "old": before, "new": after}

    def signature(self, body: bytes, secret: str) -> dict[str, str]:
        return {"x-fifth-signature": hmac_hex(body, secret)}


@pytest.fixture
def fifth(monkeypatch: pytest.MonkeyPatch) -> None:
    """Step 2 of the recipe: the row."""
    monkeypatch.setitem(ADAPTERS, "fifth", Adapter(Fifth, FifthWebhooks()))


@pytest.mark.usefixtures("fifth")
def test_a_fifth_forge(tmp_path: Path, git_server: GitServer) -> None:
    """It lists repositories, its signed webhook starts a build, and it receives the commit status."""
    git = git_server.create("team/app")
    git.commit({"Dockerfile": "FROM scratch\n"})
    with running_forge(FakeFifth) as forge:
        project = forge.add(git)

        found, unsigned, signed = asyncio.run(
            connect_and_push(Settings(data=str(tmp_path), forges=forge.setting), forge, project)
        )

        assert found == ["team/app"]
        assert (unsigned.outcome, "signature" in unsigned.detail) == (DeliveryOutcome.REFUSED, True)
        assert (signed.outcome, len(signed.builds)) == (DeliveryOutcome.ACCEPTED, 1)
        [status] = project.statuses
        assert (status["commit"], status["state"], status["context"]) == (COMMIT, "PENDING", "hythe/alice/app:latest")
        assert forge.violations == []


def test_without_its_row_the_forge_is_unknown(tmp_path: Path, git_server: GitServer) -> None:
    """Neither the setting nor a build configuration accepts a kind that has no adapter."""

    async def configure() -> None:
        async with open_new_hub(Settings(data=str(tmp_path))) as (hub, actor):
            source = BuildSource(url=f"{git_server.url}/team/app.git", forge="fifth", default_branch="main")
            await hub.builds.configurations.check(actor, NewBuildConfiguration(source=source))

    with pytest.raises(Invalid) as raised:
        asyncio.run(configure())

    assert raised.value.fields == {"forge": "must be one of gitea, github, bitbucket, gitlab, git"}


@asynccontextmanager
async def open_new_hub(settings: Settings) -> AsyncIterator[tuple[Services, HubActor]]:
    """Open a new hub with the user alice."""
    await upgrade(Path(settings.data), "")
    async with open_hub(settings) as hub:
        new = NewUser(username="alice", email="alice@example.com", password="correct horse battery")
        user = await hub.hub.users.create(ANONYMOUS, new)
        yield hub, HubActor("alice", user_id=user.id)


async def connect_and_push(
    settings: Settings, forge: FakeForge, project: Project
) -> tuple[list[str], DeliveryResult, DeliveryResult]:
    """Link an account, configure builds, push twice; return the found repositories and the results of the pushes."""
    async with open_new_hub(settings) as (hub, actor):
        accounts, webhooks = hub.forges.linked_accounts, hub.forges.webhooks
        account = await accounts.add_token(actor, forge.url, forge.token())
        page = await accounts.repositories(actor, account.id, "app", 1)
        [repository] = page.items
        source = BuildSource(
            url=repository.clone_url,
            forge="fifth",
            forge_repository=repository.name,
            linked_account_id=account.id,
            default_branch="main",
        )
        await hub.hub.repositories.create(actor, NewRepository(namespace="alice", name="app"))
        await hub.builds.configurations.create(
            actor, "alice/app", NewBuildConfiguration(source=source, rules=(Rule(source="main"),))
        )
        await webhooks.install(actor, "alice/app", "https://hub.example.com")
        [installed] = project.webhooks.values()
        unsigned = await push(hub, forge, project, {**installed, "secret": "wrong"})
        signed = await push(hub, forge, project, installed)
        await hub.forges.statuses.send_due()
        return [each.name for each in page.items], unsigned, signed


async def push(hub: Services, forge: FakeForge, project: Project, webhook: Mapping[str, str]) -> DeliveryResult:
    """Push to main; return the result of the webhook's delivery."""
    headers, value = forge.push_event(project, "refs/heads/main", ZERO, COMMIT)
    body = json.dumps(value).encode()
    request = WebhookRequest(headers=headers | forge.signature(body, webhook["secret"]), body=body, address="")
    return await hub.forges.deliveries.receive(webhook["url"].rpartition("/")[2], request)
