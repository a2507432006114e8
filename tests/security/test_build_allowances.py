"""What an account's builds may take: build minutes, and the layers and disks of its own earlier builds alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from tests.builds.hand_worker import BY_HAND, HandWorker
from tests.builds.services import Services, start_services

__all__ = ["start_services"]

SPENT = "your plan allows 0 minutes of builds in 30 days, and 0 were used"


@pytest.fixture(scope="module")
def services(start_services: Callable[..., Services]) -> Services:
    """A hub whose accounts have no build minutes, and whose builds a test carries out."""
    return start_services({**BY_HAND, "HYTHE_BUILD_MINUTES_PER_ACCOUNT": "0"})


def test_starting_a_build_is_refused(services: Services) -> None:
    """By hand with an error and a hint; nothing is queued."""
    path = services.configure("by-hand", services.source("by-hand"))

    status, problem = services.try_call("POST", f"{path}/builds", {})

    assert status == 409
    assert SPENT in str(problem)
    assert "administrator" in str(problem)
    assert services.call("GET", f"{path}/builds")["items"] == []


def test_a_call_of_the_trigger_url_is_refused(services: Services) -> None:
    """With the reason."""
    path = services.configure("triggered", services.source("triggered"))
    where = services.call("GET", f"{path}/build-configuration/trigger")

    status, problem = services.try_call("POST", where["path"], {}, user="")

    assert status == 409
    assert SPENT in str(problem)


def test_layers_of_others_are_not_handed_out(start_services: Callable[..., Services]) -> None:
    """The hub hands out layers only to builds of the same rule, branch and source, and knows whose disks can go."""
    services = start_services(BY_HAND)
    worker = HandWorker(services.hub.url)
    rules = (
        {"source": "/.*/", "tags": "{sourceref}"},
        {"source": "/.*/", "source_type": "tag", "tags": "{sourceref}"},
    )
    path = services.configure("recorded", services.source("recorded"), *rules)

    def cache_of(kind: str, ref: str, layers: dict[str, str] | None = None) -> dict[str, Any]:
        services.trigger(path, {"source_type": kind, "source_name": ref})
        job = worker.claim()
        assert job is not None
        result = {"layers": layers or {}, "cache_key": job["cache"]["key"]}
        worker.finish(job, digest=f"sha256:{'0' * 64}", result=result)
        found: dict[str, Any] = job["cache"]
        return found

    first = cache_of("Branch", "main", {"sha256-1.layers": "sha256:1"})
    second = cache_of("Branch", "main", {"sha256-1.layers": "sha256:1"})
    side = cache_of("Branch", "side")
    tag = cache_of("Tag", "main", {"sha256-1.layers": "sha256:2"})
    key = first["key"]
    kept = {"keys": [key, side["key"], "999-0", "", "x-1", "-1", "9" * 90]}
    unknown = worker._post("kept-disks", json.dumps(kept).encode(), {})
    services.call("PATCH", f"{path}/build-configuration", {"source": {"url": services.source("other").url}})
    moved = cache_of("Branch", "main")
    services.call("DELETE", f"{path}/build-configuration")

    assert (first["layers"], first["build"]) == ({}, 0)
    assert (second["layers"], second["build"]) == ({"sha256-1.layers": "sha256:1"}, 1)
    assert side["layers"] == moved["layers"] == tag["layers"] == {}
    assert tag["key"] == ""
    assert len({key, side["key"], moved["key"]}) == 3
    assert unknown == {"keys": ["999-0", "", "x-1", "-1", "9" * 90]}
    assert worker._post("kept-disks", json.dumps({"keys": [key]}).encode(), {}) == {"keys": [key]}
