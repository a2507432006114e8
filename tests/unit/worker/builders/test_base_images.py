"""Hosts from which base images can be fetched."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.worker.test_shared_layers import JOB

from hythe.client.client import Client
from hythe.worker.builders.base_images import BaseImages
from hythe.worker.errors import BuildFailed

OWN = ["127.0.0.1:5000", "127.9.9.9", "localhost:2375", "0x7f000001:5000", "0.0.0.0:5000", "[::1]:5000"]


def bases(*plain_http: str) -> BaseImages:
    """Return the base images of a build whose worker uses plain HTTP with these hosts."""
    link: Any = None
    return BaseImages(JOB, link, Client(plain_http=plain_http))


@pytest.mark.parametrize("host", OWN)
def test_no_base_image_comes_from_the_worker_itself(host: str) -> None:
    """Services on the worker's loopback trust the machine, but must not trust the author of a Dockerfile."""
    with pytest.raises(BuildFailed, match="is the worker's own host"):
        bases().reference(f"{host}/alice/app")


def test_the_operator_can_allow_a_local_registry() -> None:
    """The operator can allow them with plain HTTP, and the hub is always allowed."""
    assert bases("127.0.0.1:5000").reference("127.0.0.1:5000/alice/app").host == "127.0.0.1:5000"
    assert bases("*").reference("localhost:5000/alice/app").host == "localhost:5000"
    assert bases().reference(f"{JOB.registry}/alice/app").host == JOB.registry
