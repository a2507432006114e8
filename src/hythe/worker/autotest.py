"""Autotest: the service ``sut`` of each ``*.test.yml`` next to the Dockerfile must exit with 0, or nothing is pushed.

The services of a file run together in the sandbox, each in a container of buildah, and find each other by name on the
sandbox's network. SUPPORTED_FIELDS lists the supported fields of Compose files.
"""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import yaml

from hythe.oci.dockerfile_lexer import UnsetVariable, replace_variables
from hythe.worker.builders.image_store import STORAGE
from hythe.worker.builders.port import Builder
from hythe.worker.checkout import SOURCE
from hythe.worker.dockerfiles.parsing import base_images
from hythe.worker.errors import BuildFailed
from hythe.worker.isolation.sandbox import NetworkAccess, ProcessResult, Sandbox
from hythe.worker.progress import ProgressReporter
from hythe.worker.protocol import Job
from hythe.worker.source_tree import read_inside, resolve_inside

SUT = "sut"
MAX_FILE_SIZE = 256 * 1024
SUPPORTED_FIELDS = {"build", "image", "entrypoint", "command", "environment", "working_dir", "volumes"} | {
    # These have no effect, because all services start together on one network.
    *("depends_on", "links", "expose", "ports", "container_name", "restart", "networks"),
}
_BUILDAH = " ".join(("buildah", *STORAGE))
_SETTINGS = {"_CONTAINERS_USERNS_CONFIGURED": "done", "BUILDAH_ISOLATION": "chroot"}


class Service(msgspec.Struct, frozen=True):
    """A service of a test file; ``context`` is empty if there is nothing to build. None: the image's value."""

    name: str
    image: str = ""
    context: str = ""
    dockerfile: str = ""
    entrypoint: tuple[str, ...] | None = None
    command: tuple[str, ...] | None = None
    environment: tuple[str, ...] = ()
    folder: str = ""
    volumes: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    """Fields that are accepted and have no effect."""


class _Config(msgspec.Struct):
    entrypoint: tuple[str, ...] | None = msgspec.field(name="Entrypoint", default=None)
    command: tuple[str, ...] | None = msgspec.field(name="Cmd", default=None)


class _Image(msgspec.Struct):
    config: _Config = msgspec.field(default_factory=_Config)


class _Container(msgspec.Struct):
    image: _Image = msgspec.field(name="OCIv1", default_factory=_Image)


class Autotest:
    """The test files of one source."""

    def __init__(
        self,
        job: Job,
        sandbox: Sandbox,
        progress: ProgressReporter,
        access: NetworkAccess,
        builder: Builder,
        variables: Mapping[str, str],
    ) -> None:
        """Test with the hooks' ``variables``, which the files can use."""
        self._builder = builder
        self._sandbox = sandbox
        self._progress = progress
        self._access = access
        self._variables = variables
        self._image = f"{job.registry}/{job.repository}:{job.tags[0] if job.tags else 'latest'}"
        dockerfile = job.spec.dockerfile.rpartition("/")[0]
        self._folder = "/".join(part for part in (job.spec.context.strip("/"), dockerfile) if part)

    def run(self) -> None:
        """Run all test files. Raises BuildFailed if one fails."""
        folder = resolve_inside(self._sandbox.work / "src", self._folder)
        for path in sorted(folder.glob("*.test.yml")) + sorted(folder.glob("*.test.yaml")):
            with self._progress.step(f"test {path.name}"):
                self._run_file(path)

    def _run_file(self, path: Path) -> None:
        relative = f"src/{self._folder}/{path.name}".replace("//", "/")
        text = read_inside(self._sandbox.work, relative, MAX_FILE_SIZE).decode(errors="replace")
        services = parse(text, self._variables)
        for service in services:
            for field in service.ignored:
                self._progress.line(f"{path.name}: {field} of the service {service.name} is not supported")
        self._fetch(services)
        lines = ["set -e", *(_create_commands(service, self._image, self._folder) for service in services)]
        if self._run("\n".join(lines), self._access).code:
            raise BuildFailed(f"{path.name}: its services cannot be created: see the log")
        hosts = tuple(("127.0.0.1", service.name) for service in services)
        access = msgspec.structs.replace(self._access, hosts=(*self._access.hosts, *hosts))
        others = [f"{self._run_command(service)} &" for service in services if service.name != SUT]
        sut = next(service for service in services if service.name == SUT)
        completed = self._run("\n".join([*others, self._run_command(sut), "exit $?"]), access)
        if completed.code:
            raise BuildFailed(f"{path.name}: the service sut exited with {completed.code}, so nothing was pushed")

    def _fetch(self, services: Sequence[Service]) -> None:
        """Fetch or build the images of the services, apart from the image under test."""
        names = [service.image for service in services if service.image and not service.context]
        for service in services:
            if _is_built(service):
                path = f"{self._folder}/{service.context}/{service.dockerfile or 'Dockerfile'}"
                try:
                    text = read_inside(self._sandbox.work / "src", path, MAX_FILE_SIZE).decode(errors="replace")
                except FileNotFoundError as error:
                    raise BuildFailed(f"the service {service.name} has no Dockerfile at {path}") from error
                names += [base.name for base in base_images(text, {})]
        self._builder.fetch_images([name for name in dict.fromkeys(names) if name != self._image])

    def _run(self, script: str, access: NetworkAccess) -> ProcessResult:
        return self._sandbox.run(["sh", "-c", script], self._progress.line, access=access, environment=_SETTINGS)

    def _run_command(self, service: Service) -> str:
        """Return the line that runs a service's container."""
        flags = [word for pair in service.environment for word in ("--env", pair)]
        flags += ["--workingdir", service.folder] if service.folder else []
        for volume in service.volumes:
            path, _, target = volume.partition(":")
            real = resolve_inside(self._sandbox.work / "src", f"{self._folder}/{path}")
            flags += ["--volume", f"{SOURCE}/{real.relative_to(resolve_inside(self._sandbox.work, 'src'))}:{target}"]
        arguments = ["run", "--isolation", "chroot", *flags, f"test-{service.name}", "--", *self._command(service)]
        return f"{_BUILDAH} {shlex.join(arguments)}"

    def _command(self, service: Service) -> tuple[str, ...]:
        """Return a service's command: buildah runs neither an image's command nor its entry point on its own."""
        lines: list[str] = []
        command = ["buildah", *STORAGE, "inspect", f"test-{service.name}"]
        self._sandbox.run(command, lines.append, environment=_SETTINGS)
        try:
            own = msgspec.json.decode("\n".join(lines), type=_Container).image.config
        except msgspec.MsgspecError as error:
            raise BuildFailed(f"the service {service.name} cannot be inspected: {error}") from error
        if service.entrypoint is not None:
            arguments = service.entrypoint + (service.command or ())
        else:
            arguments = (own.entrypoint or ()) + (service.command if service.command is not None else own.command or ())
        if not arguments:
            raise BuildFailed(f"neither the service {service.name} nor its image has a command")
        return arguments


