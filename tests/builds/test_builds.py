"""Builds with git and buildah."""

from __future__ import annotations

import json
import time
import urllib.request
from typing import Any

import pytest
from tests.builds.services import PASSWORD, USER, Services
from tests.parts.engines import ContainersTool, Docker

pytestmark = pytest.mark.clients

TINY = "FROM scratch\nADD rootfs.tar /\n"


def manifest(services: Services, name: str, target: str = "latest") -> dict[str, Any]:
    """Fetch a manifest with a public token."""
    token = services.call("GET", f"/token?scope=repository:alice/{name}:pull")["token"]
    kinds = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json"
    headers = {"Authorization": f"Bearer {token}", "Accept": kinds}
    request = urllib.request.Request(f"{services.hub.url}/v2/alice/{name}/manifests/{target}", headers=headers)
    with urllib.request.urlopen(request) as response:
        return dict(json.loads(response.read()))


def configuration(services: Services, name: str, target: str = "latest") -> dict[str, Any]:
    """Fetch the configuration of an image, including fields that the OCI specification does not define."""
    digest = manifest(services, name, target)["config"]["digest"]
    token = services.call("GET", f"/token?scope=repository:alice/{name}:pull")["token"]
    headers = {"Authorization": f"Bearer {token}"}
    request = urllib.request.Request(f"{services.hub.url}/v2/alice/{name}/blobs/{digest}", headers=headers)
    with urllib.request.urlopen(request) as response:
        return dict(json.loads(response.read()))


def test_users_cannot_push_until_the_configuration_is_deleted(services: Services, docker: Docker) -> None:
    """The error says that only builds push to the repository."""
    path = services.configure("closed", services.source("closed"))
    image = f"{services.hub.host}/alice/closed:latest"
    services.built(path, services.trigger(path)[0])
    docker.ok("pull", image)
    docker.ok("tag", image, f"{services.hub.host}/alice/closed:mine")
    assert docker.login(services.hub.host, USER, PASSWORD).returncode == 0

    refused = docker.run("push", f"{services.hub.host}/alice/closed:mine")
    services.call("DELETE", f"{path}/build-configuration")
    allowed = docker.run("push", f"{services.hub.host}/alice/closed:mine")

    assert refused.returncode != 0
    assert "only its builds may push to it" in refused.stderr + refused.stdout
    assert allowed.returncode == 0, allowed.stderr


def test_a_failing_step_fails_the_build(services: Services) -> None:
    """The reason has the exit status, and the log the output of the step."""
    path = services.configure("broken", services.source("broken", {"Dockerfile": f"{TINY}RUN echo oh no && exit 7\n"}))

    build = services.wait(path, services.trigger(path)[0])

    assert build["status"] == "failed"
    assert "failed with exit code 7; its last output: oh no" in build["reason"]
    assert "oh no" in build["log"]


def test_secrets_reach_only_steps(services: Services) -> None:
    """A secret is mounted for a step; the log masks it, and no layer or history contains it."""
    secret = "tell-nobody-9f2c"
    dockerfile = f"{TINY}RUN --mount=type=secret,id=token cat /run/secrets/token && echo got it\n"
    path = services.configure("secretive", services.source("secretive", {"Dockerfile": dockerfile}))
    services.call("PUT", f"{path}/build-configuration/secrets/token", {"value": secret})

    build = services.built(path, services.trigger(path)[0])

    assert "got it" in build["log"]
    assert "***" in build["log"]
    assert secret not in json.dumps(build)
    assert services.call("GET", f"{path}/build-configuration/secrets") == {"names": ["token"]}
    kept = b"".join(
        each.read_bytes() for each in services.hub.data.rglob("*") if each.is_file() and each.suffix != ".img"
    )
    assert secret.encode() not in kept


def test_secrets_with_several_lines_are_masked(services: Services) -> None:
    """Each line is masked, also where the builder's error repeats one, and the secret is deleted after the build."""
    dockerfile = (
        f"{TINY}RUN --mount=type=secret,id=key cat /run/secrets/key && "
        "echo error: $(busybox tail -n 2 /run/secrets/key) && kill -9 $$\n"
    )
    files = {"Dockerfile": dockerfile, "hooks/post_build": "#!/bin/sh\nls /work/secrets && exit 1 || true\n"}
    source = services.source("several-lines", files)
    path = services.configure("several-lines", source)
    services.call("PUT", f"{path}/build-configuration/secrets/key", {"value": "--begin--\nAAAAqxzk\nBBBBwvyj\n"})

    failed = services.wait(path, services.trigger(path)[0])
    source.commit({"Dockerfile": dockerfile.replace("kill -9 $$", "true")})
    built = services.built(path, services.trigger(path)[0])

    assert failed["status"] == "failed"
    for build in (failed, built):
        assert "***" in build["log"]
        assert "qxzk" not in json.dumps(build)
        assert "wvyj" not in json.dumps(build)


