"""The BuildKit builder: ``buildctl`` with any ``buildkitd``. That daemon isolates the build, not our sandbox.

This follows BuildKit's documentation (docs/reference/buildctl.md, docs/build-repro.md). The worker fetches base images
and passes them as OCI layouts, by digest; the result is an OCI archive. So the daemon needs neither access to the hub
nor credentials for it. We limit time, network and the image's size; the daemon's operator limits memory, processes and
its disk.
"""

import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from hythe.client.docker_archive import read_archive
from hythe.client.layout import ImageLayout
from hythe.oci.manifest import ManifestKind
from hythe.worker.builders.base_images import BaseImages, naming_line
from hythe.worker.builders.buildkit_output import BuildKitOutput
from hythe.worker.builders.host_process import is_offline, run
from hythe.worker.builders.labels import apply_labels
from hythe.worker.builders.platforms import automatic_arguments
from hythe.worker.builders.port import BuildInput, BuiltImage, check_dockerfile
from hythe.worker.dockerfiles.features import require_buildkit_features
from hythe.worker.dockerfiles.parsing import BaseImage, base_images, parse, rename_base_images, syntax_image
from hythe.worker.dockerfiles.rewriting import without_sandbox_flags
from hythe.worker.errors import BuildFailed
from hythe.worker.isolation.sandbox import Sandbox
from hythe.worker.isolation.selection import ExternalBuilder
from hythe.worker.progress import ProgressReporter
from hythe.worker.protocol import BuildLimits
from hythe.worker.source_tree import PathEscapes, make_empty, read_inside, resolve_inside

INSTALL = "buildctl is not installed on the worker: put it on the PATH, from github.com/moby/buildkit/releases"
RESPONSE_TIMEOUT = 20
DOCKERFILE = "Dockerfile"
IGNORE_FILE = ".dockerignore"
SYNTAX_ARGUMENT = "BUILDKIT_SYNTAX"
"""The build argument that takes precedence over a line ``# syntax=IMAGE``."""
MAX_IGNORE_FILE_SIZE = 1 << 20
_VERSION = re.compile(r"BuildKit:\s+\S+\s+(\S+)")
_TLS_FILES = (("--tlscacert", "ca.pem"), ("--tlscert", "cert.pem"), ("--tlskey", "key.pem"))


