"""hythe's client with Debian's docker-registry: open, with passwords, with TLS; next to docker, podman and skopeo."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.parts.base_images import Layout
from tests.parts.docker_registry import Certificate, DockerRegistry
from tests.parts.engines import ContainersTool, Docker
from tests.parts.hythe_client import HytheClient

pytestmark = pytest.mark.clients

USERS = {"ann": "secret", "bob": "other"}


def test_push_and_pull_keep_the_image_id(
    hythe: HytheClient, docker_registry: DockerRegistry, busybox_layout: Layout
) -> None:
    """Copy to the local store, push, remove, pull: the ID is the same, and the messages are docker's."""
    name = f"{docker_registry.host}/ann/box:1"
    hythe.ok("copy", f"oci:{busybox_layout.folder}", f"store:{name}")
    before = hythe.json("images")
    pushed = hythe.ok("push", name)
    hythe.ok("rmi", name)
    pulled = hythe.ok("pull", name)

    assert f"The push refers to repository [{docker_registry.host}/ann/box]" in pushed
    assert pushed.splitlines()[-1].startswith("1: digest: sha256:")
    assert pulled.splitlines()[0] == "1: Pulling from ann/box"
    assert f"Status: Downloaded newer image for {name}" in pulled
    assert [image["id"] for image in hythe.json("images")] == [image["id"] for image in before]
    assert f"Status: Image is up to date for {name}" in hythe.ok("pull", name)


def test_progress_without_a_terminal(
    hythe: HytheClient, docker_registry: DockerRegistry, busybox_layout: Layout
) -> None:
    """Progress goes to stderr, one line per state change; a second push reports existing layers."""
    name = f"{docker_registry.host}/box"
    hythe.ok("copy", "-q", f"oci:{busybox_layout.folder}", f"store:{name}")
    first, second = hythe.run("push", name), hythe.run("push", name)

    assert ": Pushing\n" in first.stderr
    assert ": Pushed\n" in first.stderr
    assert "\x1b" not in first.stderr
    assert ": Layer already exists\n" in second.stderr


def test_push_without_a_tag_and_with_all_tags(
    hythe: HytheClient, docker_registry: DockerRegistry, busybox_layout: Layout
) -> None:
    """Without a tag, push uses latest as docker does since 20.10; -a pushes all tags."""
    name = f"{docker_registry.host}/ann/box"
    hythe.ok("copy", "-q", f"oci:{busybox_layout.folder}", f"store:{name}:latest")
    hythe.ok("tag", f"{name}:latest", f"{name}:1")
    hythe.ok("push", name)
    alone = hythe.ok("tags", name)
    hythe.ok("push", "-a", name)

    assert alone == "latest"
    assert sorted(hythe.ok("tags", name).split()) == ["1", "latest"]


def test_a_layer_of_another_repository_is_mounted(
    hythe: HytheClient, docker_registry: DockerRegistry, busybox_layout: Layout
) -> None:
    """Layers that the registry has under any name are not sent again."""
    first, second = f"{docker_registry.host}/ann/box", f"{docker_registry.host}/bob/box"
    hythe.ok("copy", "-q", f"oci:{busybox_layout.folder}", f"store:{first}")
    hythe.ok("push", "-q", first)
    hythe.ok("tag", first, second)
    pushed = hythe.run("push", second)

    assert "Mounted from ann/box" in pushed.stderr
    assert "Pushing" not in pushed.stderr


def test_all_platforms_or_some(
    hythe: HytheClient, docker_registry: DockerRegistry, multi_platform_layout: Layout, skopeo: ContainersTool
) -> None:
    """copy transfers all platforms by default; pull transfers that of this host or of --platform."""
    name = f"{docker_registry.host}/multi"
    digest = hythe.ok("copy", "-q", f"oci:{multi_platform_layout.folder}", name)
    skopeo.allow_http(docker_registry.host)
    raw = json.loads(skopeo.ok("inspect", "--raw", f"docker://{name}"))
    hythe.ok("pull", "--platform", "linux/arm64", name)
    one = hythe.json("images")[0]
    hythe.ok("copy", "-q", "--platform", "linux/arm64", name, f"{docker_registry.host}/arm")
    other = hythe.run("pull", "--platform", "linux/s390x", f"{docker_registry.host}/arm")

    assert [m["platform"]["architecture"] for m in raw["manifests"]] == ["amd64", "arm64"]
    assert one["platform"] == "linux/arm64"
    assert one["repository_digests"][-1].endswith(digest) or one["repository_digests"][0].endswith(digest)
    assert "config" in json.loads(skopeo.ok("inspect", "--raw", f"docker://{docker_registry.host}/arm"))
    assert "is for linux/arm64, which does not match linux/s390x" in other.stderr


