"""The faulty proxy passes a real push and pull through, and fails on demand."""

import http.client
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.parts.base_images import Layout
from tests.parts.docker_registry import DockerRegistry
from tests.parts.engines import ContainersTool
from tests.parts.faulty_proxy import Fault, FaultyProxy

Start = Callable[[str], FaultyProxy]


@pytest.fixture
def blob_url(
    start_faulty_proxy: Start, docker_registry: DockerRegistry, skopeo: ContainersTool, busybox_layout: Layout
) -> tuple[FaultyProxy, str]:
    """The URL of a layer behind a proxy, in an image that was pushed through it."""
    proxy = start_faulty_proxy(docker_registry.url)
    skopeo.allow_http(proxy.host)
    skopeo.ok("copy", busybox_layout.source(), f"docker://{proxy.host}/busybox")
    layer = skopeo.inspect("inspect", f"docker://{proxy.host}/busybox")["Layers"][0]
    return proxy, f"{proxy.url}/v2/busybox/blobs/{layer}"


def read(url: str) -> bytes:
    """Read the whole body, or raise an exception."""
    with urllib.request.urlopen(url, timeout=30) as answer:
        body: bytes = answer.read()
        return body


def test_a_fault_happens_as_often_as_requested(blob_url: tuple[FaultyProxy, str]) -> None:
    """The client notices a cut response; the next request succeeds."""
    proxy, url = blob_url
    whole = read(url)
    proxy.faults.append(Fault("GET .*/blobs/", cut_at=100_000))

    with pytest.raises(http.client.IncompleteRead) as cut:
        read(url)

    assert len(cut.value.partial) == 100_000
    assert read(url) == whole


def test_corruption_and_refusal(blob_url: tuple[FaultyProxy, str]) -> None:
    """One byte differs; a refusal has its headers."""
    proxy, url = blob_url
    whole = read(url)
    proxy.faults += [Fault("/blobs/", corrupt_at=7), Fault("/blobs/", status=429, headers={"Retry-After": "1"})]

    spoiled = read(url)
    with pytest.raises(urllib.error.HTTPError) as refused:
        read(url)

    assert [index for index, byte in enumerate(spoiled) if byte != whole[index]] == [7]
    assert (refused.value.code, refused.value.headers["Retry-After"]) == (429, "1")


def test_an_upload_cut_in_the_middle(
    blob_url: tuple[FaultyProxy, str], skopeo: ContainersTool, tmp_path: Path, multi_platform_layout: Layout
) -> None:
    """A push whose connection breaks fails, and succeeds on retry."""
    proxy, _ = blob_url
    proxy.faults.append(Fault("PATCH|PUT .*/uploads/", cut_upload_at=50, times=20))
    push = ("copy", multi_platform_layout.source(), f"docker://{proxy.host}/other")

    assert skopeo.run(*push).returncode != 0
    proxy.faults.clear()
    assert skopeo.run(*push).returncode == 0
