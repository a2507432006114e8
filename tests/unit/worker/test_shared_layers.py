"""Which builds share layers with other workers."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from hythe.forges.source_ref import SourceRef, SourceType
from hythe.worker.builders.port import BuildInput
from hythe.worker.protocol import BuildCache, BuildLimits, BuildSpec, Job
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
    own_cache = ""
    load_layers = has_new_layers = export_layers = _refuse


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


def test_builds_without_a_cache_share_no_layers() -> None:
    """If the hub gives a build no cache, it requests layers neither from its builder nor from the registry."""
    nothing: Any = Unused()
    layers = SharedLayers(JOB, nothing, nothing)

    layers.load(nothing, build_input())
    layers.export(nothing, build_input(), nothing)
    layers.share()

    assert (layers.used, layers.recorded) == ({}, {})


def test_builds_with_a_cache_share_layers() -> None:
    """Other builds do ask their builder, so the test above can fail."""
    nothing: Any = Unused()
    job = msgspec.structs.replace(JOB, cache=BuildCache(key="1-main"))

    with pytest.raises(AssertionError, match="the builder was asked"):
        SharedLayers(job, nothing, nothing).export(nothing, build_input(), nothing)


def test_layers_of_others_are_not_used() -> None:
    """A build asks only for the layers that the hub recorded under its own name."""
    nothing: Any = Unused()
    job = msgspec.structs.replace(JOB, cache=BuildCache(key="1-main", layers={"sha256-0.layers": "sha256:0"}))
    layers = SharedLayers(job, nothing, nothing)

    layers.load(nothing, build_input())

    assert layers.used == {}
