"""Paths below ``/v2/``: the last keyword counts, whatever the repository is called."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hythe.registry.routes.routing import RegistryRoute, Target, parse_target

NAMES = st.lists(st.sampled_from(["a", "manifests", "blobs", "uploads", "tags", "list", "referrers", "v2"]), min_size=1)


@given(NAMES, st.sampled_from(["latest", "list", "uploads", "sha256:00"]))
def test_manifest_of_any_name(parts: list[str], reference: str) -> None:
    """Keywords inside the name mislead nobody."""
    name = "/".join(parts)

    assert parse_target(f"/v2/{name}/manifests/{reference}") == Target(RegistryRoute.MANIFEST, name, reference)


@given(NAMES)
def test_upload_of_any_name(parts: list[str]) -> None:
    """Sessions are found by their last part."""
    name = "/".join(parts)

    assert parse_target(f"/v2/{name}/blobs/uploads/id") == Target(RegistryRoute.UPLOAD, name, "id")
    assert parse_target(f"/v2/{name}/blobs/uploads/") == Target(RegistryRoute.UPLOADS, name)


@pytest.mark.parametrize("path", ["/v2/", "/v2"])
def test_base(path: str) -> None:
    """With and without the slash."""
    assert parse_target(path) == Target(RegistryRoute.BASE)


@given(st.text())
def test_no_path_breaks_it(path: str) -> None:
    """Whatever comes is a target or nothing."""
    found = parse_target(f"/v2/{path}")

    assert found is None or isinstance(found.endpoint, RegistryRoute)
