"""One pull by a client counts once, whatever manifests it reads."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TypeAlias

import pytest
from tests.unit.hub.services import Services

from hythe.hub.actor import ANONYMOUS, HubActor
from hythe.hub.repositories import pulls
from hythe.oci.digest import Digest
from hythe.oci.manifest import OCI_INDEX, OCI_MANIFEST
from hythe.registry.events import PulledManifest

Read: TypeAlias = Callable[..., int]


class Repository:
    """A repository with a nested index: ``top`` lists ``inner`` and ``attestation``, ``inner`` lists two images."""

    def __init__(self, services: Services, ann: HubActor) -> None:
        self._services = services
        self._ann = ann
        self.images = [self._image(number) for number in range(2)]
        self.attestation, self.other = self._image(2), self._image(3)
        self.inner = self._index("inner", *self.images)
        self.top = self._index("top", self.inner, self.attestation)
        self._found = services.run(services.registry.repositories.get(ann, "ann/app"))
        self._indexes = {self.inner, self.top}

    def _image(self, number: int) -> Digest:
        return Digest.parse(self._services.push(self._ann, "ann/app", f"image{number}", b'{"n":%d}' % number))

    def _index(self, tag: str, *children: Digest) -> Digest:
        manifests = [{"mediaType": OCI_MANIFEST, "digest": str(child), "size": 2} for child in children]
        content = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests}).encode()
        digest = Digest.of(content)
        put = self._services.registry.manifests.put(self._ann, "ann/app", digest, (tag,), content, OCI_INDEX)
        self._services.run(put)
        return digest

    def read(self, digest: Digest, tag: str | None = None, client: int = 1) -> None:
        """Let a client read a manifest."""
        pulled = PulledManifest(tag, digest, digest in self._indexes, client)
        self._services.run(self._services.foundation.listener.manifest_pulled(self._found, pulled, ANONYMOUS))

    @property
    def count(self) -> int:
        """The number of pulls so far."""
        self._services.run(self._services.foundation.pulls.flush())
        pulled: int = self._services.run(self._services.hub.repositories.get(self._ann, "ann/app")).pulls
        return pulled


@pytest.fixture
def app(services: Services, ann: HubActor) -> Repository:
    """The repository."""
    return Repository(services, ann)


def test_one_pull_counts_once(app: Repository) -> None:
    """An index by its tag or by its digest, then what it lists, at any depth and on any platform: one pull."""
    app.read(app.top, "top")
    for digest in (app.inner, *app.images, app.attestation, app.images[0]):
        app.read(digest)
    assert app.count == 1

    app.read(app.inner, client=2)
    app.read(app.images[1], client=2)
    assert app.count == 2


def test_other_pulls_count(app: Repository) -> None:
    """An image alone or that the index does not list, another client and the same tag again are further pulls."""
    app.read(app.images[0])
    assert app.count == 1
    app.read(app.top, "top")
    app.read(app.other)
    app.read(app.images[0], client=2)
    app.read(app.top, "top")
    app.read(app.images[0], "image0")
    assert app.count == 6


def test_a_pull_ends(app: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a client reads much later is another pull."""
    monkeypatch.setattr(pulls, "PULL_TIME", -1)
    app.read(app.top, "top")
    app.read(app.attestation)
    assert app.count == 2


def test_memory_is_bounded(app: Repository, services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the last clients are remembered; the pull of an older one may count twice."""
    monkeypatch.setattr(pulls, "MAX_OPEN_PULLS", 3)
    for client in range(10):
        app.read(app.top, "top", client=client)
    app.read(app.attestation, client=9)
    app.read(app.attestation, client=0)

    assert len(services.foundation.pulls._open) == 3
    assert app.count == 11
