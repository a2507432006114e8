"""BuildKit as the builder. `buildctl` is a stand-in that refuses unknown arguments."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.builds.services import TIMEOUT, Services
from tests.parts.buildkit import BuildKit, running_buildkit
from tests.parts.docker_registry import Certificate
from tests.parts.engines import Docker
from tests.parts.hub import HYTHE
from tests.parts.process import processes_naming

pytestmark = pytest.mark.clients

TINY = "FROM scratch\nADD rootfs.tar /\n"


@pytest.fixture(scope="module")
def services(start_services: Callable[..., Services], buildkit: BuildKit) -> Services:
    """A hub that builds with BuildKit, by default with the network `open`."""
    builder = {"PATH": buildkit.path, "HYTHE_BUILDS_BUILDER": f"buildkit={buildkit.address}"}
    return start_services(env=builder | {"HYTHE_BUILDS_NETWORK": "open"})


def test_buildkit_builds(services: Services, docker: Docker) -> None:
    """The image is pushed, labelled and signed like any other; the build names its isolation."""
    source = services.source("by-buildkit")
    rule = {"source": "main", "tags": "latest", "arguments": {"GREETING": "good morning"}}
    path = services.configure("by-buildkit", source, rule)

    build = services.built(path, services.trigger(path)[0])

    assert build["result"]["builder"] == "BuildKit v0.13.2"
    assert "BuildKit daemon at unix://" in build["result"]["isolation"]
    assert "#1 [internal] load build definition" in build["log"]
    image = f"{services.hub.host}/alice/by-buildkit"
    docker.ok("pull", image)
    assert docker.ok("run", "--rm", "--network", "none", image) == "good morning from a step"
    label = '{{index .Config.Labels "org.opencontainers.image.revision"}}'
    assert docker.ok("inspect", "--format", label, image) == source.head("main")
    verified = subprocess.run([HYTHE, "verify", image], capture_output=True, text=True, check=False)
    assert verified.returncode == 0, verified.stderr


def test_the_same_commit_produces_the_same_digest(services: Services) -> None:
    """Also without the daemon's cache: timestamps are those of the commit."""
    path = services.configure("again", services.source("again"), {"source": "main", "tags": "latest", "cache": False})

    first, second = (services.built(path, services.trigger(path)[0])["digest"] for _ in range(2))

    assert first == second


def test_a_target_for_a_platform_with_its_ignored_files(services: Services, docker: Docker, buildkit: BuildKit) -> None:
    """The rule selects the stage, and the Dockerfile's own .dockerignore applies."""
    files = {
        "deep/app.Dockerfile": f"{TINY}COPY . /src\nRUN ls /src > /listed\nFROM scratch AS rest\nCOPY no-such-file /\n",
        "deep/app.Dockerfile.dockerignore": "secret-notes\n",
        "deep/rootfs.tar": services.source("tar-of-target").work.joinpath("rootfs.tar").read_bytes(),
        "deep/secret-notes": "x",
        "deep/kept": "x",
    }
    files["deep/app.Dockerfile"] = files["deep/app.Dockerfile"].replace("FROM scratch\nADD", "FROM scratch AS app\nADD")
    rule = {
        "source": "main",
        "tags": "latest",
        "context": "/deep",
        "dockerfile": "app.Dockerfile",
        "target": "app",
        "platforms": ["linux/amd64"],
        "cache": False,
    }
    path = services.configure("staged", services.source("staged", files), rule, options={"network": "off"})

    services.built(path, services.trigger(path)[0])

    image = f"{services.hub.host}/alice/staged"
    docker.ok("pull", image)
    listed = docker.ok("run", "--rm", "--network", "none", image, "cat", "/listed").split()
    assert "kept" in listed
    assert "secret-notes" not in listed
    argv = buildkit.asked()[-1]["argv"]
    assert "--no-cache" in argv
    assert {"target=app", "platform=linux/amd64", "force-network-mode=none"} <= set(argv)