def test_private_sources_are_cloned_with_their_credentials(services: Services) -> None:
    """The password clones the source, and no log contains it."""
    source = services.source("private", None, private=("reader", "s3same-open"))
    path = services.configure("from-private", source, credentials="reader:s3same-open")

    build = services.built(path, services.trigger(path)[0])

    assert "s3same-open" not in build["log"]


def test_platforms_become_one_index(services: Services) -> None:
    """Two platforms become one index under the tag."""
    rule = {"source": "main", "platforms": ["linux/amd64", "linux/arm64"]}
    path = services.configure("wide", services.source("wide", {"Dockerfile": TINY}), rule)

    build = services.built(path, services.trigger(path)[0])

    index = manifest(services, "wide")
    named = [each["platform"]["architecture"] for each in index["manifests"]]
    inside = [configuration(services, "wide", each["digest"])["architecture"] for each in index["manifests"]]
    assert named == inside == ["amd64", "arm64"]
    assert set(build["result"]["images"]) == {"linux/amd64", "linux/arm64"}


def test_cross_building(services: Services) -> None:
    """A stage for the build platform and one for the target each use the matching image of the same base."""
    platforms = ["linux/amd64", "linux/arm64"]
    base = services.configure("both-base", services.source("both-base"), {"source": "main", "platforms": platforms})
    services.built(base, services.trigger(base)[0])
    image = f"{services.hub.host}/alice/both-base"
    dockerfile = f"""\
FROM --platform=$BUILDPLATFORM {image} AS build
ARG TARGETARCH
RUN echo made for $TARGETARCH > /made
FROM {image}
COPY --from=build /made /
COPY --from={image} \\
  /etc/passwd /copied
RUN cat /made
"""
    source = services.source("crossed", {"Dockerfile": dockerfile})
    path = services.configure("crossed", source, {"source": "main", "platforms": platforms})

    builds = [services.built(path, services.trigger(path)[0]) for _ in range(2)]

    assert "made for amd64" in builds[0]["log"]
    assert "made for arm64" in builds[0]["log"]
    assert builds[0]["digest"] == builds[1]["digest"]


def test_a_base_image_without_the_platform_is_refused(services: Services) -> None:
    """The reason names the platforms of the base image."""
    base = services.configure("narrow-base", services.source("narrow-base"))
    services.built(base, services.trigger(base)[0])
    source = services.source("narrow", {"Dockerfile": f"FROM {services.hub.host}/alice/narrow-base\n"})
    path = services.configure("narrow", source, {"source": "main", "platforms": ["linux/s390x"]})

    build = services.wait(path, services.trigger(path)[0])

    assert "is only for linux/amd64, not for linux/s390x" in build["reason"]


def test_hooks_have_docker_hubs_variables(services: Services) -> None:
    """Hooks run next to the Dockerfile; `docker build` in hooks/build builds the image."""
    files = {
        "hooks/post_checkout": "#!/bin/sh\necho commit $SOURCE_COMMIT of $SOURCE_BRANCH > from-hook\n",
        "hooks/build": '#!/bin/sh\ndocker build -t $IMAGE_NAME --build-arg GREETING="$DOCKER_TAG" .\n',
        "hooks/push": "#!/bin/sh\ndocker tag $IMAGE_NAME $DOCKER_REPO:extra\ndocker push $DOCKER_REPO:extra\n",
        "Dockerfile": f"{TINY}ARG GREETING\nCOPY from-hook /\nRUN cat /from-hook && echo tag $GREETING\n",
    }
    source = services.source("hooked", files)
    path = services.configure("hooked", source)

    build = services.built(path, services.trigger(path)[0])

    assert f"commit {source.head('main')} of main" in build["log"]
    assert "tag latest" in build["log"]
    assert build["result"]["tags"] == ["latest", "extra"]


TEST_FILE = """
sut:
  build: .
  command: cat /verdict
web:
  build: .
  command: sleep 60
"""


@pytest.mark.parametrize(("verdict", "status"), [("RUN echo fine > /verdict", "succeeded"), ("", "failed")])
def test_autotest_runs_before_the_push(services: Services, verdict: str, status: str) -> None:
    """Nothing is pushed unless the service sut exits with 0."""
    name = f"tested-{status}"
    files = {"Dockerfile": f"{TINY}{verdict}\n", "docker-compose.test.yml": TEST_FILE}
    path = services.configure(name, services.source(name, files), options={"autotest": True})

    build = services.wait(path, services.trigger(path)[0])

    assert build["status"] == status, build["log"]
    assert bool(build["digest"]) == (status == "succeeded")
    assert ("service sut exited" in build["reason"]) == (status == "failed")


