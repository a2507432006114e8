"""No build decides what a later build starts from.

A hostile commit has hooks and steps that attack the base images and layers of later builds; the next, clean commit must
get the genuine ones, and its provenance must say what it used.
"""

from __future__ import annotations

import base64
import json
import subprocess
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest
from tests.builds.forge_hub import eventually
from tests.builds.services import USER, Services, start_services
from tests.parts.git_server import GitRepository

__all__ = ["start_services"]

pytestmark = pytest.mark.clients

BASE = "FROM scratch\nADD rootfs.tar /\nRUN echo genuine > /origin\n"
APP = 'FROM {base}\nCOPY late /late\nRUN echo "the base is $(cat /origin)"\n'
UUID = "cat /proc/sys/kernel/random/uuid"
FORGE_NAMES = """\
mkdir -p /tmp/forged && cp "$GIT_WORK_TREE/rootfs.tar" /tmp/forged
printf 'FROM scratch\\nADD rootfs.tar /\\nRUN echo forged > /origin\\n' > /tmp/forged/Dockerfile
docker build --tag {base}:latest /tmp/forged
docker build --tag {base} /tmp/forged
echo "forged as $(docker images --quiet --no-trunc {base})"
docker pull --quiet {base} || true
mkdir -p "$HOME/.config/containers"
for file in "$HOME/registries.conf" "$HOME/.config/containers/registries.conf"; do
    printf '[aliases]\\n"{base}" = "localhost/forged"\\n' > "$file"
done
printf '[storage]\\ndriver = "vfs"\\ngraphroot = "/work/forged"\\n' > "$HOME/.config/containers/storage.conf"
"""
FORGE_FILES = """\
overwrite() { find "$1" -name origin -exec sh -c 'echo forged > "$1" && echo "overwrote $1"' _ {} \\; 2>&1 || true; }
mount -o remount,bind,rw /images || umount /images || mount -t tmpfs none /images/storage || true
overwrite /images
for root in /proc/[0-9]*/root; do overwrite "$root/images"; done
mv /images/storage /images/gone || rm -rf /images/storage || true
echo '{}' > /images/contents.json || true
overwrite /work
echo '{"bases": {}}' > /work/contents.json
"""
REPLACE_STORAGE = """\
cp -a /images/storage /work/forged
find /work/forged -name origin -exec sh -c 'echo forged > "$1"' _ {} \\;
rm -rf /work/storage
ln -s /work/forged /work/storage
ln -s /etc /work/fetched
mknod /work/disk b 7 0 || true
"""
FORGE_LAYERS = """\
for tag in $(seq 1 3); do docker push $DOCKER_REPO:sha256-$(printf "$tag" | sha256sum | cut -c -64).layers; done
docker push $DOCKER_REPO:{layers}
"""


@pytest.fixture(scope="module")
def services(start_services: Callable[..., Services]) -> Services:
    """A hub of its own, because builds here attack its worker."""
    found = start_services()
    base = found.configure("base", found.source("base", {"Dockerfile": BASE}))
    found.built(base, found.trigger(base)[0])
    return found


@pytest.fixture(scope="module")
def hooked(services: Services) -> tuple[GitRepository, str]:
    """A source without hooks, built once, and the path of its API; each test leaves a clean last build."""
    source, path = app(services, "hooked")
    build(services, path)
    return source, path


def base_of(services: Services) -> str:
    """Return the name of the base image."""
    return f"{services.hub.host}/{USER}/base"


def app(services: Services, name: str, files: dict[str, str] | None = None, **more: Any) -> tuple[GitRepository, str]:
    """Create a source whose image is based on the base image; returns it and the path of its API."""
    source = services.source(name, {"Dockerfile": APP.format(base=base_of(services)), "late": "1", **(files or {})})
    return source, services.configure(name, source, **more)


def last_build(services: Services, path: str) -> dict[str, Any]:
    """Return the newest build."""
    number = services.call("GET", f"{path}/builds")["items"][0]["number"]
    found: dict[str, Any] = services.call("GET", f"{path}/builds/{number}")
    return found


def build(services: Services, path: str) -> dict[str, Any]:
    """Build the current commit."""
    return services.built(path, services.trigger(path)[0])


def manifest(services: Services, name: str, target: str, content_type: str) -> Any:
    """Fetch a manifest or a blob from the registry."""
    token = services.call("GET", f"/token?scope=repository:{USER}/{name}:pull")["token"]
    kind = "blobs" if content_type == "*/*" else "manifests"
    headers = {"Authorization": f"Bearer {token}", "Accept": content_type}
    request = urllib.request.Request(f"{services.hub.url}/v2/{USER}/{name}/{kind}/{target}", headers=headers)
    with urllib.request.urlopen(request) as response:
        return json.loads(response.read())


