"""Which builds share layers with other workers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from hythe.forges.source_ref import SourceRef, SourceType
from hythe.worker.builders.port import BuildInput
from hythe.worker.protocol import BuildLimits, BuildSpec, Job
from hythe.worker.shared_layers import SharedLayers

JOB = Job(
    build_id=1,
    number=1,
    repository="alice/app",
    fence=1,
    key="key",
    source_url="https://git.example/alice/app.git",
    credentials="",
    ref=SourceRef(SourceType.BRANCH, "main"),
    spec=BuildSpec(rule="main"),
    tags=("latest",),
    secrets={},
    trusted=True,
    limits=BuildLimits(),
    log_size=0,
    registry="hub.example",
    hub_url="https://hub.example",
)


class Unused:
    """A builder that supports sharing, a repository and a reporter; using any of them fails the test."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"{name} was asked for")

    def _refuse(self, *_arguments: object) -> Any:
        raise AssertionError("the builder was asked")

    name = "some builder"
    fetch_bases = fetch_images = build = export = _refuse
    has_layers = load_layers = has_new_layers = export_layers = mark_layers_shared = _refuse


def build_input() -> BuildInput:
    """Return any build input."""
    return BuildInput(
        context="",
        dockerfile="Dockerfile",
        dockerfile_text="",
        platform="",
        arguments={},
        target="",
        labels={},
        secrets=(),
        cache=True,
        time=0,
        image="hub.example/alice/app:latest",
    )


@pytest.mark.parametrize(
    "job",
    [
        pytest.param(msgspec.structs.replace(JOB, trusted=False), id="of a fork"),
        pytest.param(msgspec.structs.replace(JOB, spec=BuildSpec(rule="main", cache=False)), id="without cache"),
    ],
)
def test_these_builds_share_no_layers(job: Job, tmp_path: Path) -> None:
    """A build of a fork, or of a rule without cache, requests layers neither from its builder nor from the registry."""
    nothing: Any = Unused()
    layers = SharedLayers(job, nothing, nothing, tmp_path)

    layers.load(nothing, build_input())
    layers.add(build_input(), nothing)
    layers.share(nothing)


def test_other_builds_share_layers(tmp_path: Path) -> None:
    """Other builds do ask their builder, so the tests above can fail."""
    nothing: Any = Unused()

    with pytest.raises(AssertionError, match="the builder was asked"):
        SharedLayers(JOB, nothing, nothing, tmp_path).load(nothing, build_input())