def test_secrets_reach_only_steps(services: Services, buildkit: BuildKit) -> None:
    """A secret is mounted for a step, and neither log nor command line contains it."""
    secret = "tell-nobody-4711"
    dockerfile = f"{TINY}RUN --mount=type=secret,id=token cat /run/secrets/token && echo got it\n"
    path = services.configure("secretive", services.source("secretive", {"Dockerfile": dockerfile}))
    services.call("PUT", f"{path}/build-configuration/secrets/token", {"value": secret})

    build = services.built(path, services.trigger(path)[0])

    assert "got it" in build["log"]
    assert secret not in build["log"]
    assert secret not in str(buildkit.asked())


def test_private_base_images_are_passed_by_digest(services: Services, docker: Docker, buildkit: BuildKit) -> None:
    """The daemon gets no credentials, neither the host's nor the hub's."""
    base = services.configure("base", services.source("base"), visibility="private")
    digest = services.built(base, services.trigger(base)[0])["digest"]
    name = f"{services.hub.host}/alice/base"
    dockerfile = f"FROM {name} AS first\nRUN echo more > /more\nFROM {name}:latest\nCOPY --from=first /more /more\n"
    dockerfile += f"COPY --from={name} /who /again\n"
    path = services.configure("on-base", services.source("on-base", {"Dockerfile": dockerfile}))

    build = services.built(path, services.trigger(path)[0])

    assert build["result"]["bases"] == {name: digest, f"{name}:latest": digest}
    asked = buildkit.asked()[-1]
    assert any(word.endswith(f"@{digest}") for word in asked["argv"] if word.startswith("context:"))
    assert asked["config"] not in (None, os.environ.get("DOCKER_CONFIG"))
    assert not Path(asked["config"]).exists()


def test_a_missing_base_image_fails_the_build(services: Services) -> None:
    """The reason names it, and BuildKit is not started."""
    dockerfile = f"FROM {services.hub.host}/alice/no-such-base\n"
    path = services.configure("baseless", services.source("baseless", {"Dockerfile": dockerfile}))

    build = services.wait(path, services.trigger(path)[0])

    assert build["status"] == "failed"
    assert f"the base image {services.hub.host}/alice/no-such-base does not exist" in build["reason"]


def test_a_failing_step_is_the_reason(services: Services) -> None:
    """The reason names the line, the instruction and the exit code."""
    path = services.configure("failing", services.source("failing", {"Dockerfile": f"{TINY}RUN echo oh && exit 3\n"}))

    build = services.wait(path, services.trigger(path)[0])

    assert build["status"] == "failed"
    assert build["reason"].startswith("Dockerfile line 3 (RUN echo oh && exit 3) failed with exit code 3")


def test_cancelling_ends_buildctl_and_its_processes(services: Services) -> None:
    """Immediately, in the middle of a step, with its process group."""
    token = "9876.54321"
    path = services.configure(
        "endless", services.source("endless", {"Dockerfile": f"{TINY}RUN echo begun && sleep {token}\n"})
    )
    number = services.trigger(path)[0]
    services.wait_until_log(path, number, "begun\n")

    services.call("POST", f"{path}/builds/{number}/cancel")
    build = services.wait(path, number)

    assert build["status"] == "cancelled"
    end = time.monotonic() + TIMEOUT
    while processes_naming(f"sleep\0{token}") and time.monotonic() < end:
        time.sleep(0.1)
    assert processes_naming(f"sleep\0{token}") == []


def test_killing_the_worker_ends_buildctl(start_services: Callable[..., Services]) -> None:
    """The daemon ends a build whose buildctl has exited."""
    with running_buildkit() as buildkit:
        services = start_services(env={"PATH": buildkit.path, "HYTHE_BUILDS_BUILDER": f"buildkit={buildkit.address}"})
        path = services.configure(
            "orphan", services.source("orphan", {"Dockerfile": f"{TINY}RUN echo begun && sleep 1234.5\n"})
        )
        services.wait_until_log(path, services.trigger(path)[0], "begun\n")
        buildctl = f"{buildkit.folder}/buildctl"
        assert processes_naming(buildctl)

        services.hub.kill()

        end = time.monotonic() + TIMEOUT
        while processes_naming(buildctl) and time.monotonic() < end:
            time.sleep(0.1)
        assert processes_naming(buildctl) == []


