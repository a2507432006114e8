"""The Docker builder, for hosts that have a docker engine. The engine isolates the build, not our sandbox.

The engine is root on its host. We limit only the time; the engine limits memory and network, but neither disk nor
processes. It fetches base images itself, with its host's access. So only an explicit setting selects this builder.
"""

import os
import subprocess
import tempfile
from collections.abc import Sequence

from hythe.client.docker_archive import read_archive
from hythe.client.layout import ImageLayout
from hythe.worker.builders.base_images import BaseImages, naming_line
from hythe.worker.builders.docker_output import DockerOutput
from hythe.worker.builders.host_process import is_offline, run
from hythe.worker.builders.labels import apply_labels
from hythe.worker.builders.platforms import automatic_arguments
from hythe.worker.builders.port import BuildInput, BuiltImage, check_dockerfile
from hythe.worker.dockerfiles.features import require_docker_features
from hythe.worker.dockerfiles.parsing import BaseImage, base_images, parse, rename_base_images
from hythe.worker.dockerfiles.rewriting import without_link, without_sandbox_flags
from hythe.worker.errors import BuildFailed
from hythe.worker.isolation.sandbox import Sandbox
from hythe.worker.isolation.selection import ExternalBuilder
from hythe.worker.progress import ProgressReporter
from hythe.worker.protocol import BuildLimits
from hythe.worker.source_tree import make_empty, resolve_inside


class DockerBuilder:
    """Builds with the docker command and an engine (``unix:///var/run/docker.sock``)."""

    def __init__(
        self,
        engine: ExternalBuilder,
        sandbox: Sandbox,
        progress: ProgressReporter,
        bases: BaseImages,
        limits: BuildLimits,
    ) -> None:
        self._docker = ["docker", "--host", engine.address]
        self._sandbox = sandbox
        self._progress = progress
        self._bases = bases
        self._limits = limits
        self.name = version(engine)
        self._has_buildx = _has_buildx()
        self._pinned: dict[BaseImage, str] = {}
        self.own_cache = f"the images and build cache of {engine}"

    def check(self, build_input: BuildInput) -> None:
        """See Builder."""
        for warning in check_dockerfile(build_input):
            self._progress.line(warning)
        if not self._has_buildx:
            require_docker_features(build_input.dockerfile_text, offline=is_offline(self._limits))

    def fetch_bases(self, build_input: BuildInput) -> dict[str, str]:
        """See Builder. The engine pulls the images; look up their digests if the registry reports them."""
        self._pinned = {}
        found = {}
        for base in base_images(
            build_input.dockerfile_text, build_input.arguments, automatic_arguments(build_input.platform)
        ):
            with naming_line(build_input, base):
                reference = self._bases.reference(base.name)
            digest = self._bases.digest(reference, base.platform or build_input.platform)
            if digest is not None:
                found[base.name] = digest
                self._pinned[base] = f"{reference.host}/{reference.repository}@{digest}"
        return found

    def fetch_images(self, names: Sequence[str]) -> None:
        """See Builder."""
        raise BuildFailed("a docker engine does not support autotests: use the buildah builder, or test in hooks/test")

    def build(self, build_input: BuildInput) -> BuiltImage:
        """See Builder."""
        source = self._sandbox.work / "src"
        automatic = automatic_arguments(build_input.platform)
        text = without_sandbox_flags(build_input.dockerfile_text, is_online=not is_offline(self._limits))
        text = text if self._has_buildx else without_link(text)
        output = DockerOutput(parse(build_input.dockerfile_text), self._progress)
        with tempfile.NamedTemporaryFile("w", suffix=".Dockerfile") as dockerfile, output.naming_limits():
            # By digest, because the engine would use whatever has the name in its own store.
            dockerfile.write(rename_base_images(text, build_input.arguments, automatic, self._pinned))
            dockerfile.flush()
            context = resolve_inside(source, build_input.context)
            command = [*self._flags(build_input), "--file", dockerfile.name, str(context)]
            completed = run(command, self._sandbox, output.line)
        if completed.code:
            raise BuildFailed(output.reason(completed.code, completed.last_lines))
        return self.export(build_input)

    def _flags(self, build_input: BuildInput) -> list[str]:
        flags = [*self._docker, "build", "--tag", build_input.image, "--force-rm", "--memory", str(self._limits.memory)]
        flags += [] if build_input.cache else ["--no-cache"]
        flags += ["--network", "none"] if is_offline(self._limits) else []
        flags += ["--platform", build_input.platform] if build_input.platform else []
        flags += ["--target", build_input.target] if build_input.target else []
        for name, value in sorted(build_input.arguments.items()):
            flags += ["--build-arg", f"{name}={value}"]
        if build_input.secrets:
            raise BuildFailed("this docker engine does not support build secrets: use the buildah builder")
        return flags

    def export(self, build_input: BuildInput) -> BuiltImage:
        """See Builder."""
        layout = ImageLayout(make_empty(self._sandbox.work, f"out/{build_input.platform.replace('/', '-') or 'image'}"))
        with tempfile.TemporaryFile() as archive:
            saved = subprocess.run([*self._docker, "save", build_input.image], stdout=archive, check=False)
            if saved.returncode:
                raise BuildFailed(f"the build produced no image named {build_input.image}: see the log")
            archive.seek(0)
            images = read_archive(archive, layout)
        if len(images) != 1:
            raise BuildFailed("the build produced more than one image")
        return BuiltImage(layout.folder, apply_labels(layout, images[0].descriptor, build_input))


def _has_buildx() -> bool:
    """Return whether ``docker build`` uses BuildKit: it does if its plugin buildx is installed."""
    command = ["docker", "buildx", "version"]
    is_enabled = os.environ.get("DOCKER_BUILDKIT") != "0"
    return is_enabled and subprocess.run(command, capture_output=True, check=False).returncode == 0


def version(engine: ExternalBuilder) -> str:
    """Return the version of docker. Raises BuildFailed if the engine does not respond."""
    command = ["docker", "--host", engine.address, "version", "--format", "{{.Server.Version}}"]
    try:
        completed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20)
    except (OSError, subprocess.SubprocessError) as error:
        raise BuildFailed(f"{engine} does not respond: start it") from error
    return f"docker {completed.stdout.strip()}"
