"""What a build does with its source, by real git and buildah."""

from __future__ import annotations

import json
import time
import urllib.request
from typing import Any

import pytest
from tests.builds.house import PASSWORD, USER, House
from tests.parts.engines import ContainersTool, Docker

pytestmark = pytest.mark.clients

TINY = "FROM scratch\nADD rootfs.tar /\n"


def manifest(house: House, name: str, target: str = "latest") -> dict[str, Any]:
    """A manifest as anybody gets it."""
    token = house.call("GET", f"/token?scope=repository:alice/{name}:pull")["token"]
    kinds = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json"
    headers = {"Authorization": f"Bearer {token}", "Accept": kinds}
    request = urllib.request.Request(f"{house.hub.url}/v2/alice/{name}/manifests/{target}", headers=headers)
    with urllib.request.urlopen(request) as response:
        return dict(json.loads(response.read()))


def test_pushing_by_hand_is_refused_until_the_set_up_is_deleted(house: House, docker: Docker) -> None:
    """A repository with Trusted Builds takes pushes from its builds alone, and says why."""
    path = house.set_up("closed", house.source("closed"))
    image = f"{house.hub.host}/alice/closed:latest"
    house.built(path, house.trigger(path)[0])
    docker.ok("pull", image)
    docker.ok("tag", image, f"{house.hub.host}/alice/closed:mine")
    assert docker.login(house.hub.host, USER, PASSWORD).returncode == 0

    refused = docker.run("push", f"{house.hub.host}/alice/closed:mine")
    house.call("DELETE", f"{path}/build-setup")
    allowed = docker.run("push", f"{house.hub.host}/alice/closed:mine")

    assert refused.returncode != 0
    assert "only its builds push to it" in refused.stderr + refused.stdout
    assert allowed.returncode == 0, allowed.stderr


def test_a_step_that_fails_is_named(house: House) -> None:
    """The build fails with the step's own words, and no tag comes to be."""
    path = house.set_up("broken", house.source("broken", {"Dockerfile": f"{TINY}RUN echo oh no && exit 7\n"}))

    build = house.wait(path, house.trigger(path)[0])

    assert build["status"] == "failed"
    assert "exit status 7" in build["reason"]
    assert "oh no" in build["log"]


def test_secrets_reach_steps_and_nothing_else(house: House) -> None:
    """A secret is mounted for a step; the log hides it and no layer or history holds it."""
    secret = "tell-nobody-9f2c"
    dockerfile = f"{TINY}RUN --mount=type=secret,id=token cat /run/secrets/token && echo got it\n"
    path = house.set_up("secretive", house.source("secretive", {"Dockerfile": dockerfile}))
    house.call("PUT", f"{path}/build-setup/secrets/token", {"value": secret})

    build = house.built(path, house.trigger(path)[0])

    assert "got it" in build["log"]
    assert "***" in build["log"]
    assert secret not in json.dumps(build)
    assert house.call("GET", f"{path}/build-setup/secrets") == {"names": ["token"]}
    kept = b"".join(each.read_bytes() for each in house.hub.data.rglob("*") if each.is_file() and each.suffix != ".img")
    assert secret.encode() not in kept


def test_private_sources_are_cloned_with_their_credentials(house: House) -> None:
    """The address's password opens the source, and is in no log."""
    source = house.source("private", None, private=("reader", "s3same-open"))
    path = house.set_up("from-private", source, credentials="reader:s3same-open")

    build = house.built(path, house.trigger(path)[0])

    assert "s3same-open" not in build["log"]


def test_every_platform_is_there_before_the_tag_moves(house: House) -> None:
    """Two platforms become one index under the tag."""
    rule = {"source": "main", "platforms": ["linux/amd64", "linux/arm64"]}
    path = house.set_up("wide", house.source("wide", {"Dockerfile": TINY}), rule)

    build = house.built(path, house.trigger(path)[0])

    index = manifest(house, "wide")
    assert [each["platform"]["architecture"] for each in index["manifests"]] == ["amd64", "arm64"]
    assert set(build["result"]["images"]) == {"linux/amd64", "linux/arm64"}


def test_hooks_run_with_dockers_variables(house: House) -> None:
    """Hooks run beside the Dockerfile; `docker build` in hooks/build makes the image."""
    files = {
        "hooks/post_checkout": "#!/bin/sh\necho commit $SOURCE_COMMIT of $SOURCE_BRANCH > from-hook\n",
        "hooks/build": '#!/bin/sh\ndocker build -t $IMAGE_NAME --build-arg GREETING="$DOCKER_TAG" .\n',
        "hooks/push": "#!/bin/sh\ndocker tag $IMAGE_NAME $DOCKER_REPO:extra\ndocker push $DOCKER_REPO:extra\n",
        "Dockerfile": f"{TINY}ARG GREETING\nCOPY from-hook /\nRUN cat /from-hook && echo tag $GREETING\n",
    }
    source = house.source("hooked", files)
    path = house.set_up("hooked", source)

    build = house.built(path, house.trigger(path)[0])

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
def test_autotest_is_a_gate_before_the_push(house: House, verdict: str, status: str) -> None:
    """The service sut must end with 0, or nothing is pushed."""
    name = f"tested-{status}"
    files = {"Dockerfile": f"{TINY}{verdict}\n", "docker-compose.test.yml": TEST_FILE}
    path = house.set_up(name, house.source(name, files), options={"autotest": True})

    build = house.wait(path, house.trigger(path)[0])

    assert build["status"] == status, build["log"]
    assert bool(build["digest"]) == (status == "succeeded")
    assert ("service sut ended" in build["reason"]) == (status == "failed")