def test_all_platforms_are_pulled_and_pushed_unchanged(
    hythe: HytheClient, docker_registry: DockerRegistry, multi_platform_layout: Layout
) -> None:
    """--all-platforms keeps the index, and a push returns the same bytes."""
    name = f"{docker_registry.host}/multi"
    digest = hythe.ok("copy", "-q", f"oci:{multi_platform_layout.folder}", name)
    hythe.ok("pull", "--all-platforms", name)
    hythe.ok("tag", name, f"{docker_registry.host}/again:2")
    pushed = hythe.json("push", f"{docker_registry.host}/again:2")

    assert pushed["digest"] == digest


def test_login_stores_credentials_like_docker(
    hythe: HytheClient,
    start_docker_registry: Callable[..., DockerRegistry],
    busybox_layout: Layout,
    docker: Docker,
    podman: ContainersTool,
    skopeo: ContainersTool,
) -> None:
    """A push without credentials fails with a hint; after hythe login, docker, podman and skopeo can push too."""
    registry = start_docker_registry(users=USERS)
    name = f"{registry.host}/ann/box:1"
    hythe.ok("copy", "-q", f"oci:{busybox_layout.folder}", f"store:{name}")
    refused = hythe.run("push", name)
    wrong = hythe.run("login", "-u", "ann", "--password-stdin", registry.host, stdin="wrong")
    output = hythe.login(registry.host, "ann", "secret")
    hythe.ok("push", name)

    assert refused.returncode == 4
    assert "hint: log in with 'hythe login" in refused.stderr
    assert wrong.returncode == 4
    assert "incorrect username or password" in wrong.stderr
    assert output == "Login Succeeded"
    docker.env["DOCKER_CONFIG"] = str(hythe.docker_config.parent)
    docker.ok("pull", name)
    for tool in (podman, skopeo):
        tool.env.pop("REGISTRY_AUTH_FILE")
        tool.env["DOCKER_CONFIG"] = str(hythe.docker_config.parent)
        tool.allow_http(registry.host)
    podman.ok("pull", name)
    skopeo.ok("inspect", f"docker://{name}")
    hythe.ok("logout", registry.host)
    assert hythe.run("pull", name).returncode == 4


@pytest.mark.parametrize("writer", ["docker", "podman"])
def test_hythe_uses_credentials_of_docker_and_podman(
    hythe: HytheClient,
    start_docker_registry: Callable[..., DockerRegistry],
    busybox_layout: Layout,
    docker: Docker,
    podman: ContainersTool,
    writer: str,
) -> None:
    """hythe uses the credentials of docker login and podman login."""
    registry = start_docker_registry(users=USERS)
    if writer == "docker":
        assert docker.login(registry.host, "bob", "other").returncode == 0
        hythe.env["DOCKER_CONFIG"] = str(docker.config)
    else:
        podman.allow_http(registry.host)
        assert podman.login(registry.host, "bob", "other").returncode == 0
        hythe.env["REGISTRY_AUTH_FILE"] = str(podman.auth_file)

    assert hythe.ok("copy", "-q", f"oci:{busybox_layout.folder}", f"{registry.host}/bob/box").startswith("sha256:")


def test_podman_reads_legacy_credentials(
    hythe: HytheClient,
    start_docker_registry: Callable[..., DockerRegistry],
    busybox_layout: Layout,
    podman: ContainersTool,
) -> None:
    """~/.dockercfg, the format of docker before 1.7, which podman still reads."""
    registry = start_docker_registry(users=USERS)
    hythe.ok("login", "-u", "ann", "--password-stdin", "--legacy-dockercfg", registry.url, stdin="secret")
    hythe.ok("copy", "-q", f"oci:{busybox_layout.folder}", f"{registry.host}/ann/box")
    podman.env.pop("REGISTRY_AUTH_FILE")
    (Path(podman.env["HOME"]) / ".dockercfg").write_text((hythe.folder / ".dockercfg").read_text())
    podman.allow_http(registry.host)

    assert not hythe.docker_config.exists()
    assert registry.url in json.loads((hythe.folder / ".dockercfg").read_text())
    podman.ok("pull", f"{registry.host}/ann/box")


