"""The pull-through mirror in front of real registries: Debian's docker-registry and a second hythe."""

import hashlib
import http.client
import json
import os
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.parts.base_images import Layout, many_layers
from tests.parts.docker_registry import DockerRegistry
from tests.parts.engines import ContainersTool, Docker, Dockerd
from tests.parts.faulty_proxy import Fault, FaultyProxy
from tests.parts.hub import HytheServer

pytestmark = pytest.mark.clients

MIB = 1024 * 1024


def fetch(url: str, headers: dict[str, str] | None = None) -> tuple[int, bytes]:
    """GET: status and body; raises IncompleteRead when the body was cut."""
    request = urllib.request.Request(url, headers=headers or {})
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def push_blob(server: str, repository: str, content: bytes) -> str:
    """Push a blob in one PUT, and a manifest that holds it; returns the blob's digest."""
    digests = []
    for data in (content, b"{}"):
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        start = urllib.request.Request(f"{server}/v2/{repository}/blobs/uploads/", data=b"", method="POST")
        with urllib.request.urlopen(start) as response:
            location = response.headers["Location"]
        url = location if location.startswith("http") else server + location
        put = f"{url}{'&' if '?' in url else '?'}digest={digest}"
        urllib.request.urlopen(urllib.request.Request(put, data=data, method="PUT")).close()
        digests.append((digest, len(data)))
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": digests[1][0], "size": digests[1][1]},
        "layers": [{"mediaType": "application/octet-stream", "digest": digests[0][0], "size": digests[0][1]}],
    }
    request = urllib.request.Request(
        f"{server}/v2/{repository}/manifests/latest",
        data=json.dumps(manifest).encode(),
        method="PUT",
        headers={"Content-Type": str(manifest["mediaType"])},
    )
    urllib.request.urlopen(request).close()
    return digests[0][0]


StartRegistry = Callable[..., HytheServer]


@pytest.fixture
def upstream(start_private_registry: StartRegistry) -> HytheServer:
    """A second hythe, to be mirrored."""
    return start_private_registry()


def test_dockerd_pulls_through_its_registry_mirror(
    start_private_registry: StartRegistry,
    start_docker_registry: Callable[..., DockerRegistry],
    start_dockerd: Callable[..., Dockerd],
    skopeo: ContainersTool,
    busybox_layout: Layout,
    tmp_path: Path,
) -> None:
    """What dockerd takes for Docker Hub comes out of the mirror."""
    hub = start_docker_registry()
    skopeo.ok(
        "copy", "--dest-tls-verify=false", f"oci:{busybox_layout.folder}:latest", f"docker://{hub.host}/library/busybox"
    )
    mirror = start_private_registry(["--mirror", hub.url])
    docker = start_dockerd(extra=[f"--registry-mirror={mirror.url}"]).client(tmp_path / "config")

    docker.ok("pull", "busybox")

    assert docker.ok("run", "--rm", "busybox", "echo", "ahoy") == "ahoy"