@pytest.mark.parametrize(
    ("extra", "reason"),
    [
        ({"hooks/build": "#!/bin/sh\ntrue\n"}, "BuildKit stores no images by name"),
        ({"docker-compose.test.yml": "sut:\n  build: .\n  command: 'true'\n"}, "BuildKit does not support autotests"),
    ],
    ids=["hooks/build", "autotest"],
)
def test_features_that_need_buildah(
    services: Services, extra: dict[str, str], reason: str, request: pytest.FixtureRequest
) -> None:
    """The reason says what BuildKit does not support, and what to do."""
    name = f"needs-{request.node.callspec.id.replace('/', '-').lower()}"
    options = {"autotest": True}
    path = services.configure(name, services.source(name, extra), options=options)

    build = services.wait(path, services.trigger(path)[0])

    assert build["status"] == "failed"
    assert reason in build["reason"]


def test_the_network_registry_is_refused(services: Services) -> None:
    """BuildKit cannot limit access to the registry only."""
    path = services.configure("networked", services.source("networked"), options={"network": "registry"})

    build = services.wait(path, services.trigger(path)[0])

    assert build["status"] == "failed"
    assert "set the network to off or open" in build["reason"]


def test_an_unreachable_daemon_fails_builds(
    start_services: Callable[..., Services], buildkit: BuildKit, tmp_path: Path
) -> None:
    """The worker reports it at startup, and each build fails with the error of buildctl."""
    address = f"unix://{tmp_path}/nobody.sock"
    services = start_services(env={"PATH": buildkit.path, "HYTHE_BUILDS_BUILDER": f"buildkit={address}"})
    path = services.configure("unreached", services.source("unreached"))

    build = services.wait(path, services.trigger(path)[0])

    assert build["status"] == "failed"
    assert f"the BuildKit daemon at {address} does not respond" in build["reason"]
    assert "No such file or directory" in build["reason"]
    assert "builder: UNAVAILABLE" in services.hub.log


def check(tmp_path: Path, path: str, *words: str) -> subprocess.CompletedProcess[str]:
    """`hythe worker --check` with this PATH."""
    env = {key: value for key, value in os.environ.items() if not key.startswith("HYTHE_")} | {"PATH": path}
    command = [HYTHE, "worker", "--check", "--url", "http://127.0.0.1:9", "--builds-folder", str(tmp_path), *words]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False)


def test_a_missing_buildctl_fails_the_check(tmp_path: Path) -> None:
    """`hythe worker --check` says where to get it."""
    done = check(tmp_path, os.environ["PATH"], "--builds-builder", "buildkit=tcp://127.0.0.1:1")

    assert done.returncode == 1
    assert "buildctl is not installed on the worker" in done.stderr
    assert "github.com/moby/buildkit/releases" in done.stderr


def test_an_address_needs_a_scheme(tmp_path: Path) -> None:
    """An address without one is refused first."""
    done = check(tmp_path, os.environ["PATH"], "--builds-builder", "buildkit=/run/buildkit/buildkitd.sock")

    assert done.returncode != 0
    assert "builds_builder" in done.stderr


def test_a_daemon_with_tls(certificate: Certificate, tmp_path: Path) -> None:
    """Both sides present certificates; a wrong name or missing certificates fail the check."""
    with running_buildkit(certificate) as secured:
        builder = ("--builds-builder", f"buildkit={secured.address}")
        known = ("--builds-buildkit-certificates", str(certificate.ca.parent))

        by_address = check(tmp_path, secured.path, *builder, *known)
        by_name = check(tmp_path, secured.path, *builder, *known, "--builds-buildkit-name", "localhost")
        wrong = check(tmp_path, secured.path, *builder, *known, "--builds-buildkit-name", "elsewhere.example")
        empty = check(tmp_path, secured.path, *builder, "--builds-buildkit-certificates", str(tmp_path))

    assert by_address.returncode == 0, by_address.stderr
    assert f"that of the BuildKit daemon at {secured.address}" in by_address.stderr
    assert "builder: BuildKit v0.13.2" in by_address.stderr
    assert by_name.returncode == 0, by_name.stderr
    assert (wrong.returncode, empty.returncode) == (1, 2)
    assert "elsewhere.example" in wrong.stderr
    assert "use a folder that has ca.pem" in empty.stderr