def test_here_documents(house: House) -> None:
    """RUN and COPY take here-documents, although this buildah knows none."""
    dockerfile = (
        f"{TINY}RUN <<EOF\necho one > /a\necho two >> /a\nEOF\nCOPY <<b.txt /\nthree\nb.txt\nRUN cat /a /b.txt\n"
    )
    path = house.set_up("heredocs", house.source("heredocs", {"Dockerfile": dockerfile}))

    build = house.built(path, house.trigger(path)[0])

    assert "one\ntwo\nthree" in build["log"]


def test_a_base_that_is_private_on_the_same_hub_and_moves(house: House) -> None:
    """The owner's private image can be a base; when it moves, what is built from it is built anew."""
    base = house.set_up("base", house.source("base"), visibility="private")
    house.built(base, house.trigger(base)[0])
    dockerfile = f"FROM {house.hub.host}/alice/base\nRUN cat /greeting\n"
    child = house.set_up("child", house.source("child", {"Dockerfile": dockerfile}), options={"base_link": True})
    first = house.built(child, house.trigger(child)[0])

    house.git_repository("base").commit({"new": "file", "Dockerfile": f"{TINY}RUN echo moved > /greeting\n"})
    house.built(base, house.trigger(base)[0])
    second = house.built(child, first["number"] + 1)

    assert "hello from a step" in first["log"]
    assert second["cause"] == "base"
    assert "moved" in second["log"]


def test_the_same_commit_gives_the_same_digest(house: House) -> None:
    """A second build of a commit, without any cache, comes out equal byte for byte."""
    path = house.set_up("equal", house.source("equal"), {"source": "main", "cache": False})
    first = house.built(path, house.trigger(path)[0])
    time.sleep(1.1)

    again = house.call("POST", f"{path}/builds/{first['number']}/retry")
    second = house.built(path, again["number"])

    assert first["digest"] == second["digest"]


def test_cancelling_ends_a_step_at_once(house: House) -> None:
    """A build in the middle of a RUN ends when somebody says so."""
    path = house.set_up("endless", house.source("endless", {"Dockerfile": f"{TINY}RUN echo begun && sleep 600\n"}))
    [number] = house.trigger(path)
    house.wait_until_log(path, number, "begun")

    house.call("POST", f"{path}/builds/{number}/cancel")
    build = house.wait(path, number, seconds=10)

    assert build["status"] == "cancelled"
    assert build["reason"] == "cancelled by alice"


def test_the_live_log_goes_on_where_it_was_left(house: House) -> None:
    """Server-sent events give the whole log once, whatever byte one resumes from, and then the end."""
    path = house.set_up("live", house.source("live"))
    [number] = house.trigger(path)
    build = house.built(path, number)

    def events(start: int) -> str:
        request = urllib.request.Request(f"{house.hub.url}{path}/builds/{number}/events")
        request.add_header("Last-Event-ID", str(start))
        with urllib.request.urlopen(request, timeout=20) as response:
            return str(response.read().decode())

    whole, rest = events(0), events(10)
    text = "".join(json.loads(line[6:]) for line in rest.splitlines() if line.startswith('data: "'))

    assert whole.endswith("event: end\ndata: succeeded\n\n")
    assert text == build["log"][10:]


def test_the_badge_says_how_it_stands(house: House) -> None:
    """Unknown before, passing after a success; a private repository's is unknown to others."""
    path = house.set_up("badged", house.source("badged"))
    before = house.call("GET", "/badge/alice/badged.svg", user="")
    house.built(path, house.trigger(path)[0])

    assert "unknown" in before
    assert "passing" in house.call("GET", "/badge/alice/badged.svg", user="")


def test_buildah_pulls_what_a_build_pushed(house: House, buildah: ContainersTool) -> None:
    """Labels name source and commit, and the time is the commit's."""
    source = house.source("labelled")
    path = house.set_up("labelled", source)
    house.built(path, house.trigger(path)[0])

    image = f"{house.hub.host}/alice/labelled"
    buildah.ok("pull", "--tls-verify=false", image)
    found = json.loads(buildah.ok("inspect", "--type", "image", image))

    labels = found["OCIv1"]["config"]["Labels"]
    assert labels["org.opencontainers.image.revision"] == source.head("main")
    assert labels["org.opencontainers.image.source"] == source.url.removesuffix(".git")