def parse(text: str, variables: Mapping[str, str]) -> list[Service]:
    """Return the services of a Compose file with ``variables`` filled in. Raises BuildFailed."""
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise BuildFailed(f"the test file is not YAML: {error}") from error
    if not isinstance(content, dict):
        raise BuildFailed("the test file has no services")
    found = content.get("services", content)
    if not isinstance(found, dict):
        raise BuildFailed("the test file has no services")
    named = {str(name): _expand(each, variables) for name, each in found.items() if isinstance(each, dict)}
    services = [_service(name, each, variables) for name, each in named.items()]
    if not any(service.name == SUT for service in services):
        raise BuildFailed("the test file has no service named sut")
    return services


def _service(name: str, fields: Mapping[str, Any], variables: Mapping[str, str]) -> Service:
    build = fields.get("build", "")
    build_fields = build if isinstance(build, dict) else {"context": build}
    environment = fields.get("environment") or {}
    pairs = environment if isinstance(environment, list) else [f"{key}={value}" for key, value in environment.items()]
    volumes = [str(volume) for volume in fields.get("volumes") or ()]
    return Service(
        name=name,
        image=str(fields.get("image", "")),
        context=str(build_fields.get("context", "") or ""),
        dockerfile=str(build_fields.get("dockerfile", "")),
        entrypoint=_words(fields.get("entrypoint")),
        command=_words(fields.get("command")),
        environment=tuple(pair if "=" in pair else f"{pair}={variables.get(pair, '')}" for pair in map(str, pairs)),
        folder=str(fields.get("working_dir", "")),
        volumes=tuple(volume for volume in volumes if _is_source_volume(volume)),
        ignored=(
            *sorted(set(fields) - SUPPORTED_FIELDS),
            *(f"the volume {each}" for each in volumes if not _is_source_volume(each)),
        ),
    )


def _words(command: object) -> tuple[str, ...] | None:
    if isinstance(command, str):
        return tuple(shlex.split(command))
    return tuple(map(str, command)) if isinstance(command, list) else None


def _is_source_volume(volume: str) -> bool:
    return volume.startswith(".") and ":" in volume


def _expand(value: Any, variables: Mapping[str, str]) -> Any:
    """Replace variables as Compose does: ``$NAME``, ``${NAME}``, ``${NAME:-word}``, and ``$$`` for a dollar sign."""
    if isinstance(value, dict):
        return {name: _expand(each, variables) for name, each in value.items()}
    if isinstance(value, list):
        return [_expand(each, variables) for each in value]
    if not isinstance(value, str):
        return value
    try:
        return "$".join(replace_variables(part, variables) for part in value.split("$$"))
    except UnsetVariable as error:
        raise BuildFailed(f"the test file needs a variable: {error}") from error


def _is_built(service: Service) -> bool:
    """Return whether a service has its own image; one built from the same Dockerfile uses the image under test."""
    return bool(service.context.strip("./") or (service.context and service.dockerfile))


def _create_commands(service: Service, built: str, folder: str) -> str:
    """Return the lines that create a service's container."""
    image = service.image or built
    lines = []
    if _is_built(service):
        image = f"localhost/hythe-test-{service.name.lower()}"
        context = f"{SOURCE}/{folder}/{service.context}"
        file = f"--file {shlex.quote(f'{context}/{service.dockerfile}')}" if service.dockerfile else ""
        lines.append(
            f"{_BUILDAH} build --isolation chroot --network host --pull=never {file} -t {image} {shlex.quote(context)}"
        )
    lines.append(f"{_BUILDAH} from --pull=never --name {shlex.quote(f'test-{service.name}')} {shlex.quote(image)}")
    return "\n".join(lines)