def provenance(services: Services, name: str, digest: str) -> dict[str, Any]:
    """Return the signed provenance of an image."""
    attached = manifest(services, name, f"{digest.replace(':', '-')}.att", "application/vnd.oci.image.manifest.v1+json")
    for layer in attached["layers"]:
        envelope = manifest(services, name, layer["digest"], "*/*")
        statement = json.loads(base64.b64decode(envelope["payload"]))
        if statement["predicateType"] == "https://slsa.dev/provenance/v1":
            found: dict[str, Any] = statement["predicate"]["buildDefinition"]
            return found
    raise AssertionError(f"no provenance of {digest}")


@pytest.mark.parametrize(
    ("hook", "script"),
    [
        pytest.param("pre_build", FORGE_NAMES, id="retagged-base"),
        pytest.param("post_checkout", FORGE_FILES, id="files-before-the-build"),
        pytest.param("post_push", FORGE_FILES + REPLACE_STORAGE, id="replaced-storage"),
    ],
)
def test_a_hook_forges_no_base_image(
    services: Services, hooked: tuple[GitRepository, str], hook: str, script: str
) -> None:
    """The build after it has the genuine base image, and layers of builds without hooks alone."""
    source, path = hooked
    before = last_build(services, path)
    hostile = f"set -x\n{script.replace('{base}', base_of(services))}"
    source.commit({f"hooks/{hook}": hostile, "late": f"attacked by {hook}"}, "Hostile")
    attacked = build(services, path)
    source.git("rm", "-rq", "hooks")
    source.commit({"late": f"clean after {hook}"}, "Clean")
    clean = build(services, path)

    assert f"hook {hook}" in attacked["log"]
    assert "overwrote /images" not in attacked["log"]
    assert attacked["result"]["hooks"] == [hook]
    assert attacked["result"]["layers"] == before["result"]["layers"] != {}
    assert "the base is genuine" in clean["log"]
    parameters = provenance(services, "hooked", clean["digest"])["internalParameters"]
    assert parameters["hooks"] == clean["result"]["hooks"] == []
    assert parameters["cache"] == f"layers of build {attacked['number']}"


def test_steps_that_escape_write_no_image(services: Services) -> None:
    """A step that reaches the files of the sandbox cannot change the images that the next build starts from."""
    escape = (
        "RUN for root in / /proc/[0-9]*/root; do find $root/images $root/work -name origin 2>/dev/null | "
        "while read file; do echo forged > $file && echo overwrote $file; done; done; true\n"
    )
    source, path = app(services, "escaping", {"Dockerfile": APP.format(base=base_of(services)) + escape})
    build(services, path)
    source.commit({"Dockerfile": APP.format(base=base_of(services)), "late": "2"}, "Clean")

    assert "the base is genuine" in build(services, path)["log"]


def test_layers_that_a_hook_pushes_are_not_used(services: Services, hooked: tuple[GitRepository, str]) -> None:
    """Only the hub's record decides which layers a build uses, whatever the tag for them names."""
    source, path = hooked
    [(tag, digest)] = last_build(services, path)["result"]["layers"].items()
    source.commit({"hooks/push": FORGE_LAYERS.replace("{layers}", tag), "late": "forged layers"}, "Hostile")
    hostile = build(services, path)
    source.git("rm", "-rq", "hooks")
    source.commit({"late": "clean after forged layers"}, "Clean")
    clean = build(services, path)

    assert f"{tag}" in hostile["log"]
    assert hostile["result"]["layers"] == {tag: digest}
    assert "the base is genuine" in clean["log"]
    used = provenance(services, "hooked", clean["digest"])
    layers = [each for each in used["resolvedDependencies"] if each["uri"].startswith("oci-layers:")]
    assert [each["digest"] for each in layers] in ([], [{"sha256": digest.removeprefix("sha256:")}])
    assert used["internalParameters"]["cache"] in ("none", f"layers of build {hostile['number']}")