SERVICES = """
services:
  sut:
    build: ./checks
    volumes: ["./checks:/checks:ro", "named:/cache"]
    environment: [COLOUR=blue, SOURCE_BRANCH]
    command: $$COLOUR ${DOCKER_TAG}
  web:
    image: $IMAGE_NAME
"""


def test_autotest_runs_services_as_compose_does(services: Services) -> None:
    """Entry points, commands, variables, folders of the source and other images work; ignored fields are logged."""
    base = services.configure("checker", services.source("checker"), visibility="private")
    services.built(base, services.trigger(base)[0])
    check = (
        f"FROM {services.hub.host}/alice/checker\n"
        'ENTRYPOINT ["sh", "-c", "echo \\"$0  $1\\" $COLOUR $SOURCE_BRANCH; sleep 1; cat /checks/mounted"]\n'
    )
    files = {
        "Dockerfile": f"{TINY}CMD echo served one two && true\n",
        "checks/Dockerfile": check,
        "checks/mounted": "mounted\n",
        "app.test.yml": SERVICES,
    }
    path = services.configure("composed", services.source("composed", files), options={"autotest": True})

    log = services.built(path, services.trigger(path)[0])["log"]

    assert "\n$COLOUR  latest blue main\n" in log
    assert "\nserved one two\n" in log
    assert "\nmounted\n" in log
    assert "the volume named:/cache of the service sut is not supported" in log


def test_here_documents(services: Services) -> None:
    """RUN and COPY accept here-documents, although this buildah does not support them."""
    dockerfile = (
        f"{TINY}RUN <<EOF\necho one > /a\necho two >> /a\nEOF\nCOPY <<b.txt /\nthree\nb.txt\nRUN cat /a /b.txt\n"
    )
    path = services.configure("heredocs", services.source("heredocs", {"Dockerfile": dockerfile}))

    build = services.built(path, services.trigger(path)[0])

    assert "one\ntwo\nthree" in build["log"]


def test_here_documents_and_ignored_files(services: Services) -> None:
    """.dockerignore does not affect here-documents, and ``COPY .`` does not copy their files."""
    dockerfile = (
        f"{TINY}ARG NAME=world\nCOPY --chmod=640 <<EOF /greeting\nhello $NAME\nEOF\nCOPY . /all\n"
        "RUN cat /greeting && ls -a /all && ls -l /greeting\n"
    )
    files = {"Dockerfile": dockerfile, ".dockerignore": "*\n!rootfs.tar\n", "left-out": ""}
    path = services.configure("ignoring", services.source("ignoring", files))

    log = services.built(path, services.trigger(path)[0])["log"]

    assert "hello world\n.\n..\nrootfs.tar\n-rw-r-----" in log


def test_a_dockerfile_can_have_its_own_dockerignore(services: Services) -> None:
    """NAME.dockerignore next to the Dockerfile takes precedence over the context's."""
    files = {
        "docker/Dockerfile": f"{TINY}COPY . /all\nRUN ls /all\n",
        "docker/Dockerfile.dockerignore": "left-out\n",
        "left-out": "",
        "taken": "",
    }
    path = services.configure(
        "own-ignore", services.source("own-ignore", files), {"source": "main", "dockerfile": "docker/Dockerfile"}
    )

    log = services.built(path, services.trigger(path)[0])["log"]

    assert "\ntaken\n" in log
    assert "left-out" not in log


def test_docker_specific_fields_are_kept(services: Services) -> None:
    """HEALTHCHECK, ONBUILD and SHELL are in the image, although the OCI specification does not define them."""
    dockerfile = f'{TINY}HEALTHCHECK --interval=5s CMD true\nONBUILD RUN echo from the base\nSHELL ["/bin/sh", "-ec"]\n'
    path = services.configure("healthy", services.source("healthy", {"Dockerfile": dockerfile}))
    services.built(path, services.trigger(path)[0])
    child = services.source("healthy-child", {"Dockerfile": f"FROM {services.hub.host}/alice/healthy\n"})
    child_path = services.configure("healthy-child", child)

    built = services.built(child_path, services.trigger(child_path)[0])

    settings = [configuration(services, name)["config"] for name in ("healthy", "healthy-child")]
    assert [each["Healthcheck"]["Test"] for each in settings] == [["CMD-SHELL", "true"]] * 2
    assert [each["Shell"] for each in settings] == [["/bin/sh", "-ec"]] * 2
    assert settings[0]["OnBuild"] == ["RUN echo from the base"]
    assert "\nfrom the base\n" in built["log"]
    assert "not supported" not in built["log"]


