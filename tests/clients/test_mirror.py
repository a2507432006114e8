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
    """GET: status and body; raises IncompleteRead if the body was cut."""
    request = urllib.request.Request(url, headers=headers or {})
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def push_blob(server: str, repository: str, content: bytes) -> str:
    """Push a blob with one PUT, and a manifest that contains it; returns the blob's digest."""
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
    """A second hythe as the upstream."""
    return start_private_registry()


def test_dockerd_pulls_through_its_registry_mirror(
    start_private_registry: StartRegistry,
    start_docker_registry: Callable[..., DockerRegistry],
    start_dockerd: Callable[..., Dockerd],
    skopeo: ContainersTool,
    busybox_layout: Layout,
    tmp_path: Path,
) -> None:
    """dockerd pulls Docker Hub images from the mirror."""
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
    """All platforms and layers that were pulled once are available."""
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
    """After a restart, which clears the time of the last check, the new target is served."""
    mirror = start_private_registry(["--mirror", upstream.url])
    push_blob(upstream.url, "app", b"first")
    first = fetch(f"{mirror.url}/v2/app/manifests/latest")
    push_blob(upstream.url, "app", b"second")
    mirror.restart()

    second = fetch(f"{mirror.url}/v2/app/manifests/latest")

    assert first[0] == second[0] == 200
    assert second == fetch(f"{upstream.url}/v2/app/manifests/latest")
    assert first != second


def test_containerd_selects_the_upstream(upstream: HytheServer, start_private_registry: StartRegistry) -> None:
    """``?ns=`` selects the upstream; a registry that is not mirrored is not confused with another."""
    push_blob(upstream.url, "app", b"content")
    mirror = start_private_registry(["--mirror", f"docker.example={upstream.url}"])

    request = urllib.request.Request(f"{mirror.url}/v2/app/manifests/latest?ns=docker.example", method="HEAD")
    with urllib.request.urlopen(request) as response:
        assert response.headers["Docker-Content-Digest"].startswith("sha256:")
        assert int(response.headers["Content-Length"]) > 0
    assert fetch(f"{mirror.url}/v2/app/manifests/latest?ns=docker.example")[0] == 200
    tags = fetch(f"{mirror.url}/v2/app/tags/list?ns=docker.example")
    assert json.loads(tags[1]) == {"name": "app", "tags": ["latest"]}
    assert fetch(f"{mirror.url}/v2/app/manifests/latest?ns=quay.example")[0] == 404
    assert fetch(f"{mirror.url}/v2/app/manifests/latest")[0] == 404


def test_equal_requests_are_one_download(
    upstream: HytheServer,
    start_private_registry: StartRegistry,
    start_faulty_proxy: Callable[[str], FaultyProxy],
) -> None:
    """Eight concurrent clients cause one upstream transfer, and each gets all bytes."""
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


def test_a_range_of_a_running_download(upstream: HytheServer, start_private_registry: StartRegistry) -> None:
    """A client can request a range before the download is complete."""
    content = os.urandom(3 * MIB)
    digest = push_blob(upstream.url, "app", content)
    mirror = start_private_registry(["--mirror", upstream.url])

    part = fetch(f"{mirror.url}/v2/app/blobs/{digest}", {"Range": "bytes=1000000-2000000"})

    assert part == (206, content[1000000:2000001])


def test_a_cut_download_resumes(
    upstream: HytheServer,
    start_private_registry: StartRegistry,
    start_faulty_proxy: Callable[[str], FaultyProxy],
) -> None:
    """The client does not notice an upstream connection that breaks twice."""
    content = os.urandom(6 * MIB)
    digest = push_blob(upstream.url, "app", content)
    proxy = start_faulty_proxy(upstream.url)
    proxy.faults.append(Fault("GET .*blobs", times=2, cut_at=2 * MIB))
    mirror = start_private_registry(["--mirror", proxy.url])

    assert fetch(f"{mirror.url}/v2/app/blobs/{digest}") == (200, content)
    assert len(proxy.ranges) == 2


def test_corrupt_blobs_are_not_served(
    upstream: HytheServer,
    start_private_registry: StartRegistry,
    start_faulty_proxy: Callable[[str], FaultyProxy],
) -> None:
    """A blob that was corrupted in transfer is cut off, is not stored, and can be requested again."""
    content = os.urandom(3 * MIB)
    digest = push_blob(upstream.url, "app", content)
    proxy = start_faulty_proxy(upstream.url)
    proxy.faults.append(Fault("GET .*blobs", corrupt_at=MIB))
    mirror = start_private_registry(["--mirror", proxy.url])
    url = f"{mirror.url}/v2/app/blobs/{digest}"

    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        fetch(url)

    assert fetch(url) == (200, content)