class BuildKitBuilder:
    """Builds with the buildctl command."""

    def __init__(
        self,
        daemon: ExternalBuilder,
        sandbox: Sandbox,
        progress: ProgressReporter,
        bases: BaseImages,
        limits: BuildLimits,
    ) -> None:
        self._buildctl = _buildctl(daemon)
        self._sandbox = sandbox
        self._progress = progress
        self._bases = bases
        self._limits = limits
        self._fetched: dict[BaseImage, ImageLayout] = {}
        self._syntax = ""
        self.name = version(daemon)
        self.own_cache = f"the build cache of {daemon}"

    def check(self, build_input: BuildInput) -> None:
        """See Builder. The image of ``# syntax=`` can know other instructions, and a newer daemon other flags."""
        require_buildkit_features(build_input.dockerfile_text)
        if not self._syntax_name(build_input):
            for warning in check_dockerfile(build_input, flags=False):
                self._progress.line(warning)

    def fetch_bases(self, build_input: BuildInput) -> dict[str, str]:
        """See Builder."""
        self._fetched = {}
        make_empty(self._sandbox.work, "bases")
        found = base_images(
            build_input.dockerfile_text, build_input.arguments, automatic_arguments(build_input.platform)
        )
        digests = {}
        for base in found:
            with naming_line(build_input, base):
                digests[base.name] = self._fetch(base, build_input.platform)
        return digests | self._pin_syntax(build_input)

    def _pin_syntax(self, build_input: BuildInput) -> dict[str, str]:
        """Find the digest of the image that reads the Dockerfile, if it names one."""
        if build_input.dockerfile_text.lstrip().startswith(("//", "{")):
            raise BuildFailed("the Dockerfile names its syntax in an unsupported form: use # syntax=IMAGE")
        name = self._syntax_name(build_input)
        self._syntax = ""
        if not name:
            return {}
        reference = self._bases.reference(name)
        digest = self._bases.digest(reference, "")
        if digest is None:
            raise BuildFailed(f"the image {name} of # syntax= does not exist or may not be read: {self._bases.problem}")
        self._syntax = f"{reference.host}/{reference.repository}@{digest}"
        return {name: digest}

    @staticmethod
    def _syntax_name(build_input: BuildInput) -> str:
        return build_input.arguments.get(SYNTAX_ARGUMENT) or syntax_image(build_input.dockerfile_text)

    def _fetch(self, base: BaseImage, platform: str) -> str:
        reference = self._bases.reference(base.name)
        digest = self._bases.digest(reference, base.platform or platform)
        if digest is None:
            raise BuildFailed(f"the base image {base.name} does not exist or may not be read: {self._bases.problem}")
        layout = ImageLayout(make_empty(self._sandbox.work, f"bases/{len(self._fetched)}"))
        self._bases.fetch(reference, digest, base.platform or platform, layout)
        self._fetched[base] = layout
        return digest

    def fetch_images(self, names: Sequence[str]) -> None:
        """See Builder."""
        raise BuildFailed("BuildKit does not support autotests: use the buildah builder, or test in hooks/test")

    def build(self, build_input: BuildInput) -> BuiltImage:
        """See Builder."""
        out = f"out/{build_input.platform.replace('/', '-') or 'image'}"
        layout = ImageLayout(make_empty(self._sandbox.work, out))
        archive = self._sandbox.work / f"{out}.tar"
        folder = make_empty(self._sandbox.work, f"{out}.dockerfile")
        self._write_dockerfile(build_input, folder)
        command = [*self._buildctl, "build", *self._flags(build_input), "--local", f"dockerfile={folder}"]
        command += ["--output", f"type=oci,dest={archive},rewrite-timestamp=true"]
        # The build must not use the host's registry credentials, which buildctl would offer.
        output = BuildKitOutput(parse(build_input.dockerfile_text), self._progress)
        with output.naming_limits():
            completed = run(command, self._sandbox, output.line, {"DOCKER_CONFIG": str(folder)})
        if completed.code:
            raise BuildFailed(output.reason(completed.code, completed.last_lines))
        return self._read_image(archive, layout, build_input)

    def _write_dockerfile(self, build_input: BuildInput, folder: Path) -> None:
        automatic = automatic_arguments(build_input.platform)
        text = without_sandbox_flags(build_input.dockerfile_text)
        text = rename_base_images(text, build_input.arguments, automatic, self._names())
        (folder / DOCKERFILE).write_text(text)
        try:
            # A .dockerignore of this Dockerfile takes precedence over the context's; BuildKit expects it next to the
            # Dockerfile.
            path = f"{build_input.context}/{build_input.dockerfile}{IGNORE_FILE}"
            ignored = read_inside(self._sandbox.work / "src", path, MAX_IGNORE_FILE_SIZE)
        except (FileNotFoundError, NotADirectoryError, PathEscapes):
            return
        (folder / f"{DOCKERFILE}{IGNORE_FILE}").write_bytes(ignored)

    def _names(self) -> dict[BaseImage, str]:
        """Return the names of the base images in the Dockerfile for BuildKit: each refers to one digest."""
        repositories = [self._bases.reference(base.name).repository for base in self._fetched]
        names = [f"base-{number}-{name.rpartition('/')[2]}" for number, name in enumerate(repositories)]
        return dict(zip(self._fetched, names, strict=True))

    def _flags(self, build_input: BuildInput) -> list[str]:
        flags = ["--progress", "plain", "--frontend", "dockerfile.v0"]
        flags += ["--local", f"context={resolve_inside(self._sandbox.work / 'src', build_input.context)}"]
        flags += [] if build_input.cache else ["--no-cache"]
        options = {"filename": DOCKERFILE, "platform": automatic_arguments(build_input.platform)["TARGETPLATFORM"]}
        options |= {"target": build_input.target} if build_input.target else {}
        options |= {"force-network-mode": "none"} if is_offline(self._limits) else {}
        # Files and history get the time of the commit, so that equal sources give equal digests.
        arguments = {"SOURCE_DATE_EPOCH": str(build_input.time), **build_input.arguments}
        arguments |= {SYNTAX_ARGUMENT: self._syntax} if self._syntax else {}
        options |= {f"build-arg:{name}": value for name, value in sorted(arguments.items())}
        for base, name in self._names().items():
            layout = self._fetched[base]
            flags += ["--oci-layout", f"{name}={layout.folder}"]
            options[f"context:{name}"] = f"oci-layout://{name}@{layout.read_index().manifests[0].digest}"
        for name in build_input.secrets:
            flags += ["--secret", f"id={name},src={self._sandbox.work / 'secrets' / name}"]
        return flags + _options(options)

    def _read_image(self, archive: Path, layout: ImageLayout, build_input: BuildInput) -> BuiltImage:
        with archive.open("rb") as file:
            images = read_archive(file, layout)
        archive.unlink()
        if len(images) != 1 or layout.read_manifest(images[0].descriptor).kind is not ManifestKind.IMAGE:
            raise BuildFailed("the build produced more than one image")
        return BuiltImage(layout.folder, apply_labels(layout, images[0].descriptor, build_input))

    def export(self, build_input: BuildInput) -> BuiltImage:
        """See Builder."""
        raise BuildFailed(
            "BuildKit stores no images by name: use the buildah builder for images that hooks/build makes"
        )


def version(daemon: ExternalBuilder) -> str:
    """Return the version of BuildKit. Raises BuildFailed if no daemon responds, or buildctl is missing."""
    command = [*_buildctl(daemon), "debug", "info"]
    try:
        completed = subprocess.run(command, capture_output=True, text=True, check=False, timeout=RESPONSE_TIMEOUT)
    except FileNotFoundError as error:
        raise BuildFailed(INSTALL) from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BuildFailed(f"{daemon} does not respond: {error}") from error
    if completed.returncode:
        lines = completed.stderr.strip().splitlines() or [f"buildctl exited with {completed.returncode}"]
        raise BuildFailed(f"{daemon} does not respond: {lines[-1]}")
    found = _VERSION.search(completed.stdout)
    return f"BuildKit {found[1]}" if found else "BuildKit"


def _buildctl(daemon: ExternalBuilder) -> list[str]:
    """Return the command with address and certificates. Raises BuildFailed rather than connect without TLS."""
    command = ["buildctl", "--addr", daemon.address]
    if daemon.certificates:
        folder = Path(daemon.certificates)
        if not (folder / "ca.pem").exists():
            raise BuildFailed(f"{folder} has no ca.pem: set builds_buildkit_certificates to a folder that has one")
        files = [(flag, str(folder / name)) for flag, name in _TLS_FILES if (folder / name).exists()]
        command += [word for pair in files for word in pair]
    return command + (["--tlsservername", daemon.server_name] if daemon.server_name else [])


def _options(values: Mapping[str, str]) -> list[str]:
    return [word for name, value in values.items() for word in ("--opt", f"{name}={value}")]