def test_an_image_is_served_while_the_upstream_is_away(
    upstream: HytheServer, start_private_registry: StartRegistry, skopeo: ContainersTool, tmp_path: Path
) -> None:
    """All platforms and layers that were asked for once are here."""
    layout = many_layers(tmp_path / "layout", 6)
    skopeo.ok("copy", "--dest-tls-verify=false", f"oci:{layout.folder}:latest", f"docker://{upstream.host}/team/app")
    mirror = start_private_registry(["--mirror", f"up={upstream.url}"])
    source = f"docker://{mirror.host}/up/team/app"
    skopeo.ok("copy", "--src-tls-verify=false", source, f"dir:{tmp_path}/first")
    upstream.stop()
    mirror.restart()

    skopeo.ok("copy", "--src-tls-verify=false", source, f"dir:{tmp_path}/second")

    names = [path.name for path in (tmp_path / "first").iterdir()]
    assert all((tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes() for name in names)
    assert fetch(f"{mirror.url}/v2/up/team/never-asked/manifests/latest")[0] == 503


def test_a_moved_tag_is_noticed(
    upstream: HytheServer, start_private_registry: StartRegistry, skopeo: ContainersTool, tmp_path: Path
) -> None:
    """After a restart (which forgets when the upstream was asked) the new target comes."""
    mirror = start_private_registry(["--mirror", upstream.url])
    push_blob(upstream.url, "app", b"first")
    first = fetch(f"{mirror.url}/v2/app/manifests/latest")
    push_blob(upstream.url, "app", b"second")
    mirror.restart()

    second = fetch(f"{mirror.url}/v2/app/manifests/latest")

    assert first[0] == second[0] == 200
    assert second == fetch(f"{upstream.url}/v2/app/manifests/latest")
    assert first != second


def test_containerd_names_the_registry_that_it_means(
    upstream: HytheServer, start_private_registry: StartRegistry
) -> None:
    """``?ns=`` chooses the upstream, and one that is not mirrored is not mixed up with another."""
    push_blob(upstream.url, "app", b"content")
    mirror = start_private_registry(["--mirror", f"docker.example={upstream.url}"])

    assert fetch(f"{mirror.url}/v2/app/manifests/latest?ns=docker.example")[0] == 200
    assert fetch(f"{mirror.url}/v2/app/manifests/latest?ns=quay.example")[0] == 404
    assert fetch(f"{mirror.url}/v2/app/manifests/latest")[0] == 404


def test_equal_requests_are_one_download(
    upstream: HytheServer,
    start_private_registry: StartRegistry,
    start_faulty_proxy: Callable[[str], FaultyProxy],
) -> None:
    """Eight clients at once cost the upstream one transfer, and each gets every byte."""
    content = os.urandom(8 * MIB)
    digest = push_blob(upstream.url, "app", content)
    proxy = start_faulty_proxy(upstream.url)
    proxy.faults.append(Fault("GET .*blobs", bytes_per_second=8 * MIB))
    mirror = start_private_registry(["--mirror", proxy.url])
    url = f"{mirror.url}/v2/app/blobs/{digest}"

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: fetch(url), range(8)))

    assert answers == [(200, content)] * 8
    assert len([request for request in proxy.requests if request.startswith("GET") and digest in request]) == 1


def test_a_range_of_what_is_on_its_way(upstream: HytheServer, start_private_registry: StartRegistry) -> None:
    """A client may ask for a part before all of it is here."""
    content = os.urandom(3 * MIB)
    digest = push_blob(upstream.url, "app", content)
    mirror = start_private_registry(["--mirror", upstream.url])

    part = fetch(f"{mirror.url}/v2/app/blobs/{digest}", {"Range": "bytes=1000000-2000000"})

    assert part == (206, content[1000000:2000001])


def test_a_cut_download_goes_on_where_it_was(
    upstream: HytheServer,
    start_private_registry: StartRegistry,
    start_faulty_proxy: Callable[[str], FaultyProxy],
) -> None:
    """The client notices nothing of a connection to the upstream that breaks twice."""
    content = os.urandom(6 * MIB)
    digest = push_blob(upstream.url, "app", content)
    proxy = start_faulty_proxy(upstream.url)
    proxy.faults.append(Fault("GET .*blobs", times=2, cut_at=2 * MIB))
    mirror = start_private_registry(["--mirror", proxy.url])

    assert fetch(f"{mirror.url}/v2/app/blobs/{digest}") == (200, content)
    assert len(proxy.ranges) == 2


def test_wrong_bytes_never_arrive_as_whole_ones(
    upstream: HytheServer,
    start_private_registry: StartRegistry,
    start_faulty_proxy: Callable[[str], FaultyProxy],
) -> None:
    """A blob that was changed on its way is cut before its end, is not kept, and can be fetched again."""
    content = os.urandom(3 * MIB)
    digest = push_blob(upstream.url, "app", content)
    proxy = start_faulty_proxy(upstream.url)
    proxy.faults.append(Fault("GET .*blobs", corrupt_at=MIB))
    mirror = start_private_registry(["--mirror", proxy.url])
    url = f"{mirror.url}/v2/app/blobs/{digest}"

    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        fetch(url)

    assert fetch(url) == (200, content)