def test_branches_and_tags_do_not_share(services: Services) -> None:
    """The same step runs again on another branch and for a tag; on the same branch, it comes from the cache."""
    dockerfile = APP.format(base=base_of(services)).replace("COPY", f"RUN {UUID} > /costly\nCOPY")
    source = services.source("branches", {"Dockerfile": dockerfile, "late": "1"})
    rules = (
        {"source": "/.*/", "tags": "{sourceref}"},
        {"source": "/.*/", "source_type": "tag", "tags": "{sourceref}"},
    )
    path = services.configure("branches", source, *rules)
    source.commit({"late": "2"}, "On a branch", branch="side")
    source.tag("v1")

    def logs(kind: str, ref: str) -> list[dict[str, Any]]:
        return [services.built(path, services.trigger(path, {"source_type": kind, "source_name": ref})[0])]

    [main], [side], [tagged] = logs("Branch", "main"), logs("Branch", "side"), logs("Tag", "v1")
    [again] = logs("Branch", "main")

    assert "Using cache" not in main["log"] + side["log"] + tagged["log"]
    assert "Using cache" in again["log"]
    caches = [
        provenance(services, "branches", each["digest"])["internalParameters"]["cache"]
        for each in (main, side, tagged, again)
    ]
    # Tags and branches move in turn, so the digests are the builds' own.
    assert caches[1:3] == ["none", "none"]
    assert again["result"]["cached"] == f"layers of build {main['number']}"
    assert tagged["result"]["layers"] == {}


def test_every_reference_to_an_image_is_resolved(services: Services) -> None:
    """A moved tag is followed, and FROM, COPY and mounts of images use the digests that the provenance names."""
    pinned = services.call("GET", f"/api/v1/repositories/{USER}/base/tags")["items"][0]["digest"]
    moving = services.source("moving", {"Dockerfile": BASE.replace("genuine", "first")})
    moving_path = services.configure("moving", moving)
    build(services, moving_path)
    host = services.hub.host
    dockerfile = f"""\
# syntax=docker/dockerfile:1
ARG NAME=moving
FROM {host}/{USER}/${{NAME}} AS one
FROM {host}/{USER}/base@{pinned}
COPY --from=one /origin /one
COPY --from={host}/{USER}/moving:latest /origin /two
RUN --mount=from={host}/{USER}/moving,target=/other cat /other/origin > /three
COPY <<EOF /late
heredoc
EOF
RUN echo "origins: $(cat /origin /one /two /three | xargs)"
"""
    source = services.source("resolved", {"Dockerfile": dockerfile})
    path = services.configure("resolved", source)
    first = build(services, path)
    moving.commit({"Dockerfile": BASE.replace("genuine", "second")}, "Moved")
    build(services, moving_path)
    second = build(services, path)
    bases = {
        each["uri"]: each["digest"]["sha256"]
        for each in provenance(services, "resolved", second["digest"])["resolvedDependencies"]
        if each["uri"].startswith("oci:")
    }
    now = services.call("GET", f"/api/v1/repositories/{USER}/moving/tags")["items"][0]["digest"]

    assert "origins: genuine first first first" in first["log"]
    assert "origins: genuine second second second" in second["log"]
    assert set(bases.values()) == {now.removeprefix("sha256:"), pinned.removeprefix("sha256:")}
    assert len(bases) == 3


def test_a_rule_without_cache_says_so(services: Services) -> None:
    """Its provenance names no cached state, and nothing is kept for it."""
    source = services.source("plain", {"Dockerfile": APP.format(base=base_of(services)), "late": "1"})
    path = services.configure("plain", source, {"source": "main", "cache": False})
    build(services, path)
    second = build(services, path)

    assert provenance(services, "plain", second["digest"])["internalParameters"]["cache"] == "none"
    assert second["result"]["layers"] == {}


def test_a_kept_disk_has_no_secrets_and_ends_with_its_repository(services: Services) -> None:
    """The worker keeps base images and layers alone, and deletes them when the hub no longer has the builds."""
    source, path = app(services, "ending")
    services.call("PUT", f"{path}/build-configuration/secrets/word", {"value": "hush hush"})
    source.commit(
        {
            "Dockerfile": APP.format(base=base_of(services))
            + "RUN --mount=type=secret,id=word wc -c /run/secrets/word\n"
        },
        "With a secret",
    )
    folder = services.hub.data / "builds" / "cache" / USER
    others = set(folder.glob("*.img"))
    build(services, path)
    [kept] = set(folder.glob("*.img")) - others

    assert subprocess.run(["grep", "--quiet", "--binary-files=text", "hush hush", kept], check=False).returncode == 1
    services.call("DELETE", path, {"confirm": "ending"})
    services.hub.restart()  # which makes the worker ask at once
    eventually(lambda: not kept.exists(), seconds=40)
    assert others <= set(folder.glob("*.img"))