def test_credentials_are_only_for_the_upstream(
    start_docker_registry: Callable[..., DockerRegistry],
    start_private_registry: StartRegistry,
    skopeo: ContainersTool,
    busybox_layout: Layout,
    tmp_path: Path,
) -> None:
    """The mirror authenticates to the upstream; its own clients need no credentials."""
    upstream = start_docker_registry(users={"ann": "secret"})
    target = f"docker://{upstream.host}/app"
    source = f"oci:{busybox_layout.folder}:latest"
    skopeo.ok("copy", "--dest-tls-verify=false", "--dest-creds", "ann:secret", source, target)
    mirror = start_private_registry(["--mirror", upstream.url.replace("://", "://ann:secret@")])

    skopeo.ok("copy", "--src-tls-verify=false", f"docker://{mirror.host}/app", f"dir:{tmp_path}/copy")

    assert fetch(f"{mirror.url}/v2/absent/manifests/latest")[0] == 404
    assert "secret" not in mirror.log


def test_wrong_credentials_are_reported(
    start_docker_registry: Callable[..., DockerRegistry], start_private_registry: StartRegistry
) -> None:
    """The log and the response say that the mirror's credentials are wrong, not that the image is missing."""
    upstream = start_docker_registry(users={"ann": "secret"})
    mirror = start_private_registry(["--mirror", upstream.url.replace("://", "://ann:wrong-one@")])

    status, body = fetch(f"{mirror.url}/v2/app/manifests/latest")

    assert status == 502
    assert b"rejected the credentials" in body
    assert "rejected the credentials" in mirror.log
    assert "wrong-one" not in mirror.log + body.decode()


def test_clients_learn_the_upstreams_rate_limit(
    upstream: HytheServer,
    start_private_registry: StartRegistry,
    start_faulty_proxy: Callable[[str], FaultyProxy],
    docker: Docker,
    skopeo: ContainersTool,
    busybox_layout: Layout,
    tmp_path: Path,
) -> None:
    """docker says so at once, skopeo waits as long as it has to, and the upstream gets one request in that time."""
    source = f"oci:{busybox_layout.folder}:latest"
    skopeo.ok("copy", "--dest-tls-verify=false", source, f"docker://{upstream.host}/app")
    proxy = start_faulty_proxy(upstream.url)
    proxy.faults.append(Fault(".*manifests", status=429, headers={"Retry-After": "8"}))
    mirror = start_private_registry(["--mirror", f"up.example={proxy.url}"])

    refused = docker.run("pull", f"{mirror.host}/up.example/app")
    requests = len(proxy.requests)
    skopeo.ok("copy", "--src-tls-verify=false", f"docker://{mirror.host}/up.example/app", f"dir:{tmp_path}/copy")

    assert refused.returncode != 0
    assert "toomanyrequests: this is a mirror: 127.0.0.1" in refused.stderr
    assert requests == 1


def test_an_unresponsive_upstream_does_not_delay_cached_images(
    upstream: HytheServer, start_private_registry: StartRegistry
) -> None:
    """An upstream that accepts connections and never responds is tried once, with a short timeout."""
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
    """A blob is shared by mirrored repositories whose manifests contain it, and hidden from all others."""
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


def test_mirrored_repositories_refuse_pushes(upstream: HytheServer, start_private_registry: StartRegistry) -> None:
    """The error says where to push instead."""
    name = f"up.example={upstream.url}"
    mirror = start_private_registry(["--mirror", name])
    push_blob(mirror.url, "own/app", b"mine")

    with pytest.raises(urllib.error.HTTPError) as refused:
        push_blob(mirror.url, "up.example/team/app", b"mine")

    assert refused.value.code == 405
    assert b"mirrored from up.example" in refused.value.read()
    assert fetch(f"{mirror.url}/v2/own/app/manifests/latest")[0] == 200


@pytest.mark.parametrize("limit", ["HYTHE_MIRROR_AGE=1", f"HYTHE_MIRROR_SIZE={5 * MIB}"])
def test_the_mirror_limits_age_and_size(
    limit: str, upstream: HytheServer, start_private_registry: StartRegistry
) -> None:
    """Unused blobs are removed from the disk; above the size limit, the least recently used first."""
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


def test_the_size_limit_ignores_the_grace_period(upstream: HytheServer, start_private_registry: StartRegistry) -> None:
    """With default settings, the next run removes what exceeds the size limit."""
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


def test_a_hub_mirrors_for_all_users(
    upstream: HytheServer, start_hub: Callable[..., HytheServer], docker: Docker, busybox_tar: Path
) -> None:
    """Anyone can pull from the upstream below the mirror's name; a push is refused with a reason."""
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

    assert "denied: up.example mirrors another registry: push to that registry" in refused.stderr
    assert pulled.returncode == 0
