"""What builders cannot do: found in the Dockerfile before the build, and said in one sentence.

docs/builds.md has the table of features by builder.
"""

import re
from collections.abc import Callable, Iterator

from hythe.worker.dockerfiles.git_source import parse_git_source
from hythe.worker.dockerfiles.parsing import Instruction, parse
from hythe.worker.errors import InvalidDockerfile

SYMBOLIC_MODE = re.compile(r"[ugoa]*[-+=].*")
_BUILDKIT = "a worker with BuildKit"
_EITHER = "a worker with buildah or BuildKit"
_SINCE = {"exclude": (1, 38), "parents": (1, 40)}
"""The versions of buildah that copy from stages and images with these flags (its release notes)."""

Problem = tuple[str, str]
"""What a builder does not support, and what does."""


def require_buildah_features(text: str, version: tuple[int, int]) -> None:
    """Raise InvalidDockerfile at the first line with something that this version of buildah does not support."""
    _require(text, lambda each: _buildah_problems(each, version), f"buildah {version[0]}.{version[1]}")


def require_docker_features(text: str, *, offline: bool) -> None:
    """Raise InvalidDockerfile at the first line with something that the builder of a docker engine does not support.

    ``offline``: whether no step has a network.
    """
    _require(text, lambda each: _docker_problems(each, offline=offline), "the builder of docker engines")


def require_buildkit_features(text: str) -> None:
    """Raise InvalidDockerfile at the first line with something that BuildKit is not allowed to do."""
    _require(text, lambda _: iter(()), "BuildKit")


def _require(text: str, problems: Callable[[Instruction], Iterator[Problem]], builder: str) -> None:
    for instruction in parse(text):
        if instruction.keyword == "RUN" and "insecure" in instruction.flag("security"):
            raise InvalidDockerfile(f"{instruction.place}: RUN --security=insecure is not allowed: remove the flag")
        for what, instead in problems(instruction):
            raise InvalidDockerfile(f"{instruction.place}: {builder} does not support {what}: {instead}")


def _buildah_problems(instruction: Instruction, version: tuple[int, int]) -> Iterator[Problem]:
    match instruction.keyword:
        case "RUN":
            yield from _buildah_step_problems(instruction)
        case "COPY" if instruction.flag("from"):
            yield from _buildah_copy_problems(instruction, version)
        case "ADD" if _has_url(instruction) and any(value in ("true", "") for value in instruction.flag("unpack")):
            yield "ADD --unpack of a URL", f"unpack it with RUN, or use {_BUILDKIT}"
        case "HEALTHCHECK" if instruction.flag("start-interval"):
            yield "HEALTHCHECK --start-interval", f"remove it, or use {_BUILDKIT}"


def _buildah_step_problems(instruction: Instruction) -> Iterator[Problem]:
    if instruction.flag("device"):
        yield "RUN --device", f"use {_BUILDKIT}"
    for mount in instruction.flag("mount"):
        if "type=secret" in mount and re.search(r"(?:^|,)env=", mount):
            yield "a secret as a variable (env=)", f"read it from /run/secrets/ID, or use {_BUILDKIT}"


def _buildah_copy_problems(instruction: Instruction, version: tuple[int, int]) -> Iterator[Problem]:
    for name, since in _SINCE.items():
        if instruction.flag(name) and version < since:
            newer = f"buildah {since[0]}.{since[1]} or newer"
            yield f"COPY --from with --{name}", f"use a worker with {newer} or BuildKit"
    if _has_symbolic_mode(instruction):
        yield "COPY --from with a symbolic --chmod", f"write the mode as a number, or use {_BUILDKIT}"


def _docker_problems(instruction: Instruction, *, offline: bool) -> Iterator[Problem]:
    keyword = instruction.keyword
    if instruction.heredocs:
        yield "here-documents", f"use {_EITHER}"
    if keyword == "RUN":
        if "none" in instruction.flag("network") and not offline:
            yield "RUN --network=none", f"use {_EITHER}"
        for name in ("mount", "device"):
            if instruction.flag(name):
                yield f"RUN --{name}", f"use {_EITHER if name == 'mount' else _BUILDKIT}"
    elif keyword in ("COPY", "ADD"):
        for name in ("chmod", "parents", "exclude", "checksum", "keep-git-dir", "unpack"):
            if instruction.flag(name):
                yield f"{keyword} --{name}", f"use {_EITHER}"
        if keyword == "ADD" and any(parse_git_source(word) for word in instruction.words[:-1]):
            yield "ADD of a git repository", f"use {_EITHER}"


def _has_symbolic_mode(instruction: Instruction) -> bool:
    return any(SYMBOLIC_MODE.fullmatch(mode) for mode in instruction.flag("chmod"))


def _has_url(instruction: Instruction) -> bool:
    return any(word.startswith(("http://", "https://")) for word in instruction.words[:-1])