def test_credentials_open_the_upstream_and_stay_there(
    start_docker_registry: Callable[..., DockerRegistry],
    start_private_registry: StartRegistry,
    skopeo: ContainersTool,
    busybox_layout: Layout,
    tmp_path: Path,
) -> None:
    """The mirror signs in at an upstream that wants it; its own clients need not."""
    upstream = start_docker_registry(users={"ann": "secret"})
    target = f"docker://{upstream.host}/app"
    source = f"oci:{busybox_layout.folder}:latest"
    skopeo.ok("copy", "--dest-tls-verify=false", "--dest-creds", "ann:secret", source, target)
    mirror = start_private_registry(["--mirror", upstream.url.replace("://", "://ann:secret@")])

    skopeo.ok("copy", "--src-tls-verify=false", f"docker://{mirror.host}/app", f"dir:{tmp_path}/copy")

    assert fetch(f"{mirror.url}/v2/absent/manifests/latest")[0] == 404
    assert "secret" not in mirror.log


def test_wrong_credentials_are_said_and_not_taken_for_a_missing_image(
    start_docker_registry: Callable[..., DockerRegistry], start_private_registry: StartRegistry
) -> None:
    """The operator reads in the log, and whoever pulls in the answer, that it is the mirror's fault."""
    upstream = start_docker_registry(users={"ann": "secret"})
    mirror = start_private_registry(["--mirror", upstream.url.replace("://", "://ann:wrong-one@")])

    status, body = fetch(f"{mirror.url}/v2/app/manifests/latest")

    assert status == 503
    assert b"refuses the credentials" in body
    assert "refuses the credentials" in mirror.log
    assert "wrong-one" not in mirror.log + body.decode()


def test_a_silent_upstream_does_not_hold_up_what_is_here(
    upstream: HytheServer, start_private_registry: StartRegistry
) -> None:
    """One that takes connections and never answers is waited for a short time, once, and then taken for away."""
    push_blob(upstream.url, "app", b"content")
    mirror = start_private_registry(["--mirror", upstream.url])
    url = f"{mirror.url}/v2/app/manifests/latest"
    assert fetch(url)[0] == 200
    mirror.restart()
    upstream.stop()

    with socket.create_server(("127.0.0.1", upstream.port)) as silent:
        answers = [fetch(url)[0] for _ in range(3)]
        silent.settimeout(0)
        silent.accept()[0].close()
        with pytest.raises(BlockingIOError):
            silent.accept()

    assert answers == [200] * 3


def test_a_layer_of_two_repositories_is_fetched_once(
    upstream: HytheServer, start_private_registry: StartRegistry, start_faulty_proxy: Callable[[str], FaultyProxy]
) -> None:
    """What one mirrored repository has, another has too when its manifest is here; to all others it stays unknown."""
    content = os.urandom(MIB)
    digest = push_blob(upstream.url, "one", content)
    push_blob(upstream.url, "two", content)
    proxy = start_faulty_proxy(upstream.url)
    mirror = start_private_registry(["--mirror", f"up.example={proxy.url}"])
    local = push_blob(mirror.url, "local", b"nobody's business")
    for name in ("one", "two"):
        assert fetch(f"{mirror.url}/v2/up.example/{name}/manifests/latest")[0] == 200
        assert fetch(f"{mirror.url}/v2/up.example/{name}/blobs/{digest}") == (200, content)

    assert len([request for request in proxy.requests if request.startswith("GET") and digest in request]) == 1
    assert fetch(f"{mirror.url}/v2/up.example/absent/blobs/{digest}")[0] == 404
    assert fetch(f"{mirror.url}/v2/up.example/one/blobs/{local}")[0] == 404


