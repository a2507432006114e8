"""Autotest: the service ``sut`` of every ``*.test.yml`` beside the Dockerfile must end with 0, or nothing is pushed.

The services of one file run together in the sandbox, each a container of buildah; they find each other by name, on the
sandbox's own network. Of Compose files this reads ``build``, ``image``, ``command``, ``environment``, ``working_dir``.
"""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import yaml

from hythe.builds.builders.buildah import STORAGE
from hythe.builds.isolation.sandbox import Reach, Sandbox
from hythe.builds.job import Job
from hythe.builds.worker.checkout import SOURCE
from hythe.builds.worker.failure import BuildFailed
from hythe.builds.worker.record import Record
from hythe.builds.worker.source_tree import inside, read_inside

SUT = "sut"
LARGEST_FILE = 256 * 1024
_BUILDAH = " ".join(("buildah", *STORAGE))
_SETTINGS = {"_CONTAINERS_USERNS_CONFIGURED": "done", "BUILDAH_ISOLATION": "chroot"}


class Service(msgspec.Struct, frozen=True):
    """One service of a test file; ``context`` empty: nothing to build."""

    name: str
    image: str = ""
    context: str = ""
    dockerfile: str = ""
    command: tuple[str, ...] = ()
    environment: tuple[str, ...] = ()
    folder: str = ""


class Autotest:
    """The test files of one source."""

    def __init__(self, job: Job, sandbox: Sandbox, record: Record, reach: Reach) -> None:
        self._sandbox = sandbox
        self._record = record
        self._reach = reach
        self._image = f"{job.registry}/{job.repository}:{job.tags[0] if job.tags else 'latest'}"
        dockerfile = job.rule.dockerfile.rpartition("/")[0]
        self._folder = "/".join(part for part in (job.rule.context.strip("/"), dockerfile) if part)

    def run(self) -> None:
        """Run every test file. Raises BuildFailed when one says no."""
        folder = inside(self._sandbox.work / "src", self._folder)
        for path in sorted(folder.glob("*.test.yml")) + sorted(folder.glob("*.test.yaml")):
            with self._record.step(f"test {path.name}"):
                self._run_file(path)

    def _run_file(self, path: Path) -> None:
        relative = f"src/{self._folder}/{path.name}".replace("//", "/")
        services = parse(read_inside(self._sandbox.work, relative, LARGEST_FILE).decode(errors="replace"))
        hosts = tuple(("127.0.0.1", service.name) for service in services)
        reach = msgspec.structs.replace(self._reach, hosts=(*self._reach.hosts, *hosts))
        script = "\n".join(["set -e", *(_prepared(service, self._image, self._folder) for service in services)])
        others = [_started(service) for service in services if service.name != SUT]
        sut = next(service for service in services if service.name == SUT)
        script += "\n" + "\n".join([*(f"{line} &" for line in others), "set +e", _started(sut), "exit $?"])
        done = self._sandbox.run(["sh", "-c", script], self._record.line, reach=reach, environment=_SETTINGS)
        if done.code:
            raise BuildFailed(f"{path.name}: the service sut ended with {done.code}, so nothing was pushed")


def parse(text: str) -> list[Service]:
    """Return the services of a Compose file. Raises BuildFailed."""
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise BuildFailed(f"the test file is not YAML: {error}") from error
    if not isinstance(content, dict):
        raise BuildFailed("the test file holds no services")
    found = content.get("services", content)
    services = [_service(str(name), each) for name, each in found.items() if isinstance(each, dict)]
    if not any(service.name == SUT for service in services):
        raise BuildFailed("the test file has no service called sut")
    return services


def _service(name: str, fields: Mapping[str, Any]) -> Service:
    build = fields.get("build", "")
    where = build if isinstance(build, dict) else {"context": build}
    environment = fields.get("environment") or {}
    pairs = environment if isinstance(environment, list) else [f"{key}={value}" for key, value in environment.items()]
    command = fields.get("command") or ()
    return Service(
        name=name,
        image=str(fields.get("image", "")),
        context=str(where.get("context", "") or ""),
        dockerfile=str(where.get("dockerfile", "")),
        command=tuple(shlex.split(command)) if isinstance(command, str) else tuple(map(str, command)),
        environment=tuple(map(str, pairs)),
        folder=str(fields.get("working_dir", "")),
    )


def _prepared(service: Service, built: str, folder: str) -> str:
    """The lines that make a service's container; what is built from the very Dockerfile is the image under test."""
    image = service.image or built
    lines = []
    if service.context and (service.context.strip("./") or service.dockerfile):
        image = f"localhost/hythe-test-{service.name.lower()}"
        context = f"{SOURCE}/{folder}/{service.context}"
        file = f"--file {shlex.quote(f'{context}/{service.dockerfile}')}" if service.dockerfile else ""
        lines.append(
            f"{_BUILDAH} build --isolation chroot --network host --pull=never {file} -t {image} {shlex.quote(context)}"
        )
    lines.append(f"{_BUILDAH} from --pull=never --name {shlex.quote(f'test-{service.name}')} {shlex.quote(image)}")
    return "\n".join(lines)


def _started(service: Service) -> str:
    flags = [word for pair in service.environment for word in ("--env", pair)]
    flags += ["--workingdir", service.folder] if service.folder else []
    name = f"test-{service.name}"
    words = shlex.join(["run", "--isolation", "chroot", *flags, name, "--", *service.command])
    if service.command:
        return f"{_BUILDAH} {words}"
    # Without a command the image's own runs, as buildah itself does not start it.
    own = f"{_BUILDAH} inspect --format '{{{{range .OCIv1.Config.Entrypoint}}}}{{{{.}}}} {{{{end}}}}"
    own += f"{{{{range .OCIv1.Config.Cmd}}}}{{{{.}}}} {{{{end}}}}' {shlex.quote(name)}"
    return f"{_BUILDAH} {words} $({own})"
