"""What ``docker build`` prints with the builder of a docker engine, in its words."""

import re
from collections.abc import Sequence

from hythe.worker.builders.output import BuilderOutput

_STEP = re.compile(r"Step (\d+)/\d+ : .*")
_CODE = re.compile(r"The command '.*' returned a non-zero code: (\d+)", re.DOTALL)
_NOISE = re.compile(
    r"DEPRECATED: The legacy builder is deprecated.*|\s+Install the buildx component .*|\s+https://docs\.docker\.com/go/buildx/"
    r"| ---> (?:[0-9a-f]{12}|Running in [0-9a-f]{12})|(?: ---> )?Remov(?:ed|ing) intermediate container [0-9a-f]{12}"
)
_MISSING = re.compile(
    r"(?:COPY|ADD) failed: file not found in build context or excluded by \.dockerignore: stat (\S+):.*"
)
_PREFIX = re.compile(r"^(?:ERROR: )?(?:Error response from daemon: )?(?:[Ff]ailed to solve: )?")
_PARSE_ERROR = re.compile(r"dockerfile parse error on line (\d+): (.*)", re.IGNORECASE)


class DockerOutput(BuilderOutput):
    """Reads the output of docker's command."""

    def line(self, text: str) -> None:
        """Read a line of the output."""
        if step := _STEP.fullmatch(text):
            number = int(step[1])
            self.begin(self.instructions[number - 1] if number <= len(self.instructions) else None)
        elif not (_NOISE.fullmatch(text) or _CODE.fullmatch(text)):
            self.keep(text)
        if not _NOISE.fullmatch(text):
            self.report(text)

    def reason(self, code: int, last_lines: Sequence[str]) -> str:
        """Return why docker exited with ``code``."""
        for line in reversed(last_lines):
            if found := _CODE.fullmatch(line):
                return self.failed_step(int(found[1]))
            if found := _MISSING.fullmatch(line):
                return self.failed(f"{found[1]} is not in the build context, or .dockerignore excludes it")
            if found := _PARSE_ERROR.search(line):
                return f"Dockerfile line {found[1]}: {found[2]}"
        message = next((line for line in reversed(last_lines) if line.strip()), "")
        return self.failed(_PREFIX.sub("", message)) if message else f"docker build exited with {code}: see the log"
