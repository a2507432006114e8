"""The files of a source that a build reads itself: the Dockerfile and the README. Call while no process of it runs."""

from pathlib import Path

from hythe.worker.dockerfiles.decoding import decode_dockerfile
from hythe.worker.errors import BuildFailed
from hythe.worker.protocol import BuildSpec
from hythe.worker.source_tree import PathEscapes, read_inside

MAX_README_SIZE = 100_000
MAX_DOCKERFILE_SIZE = 1 << 20
READMES = ("README.md", "Readme.md", "readme.md", "README", "README.txt", "README.rst")


def read_dockerfile(source: Path, spec: BuildSpec) -> str:
    """Return the text of the rule's Dockerfile. Raises BuildFailed if there is none, or if it is no text."""
    path = f"{spec.context.strip('/')}/{spec.dockerfile}".lstrip("/")
    for candidate in (path, spec.dockerfile, f"{path}/Dockerfile"):
        try:
            return decode_dockerfile(read_inside(source, candidate, MAX_DOCKERFILE_SIZE))
        except (FileNotFoundError, NotADirectoryError):
            continue
        except PathEscapes as error:
            if not (source / candidate).is_dir():
                raise BuildFailed(f"the Dockerfile is invalid: {error}") from error
    raise BuildFailed(f"no Dockerfile at {path}: check the rule's context and Dockerfile")


def read_readme(source: Path, spec: BuildSpec) -> str:
    """Return the README next to the Dockerfile, or else the one of the source; nothing if the rule wants none."""
    if not spec.readme:
        return ""
    folder_of_dockerfile = f"{spec.context.strip('/')}/{spec.dockerfile}".lstrip("/").rpartition("/")[0]
    for folder in dict.fromkeys((folder_of_dockerfile, spec.context.strip("/"), "")):
        for name in READMES:
            try:
                path = f"{folder}/{name}".lstrip("/")
                return read_inside(source, path, MAX_README_SIZE).decode(errors="replace")
            except (FileNotFoundError, NotADirectoryError, PathEscapes):
                continue
    return ""
