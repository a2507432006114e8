"""A whole hub on a copy of a prepared database, and the changes that tests make in it."""

from __future__ import annotations

import re
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyotp
from tests.parts.authenticator import Authenticator
from tests.parts.ci_issuer import CIIssuer
from tests.parts.forges.fake_forge import FakeForge

from hythe.builds.build import Build
from hythe.builds.configuration import BuildSource, NewBuildConfiguration
from hythe.builds.rules import Rule
from hythe.hub.access.actions import HubAction
from hythe.hub.accounts.users import NewUser
from hythe.hub.actor import HubActor
from hythe.hub.logs.audit import AuditEntry
from hythe.hub.logs.audit_log import AuditFilter
from hythe.hub.organizations.invitations import NewInvitation
from hythe.hub.organizations.organization import MemberWord
from hythe.hub.organizations.organizations import NewOrganization
from hythe.hub.page import Paging
from hythe.hub.repositories.repositories import NewRepository
from hythe.hub.sign_in.passkeys import RelyingParty
from hythe.oci.digest import Digest
from hythe.oci.manifest import OCI_CONFIG, OCI_MANIFEST, Descriptor, ImageManifest
from hythe.server.hub import Services, open_hub
from hythe.settings import Settings

ADDRESS = "192.0.2.7"
PASSWORD = "correct horse battery"
PARTY = RelyingParty("https://hub.example.com")
OPERATOR = HubActor.operator()
USERS = ("ann", "ben", "eve", "max")
"""Ann owns the organization acme, of which Ben is a member; Max is an administrator."""


@dataclass
class World:
    """A hub, its users as their sessions identify them, and the servers that it talks to."""

    services: Services
    users: dict[str, HubActor]
    forge: FakeForge
    issuer: CIIssuer
    key: Authenticator = field(default_factory=Authenticator)

    @property
    def hub(self) -> Any:
        """The services of the hub."""
        return self.services.hub

    @property
    def ann(self) -> HubActor:
        """The user who makes most changes."""
        return self.users["ann"]

    @property
    def ben(self) -> HubActor:
        """A member of Ann's organization."""
        return self.users["ben"]

    @property
    def eve(self) -> HubActor:
        """A user with whom Ann has nothing to do."""
        return self.users["eve"]

    @property
    def max(self) -> HubActor:
        """An administrator."""
        return self.users["max"]

    async def entries(self) -> tuple[AuditEntry, ...]:
        """The newest entries of the log."""
        page = await self.hub.audit_log.entries(OPERATOR, AuditFilter(), Paging(page_size=100))
        return tuple(page.items)

    async def push(self, actor: HubActor, repository: str, tag: str = "latest", content: bytes = b"{}") -> Digest:
        """Push a small image; return its digest."""
        registry, config = self.services.registry, Digest.of(content)
        await registry.uploads.put(actor, repository, config, pieces(content))
        manifest = manifest_of(content)
        await registry.manifests.put(actor, repository, Digest.of(manifest), (tag,), manifest, OCI_MANIFEST)
        return Digest.of(manifest)

    async def secret(self, recipient: str, path: str) -> str:
        """The secret of the newest link to an e-mail address."""
        messages = (await self.hub.mail.list(OPERATOR, Paging())).items
        texts = [message.text for message in messages if message.recipient == recipient]
        pattern = re.compile(rf"{re.escape(path)}\?token=(\S+)")
        return next(found[1] for text in texts if (found := pattern.search(text)))

    async def app(self, actor: HubActor) -> pyotp.TOTP:
        """Set up an authenticator app."""
        new = await self.hub.second_factors.new_app(actor, "hub.example.com")
        app = pyotp.TOTP(new.secret)
        await self.hub.second_factors.activate_app(actor, new.state, app.now())
        return app

    async def configured(self, repository: str = "ann/built") -> str:
        """Configure Trusted Builds of a new repository of Ann's."""
        await self.hub.repositories.create(self.ann, NewRepository("ann", repository.partition("/")[2]))
        source = BuildSource(url="https://git.example.com/team/app", default_branch="main")
        new = NewBuildConfiguration(source=source, rules=(Rule(source="main"),))
        await self.services.builds.configurations.create(self.ann, repository, new)
        return repository

    async def build(self) -> Build:
        """Start a build, which waits for a worker."""
        started = await self.services.builds.builds.start(self.ann, await self.configured())
        return started[0]


def manifest_of(content: bytes) -> bytes:
    """The manifest of an image with this config."""
    descriptor = Descriptor(OCI_CONFIG, str(Digest.of(content)), len(content))
    return ImageManifest(2, OCI_MANIFEST, descriptor, ()).encode()


async def pieces(content: bytes) -> AsyncIterator[bytes]:
    """The body of a request."""
    yield content


def settings_of(data: Path, forge: FakeForge) -> Settings:
    """The settings of the hub."""
    return Settings(data=str(data), public_url=PARTY.origin, forges=forge.setting, internal_networks="127.0.0.1")


async def prepare(data: Path, forge: FakeForge) -> dict[str, str]:
    """Create the users and the organization; return the tokens of the users' sessions."""
    async with open_hub(settings_of(data, forge)) as services:
        hub = services.hub
        for name in USERS:
            await hub.users.create(OPERATOR, NewUser(name, f"{name}@example.com", PASSWORD), admin=name == "max")
        tokens = {name: (await hub.sessions.sign_in(name, PASSWORD, ADDRESS)).token for name in USERS}
        users = {name: await hub.sessions.actor(token, ADDRESS) for name, token in tokens.items()}
        await hub.organizations.create(users["ann"], NewOrganization("acme"))
        invited = await hub.invitations.invite(users["ann"], "acme", NewInvitation("ben", role=MemberWord.MEMBER))
        await hub.invitations.accept(users["ben"], invited.id)
        await hub.repositories.create(users["ann"], NewRepository("ann", "app"))
        await hub.repositories.create(users["ann"], NewRepository("acme", "web"))
    return tokens


@asynccontextmanager
async def open_world(
    prepared: Path, data: Path, tokens: dict[str, str], forge: FakeForge, issuer: CIIssuer
) -> AsyncIterator[World]:
    """Open a hub on a copy of the prepared data."""
    shutil.copytree(prepared, data, dirs_exist_ok=True)
    async with open_hub(settings_of(data, forge)) as services:
        users = {name: await services.hub.sessions.actor(token, ADDRESS) for name, token in tokens.items()}
        yield World(services, users, forge, issuer)


Steps = AsyncIterator[None]


@dataclass(frozen=True)
class Change:
    """A call that changes something, and the entry that it leaves.

    ``steps`` prepares the call before its ``yield``, and makes it afterwards.
    """

    steps: Callable[[World], Steps]
    action: HubAction
    target: str
    namespace: str
    by: str
    credential: str


CHANGES: dict[str, Change] = {}
"""The changes by ``SERVICE.METHOD``."""


def change(
    call: str,
    action: HubAction,
    target: str,
    *,
    namespace: str = "",
    by: str = "ann",
    credential: str = "session",
) -> Callable[[Callable[[World], Steps]], Callable[[World], Steps]]:
    """Add a change to CHANGES."""

    def add(steps: Callable[[World], Steps]) -> Callable[[World], Steps]:
        if call in CHANGES:
            raise ValueError(f"{call} is there twice")
        CHANGES[call] = Change(steps, action, target, namespace, by, credential)
        return steps

    return add