def test_what_is_mirrored_takes_no_push(upstream: HytheServer, start_private_registry: StartRegistry) -> None:
    """A push below a mirror would be gone with the next look at the upstream: it is refused, and says where to push."""
    name = f"up.example={upstream.url}"
    mirror = start_private_registry(["--mirror", name])
    push_blob(mirror.url, "own/app", b"mine")

    with pytest.raises(urllib.error.HTTPError) as refused:
        push_blob(mirror.url, "up.example/team/app", b"mine")

    assert refused.value.code == 405
    assert b"mirrored from up.example" in refused.value.read()
    assert fetch(f"{mirror.url}/v2/own/app/manifests/latest")[0] == 200


@pytest.mark.parametrize("limit", ["HYTHE_MIRROR_AGE=1", f"HYTHE_MIRROR_SIZE={5 * MIB}"])
def test_what_is_old_or_too_much_goes(limit: str, upstream: HytheServer, start_private_registry: StartRegistry) -> None:
    """The bytes of what nobody asked for leave the disk; over the limit of size, the longest unused first."""
    digests = [push_blob(upstream.url, f"app{number}", os.urandom(3 * MIB)) for number in range(2)]
    name, _, value = limit.partition("=")
    env = {name: value, "HYTHE_GARBAGE_INTERVAL": "1", "HYTHE_GRACE_PERIOD": "1"}
    mirror = start_private_registry(["--mirror", upstream.url], env=env)
    for number, digest in enumerate(digests):
        assert fetch(f"{mirror.url}/v2/app{number}/manifests/latest")[0] == 200
        assert fetch(f"{mirror.url}/v2/app{number}/blobs/{digest}")[0] == 200
    first = mirror.data / "blobs/sha256" / digests[0][7:9] / digests[0][7:]

    give_up = time.monotonic() + 30
    while first.exists():
        assert time.monotonic() < give_up, "the first blob is still on the disk"
        time.sleep(0.2)
    if "SIZE" in limit:
        assert (mirror.data / "blobs/sha256" / digests[1][7:9] / digests[1][7:]).exists()


def test_the_limit_of_size_does_not_wait_for_the_grace_period(
    upstream: HytheServer, start_private_registry: StartRegistry
) -> None:
    """With the settings as they are by themselves, what is over the limit is dropped in the next round."""
    digests = [push_blob(upstream.url, f"app{number}", os.urandom(3 * MIB)) for number in range(2)]
    env = {"HYTHE_MIRROR_SIZE": str(5 * MIB), "HYTHE_GARBAGE_INTERVAL": "1"}
    mirror = start_private_registry(["--mirror", upstream.url], env=env)
    for number, digest in enumerate(digests):
        assert fetch(f"{mirror.url}/v2/app{number}/manifests/latest")[0] == 200
        assert fetch(f"{mirror.url}/v2/app{number}/blobs/{digest}")[0] == 200

    give_up = time.monotonic() + 30
    while json.loads(fetch(f"{mirror.url}/v2/_catalog")[1])["repositories"] != ["app1"]:
        assert time.monotonic() < give_up, "the longest unused is still there"
        time.sleep(0.2)


def test_a_hub_mirrors_for_everybody_and_takes_no_push(
    upstream: HytheServer, start_hub: Callable[..., HytheServer], docker: Docker, busybox_tar: Path
) -> None:
    """Below the mirror's name anybody pulls what the upstream has; a push is refused and says why."""
    docker.import_image(busybox_tar, f"{upstream.host}/team/app")
    docker.ok("push", f"{upstream.host}/team/app")
    hub = start_hub(env={"HYTHE_MIRRORS": f"up.example={upstream.url}"})
    hub.create_user("ann", "a-long-password", admin=True)
    docker.login(hub.host, "ann", "a-long-password")
    name = f"{hub.host}/up.example/team/app"
    docker.ok("tag", f"{upstream.host}/team/app", name)

    refused = docker.run("push", name)
    docker.ok("logout", hub.host)
    docker.ok("rmi", name)
    pulled = docker.run("pull", name)

    assert "denied: up.example is a mirror of another registry: push there" in refused.stderr
    assert pulled.returncode == 0