def test_a_base_pinned_by_digest(services: Services) -> None:
    """``FROM NAME@DIGEST`` uses exactly that image, and the log has no unrelated warnings."""
    base = services.configure("pinned-base", services.source("pinned-base"))
    digest = services.built(base, services.trigger(base)[0])["digest"]
    image = f"{services.hub.host}/alice/pinned-base@{digest}"
    path = services.configure("pinned", services.source("pinned", {"Dockerfile": f"FROM {image}\nRUN cat /greeting\n"}))

    build = services.built(path, services.trigger(path)[0])

    assert build["result"]["bases"] == {image: digest}
    assert "hello from a step" in build["log"]
    assert "Permission denied" not in build["log"]


def test_a_private_base_image_that_changes(services: Services) -> None:
    """The owner's private image can be a base image; when it changes, images built from it are rebuilt."""
    base = services.configure("base", services.source("base"), visibility="private")
    services.built(base, services.trigger(base)[0])
    dockerfile = f"FROM {services.hub.host}/alice/base\nRUN cat /greeting\n"
    child = services.configure(
        "child", services.source("child", {"Dockerfile": dockerfile}), options={"base_link": True}
    )
    first = services.built(child, services.trigger(child)[0])

    services.git_repository("base").commit({"new": "file", "Dockerfile": f"{TINY}RUN echo moved > /greeting\n"})
    services.built(base, services.trigger(base)[0])
    second = services.built(child, first["number"] + 1)

    assert "hello from a step" in first["log"]
    assert second["cause"] == "base"
    assert "moved" in second["log"]


def test_the_same_commit_produces_the_same_digest(services: Services) -> None:
    """A second build of a commit without cache is identical byte for byte."""
    path = services.configure("equal", services.source("equal"), {"source": "main", "cache": False})
    first = services.built(path, services.trigger(path)[0])
    time.sleep(1.1)

    again = services.call("POST", f"{path}/builds/{first['number']}/retry")
    second = services.built(path, again["number"])

    assert first["digest"] == second["digest"]


def test_cancelling_stops_a_running_step(services: Services) -> None:
    """A build in the middle of a RUN stops when a user cancels it."""
    path = services.configure(
        "endless", services.source("endless", {"Dockerfile": f"{TINY}RUN echo begun && sleep 600\n"})
    )
    [number] = services.trigger(path)
    services.wait_until_log(path, number, "begun")

    services.call("POST", f"{path}/builds/{number}/cancel")
    build = services.wait(path, number, seconds=10)

    assert build["status"] == "cancelled"
    assert build["reason"] == "cancelled by alice"


def test_the_live_log_can_be_resumed(services: Services) -> None:
    """Server-sent events return the log once from any byte on, and then the end."""
    path = services.configure("live", services.source("live"))
    [number] = services.trigger(path)
    build = services.built(path, number)

    def events(start: int) -> str:
        request = urllib.request.Request(f"{services.hub.url}{path}/builds/{number}/events")
        request.add_header("Last-Event-ID", str(start))
        with urllib.request.urlopen(request, timeout=20) as response:
            return str(response.read().decode())

    whole, rest = events(0), events(10)
    text = "".join(json.loads(line[6:]) for line in rest.splitlines() if line.startswith('data: "'))

    assert whole.endswith("event: end\ndata: succeeded\n\n")
    assert text == build["log"][10:]


def test_the_badge_shows_the_last_result(services: Services) -> None:
    """Unknown before the first build, passing after a success."""
    path = services.configure("badged", services.source("badged"))
    before = services.call("GET", "/badge/alice/badged.svg", user="")
    services.built(path, services.trigger(path)[0])

    assert "unknown" in before
    assert "passing" in services.call("GET", "/badge/alice/badged.svg", user="")


def test_buildah_pulls_the_image_of_a_build(services: Services, buildah: ContainersTool) -> None:
    """Labels name the source and the commit."""
    source = services.source("labelled")
    path = services.configure("labelled", source)
    services.built(path, services.trigger(path)[0])

    image = f"{services.hub.host}/alice/labelled"
    buildah.ok("pull", "--tls-verify=false", image)
    found = json.loads(buildah.ok("inspect", "--type", "image", image))

    labels = found["OCIv1"]["config"]["Labels"]
    assert labels["org.opencontainers.image.revision"] == source.head("main")
    assert labels["org.opencontainers.image.source"] == source.url.removesuffix(".git")