def test_tls_with_a_private_ca(
    hythe: HytheClient,
    start_docker_registry: Callable[..., DockerRegistry],
    certificate: Certificate,
    busybox_layout: Layout,
) -> None:
    """hythe refuses an untrusted certificate; a setting or docker's folder of CA certificates makes it trusted."""
    registry = start_docker_registry(users=USERS, certificate=certificate)
    source = f"oci:{busybox_layout.folder}"
    refused = hythe.run("copy", "-q", source, f"{registry.host}/box")
    hythe.ok("config", "set", "certificate-authorities", str(certificate.ca))
    hythe.login(registry.host, "ann", "secret")
    hythe.ok("copy", "-q", source, f"{registry.host}/box")
    hythe.ok("config", "unset", "certificate-authorities")
    certificate.trust_in(hythe.folder / ".config/containers/certs.d", registry.host)
    hythe.ok("pull", f"{registry.host}/box")

    assert refused.returncode == 5
    assert "certificate" in refused.stderr
    assert "hint: trust its CA" in refused.stderr


def test_short_names_go_to_the_default_registry(
    hythe: HytheClient, docker_registry: DockerRegistry, busybox_layout: Layout
) -> None:
    """One setting replaces docker.io as the default registry with the user's hub."""
    hythe.ok("config", "set", "default-registry", docker_registry.host)
    hythe.ok("copy", "-q", f"oci:{busybox_layout.folder}", "repo_name")
    hythe.ok("pull", "repo_name")

    assert hythe.json("images")[0]["names"] == [f"{docker_registry.host}/repo_name:latest"]


def test_the_private_registrys_name_of_2014_works(
    hythe: HytheClient, docker_registry: DockerRegistry, busybox_layout: Layout
) -> None:
    """localhost.localdomain:PORT/repo_name is this host, even if the resolver does not know the name."""
    name = f"localhost.localdomain:{docker_registry.host.rpartition(':')[2]}/repo_name"
    hythe.ok("copy", "-q", f"oci:{busybox_layout.folder}", f"store:{name}")
    hythe.ok("push", name)
    hythe.ok("rmi", name)

    assert f"Status: Downloaded newer image for {name}:latest" in hythe.ok("pull", name)


def test_save_and_load_with_docker(
    hythe: HytheClient, docker: Docker, podman: ContainersTool, busybox_layout: Layout, tmp_path: Path
) -> None:
    """The image ID is the same after save and load; podman reads the files too."""
    hythe.ok("copy", "-q", f"oci:{busybox_layout.folder}", "store:ann/box:1")
    hythe.ok("save", "-o", tmp_path / "hythe.tar", "ann/box:1")
    docker.ok("load", "-i", str(tmp_path / "hythe.tar"))
    podman.ok("load", "-i", str(tmp_path / "hythe.tar"))
    image = hythe.json("images")[0]
    docker.ok("tag", "ann/box:1", "ann/back:1")
    docker.ok("save", "-o", str(tmp_path / "docker.tar"), "ann/back:1")
    loaded = hythe.ok("load", "-i", tmp_path / "docker.tar")

    assert docker.image_id("ann/box:1") == image["id"]
    assert loaded == "Loaded image: ann/back:1"
    assert hythe.ok("images", "-q", "--no-trunc", "ann/back:1") == image["id"]
    assert "localhost/ann/box" in podman.ok("images") or "ann/box" in podman.ok("images")


def test_skopeo_reads_the_store(
    hythe: HytheClient, skopeo: ContainersTool, busybox_layout: Layout, tmp_path: Path
) -> None:
    """The store is an OCI layout: skopeo copies an image out of it by its full name."""
    hythe.ok("copy", "-q", f"oci:{busybox_layout.folder}", "store:ann/box:1")
    skopeo.ok("copy", f"oci:{hythe.store.folder}:docker.io/ann/box:1", f"dir:{tmp_path}/out")

    assert (tmp_path / "out/manifest.json").exists()


def test_exit_codes_of_a_missing_image_and_an_unreachable_registry(
    hythe: HytheClient, docker_registry: DockerRegistry
) -> None:
    """Exit code 3 if the image does not exist, 5 if the registry is unreachable; a hint, no stack trace."""
    missing = hythe.run("pull", f"{docker_registry.host}/no/such:1")
    unreachable = hythe.run("pull", "127.0.0.1:1/no/such")

    assert (missing.returncode, unreachable.returncode) == (3, 5)
    assert f"manifest for {docker_registry.host}/no/such:1 not found: manifest unknown\n" in missing.stderr
    for output in (missing.stderr, unreachable.stderr):
        assert output.count("error:") == 1
        assert "hint:" in output
        assert "Traceback" not in output
