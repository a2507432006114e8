"""What ``buildctl`` prints with ``--progress plain``, in its words."""

import re
from collections.abc import Sequence

from hythe.worker.builders.output import BuilderOutput
from hythe.worker.dockerfiles.checks import FLAGS, near
from hythe.worker.dockerfiles.parsing import Instruction

_STEP = re.compile(r"#(\d+) \[(?:[\w.-]+ +)?\d+/\d+\] (.*)")
_OUTPUT = re.compile(r"#(\d+) \d+\.\d+ (.*)")
_PLACE = re.compile(r"Dockerfile:(\d+)")
_CODE = re.compile(r'process "(.*)" did not complete successfully: exit code: (\d+)', re.DOTALL)
_ERROR = re.compile(r"error: (?:failed to solve: )?(.*)", re.DOTALL)
_MISSING = re.compile(r'.*failed to calculate checksum of ref \S+: "/?([^"]*)": not found.*')
_PARSE_ERROR = re.compile(r"(?:dockerfile )?parse error on line (\d+): (.*)", re.IGNORECASE)
_UNKNOWN_FLAG = re.compile(r"unknown flag: (?:--)?([\w-]+)(.*)")


class BuildKitOutput(BuilderOutput):
    """Reads the output of buildctl, whose steps can run at the same time."""

    def line(self, text: str) -> None:
        """Read a line of the output."""
        if step := _STEP.fullmatch(text):
            self.begin(self._written_as(step[2]) or self.current)
        elif said := _OUTPUT.fullmatch(text):
            self.keep(said[2])
        self.report(text)

    def reason(self, code: int, last_lines: Sequence[str]) -> str:
        """Return why buildctl exited with ``code``."""
        lines = list(last_lines)
        found = next((number for number in reversed(range(len(lines))) if _ERROR.fullmatch(lines[number])), None)
        if found is None:
            return f"the build of the Dockerfile exited with {code}: see the log"
        message = "\n".join(lines[found:]).removeprefix("error: ").removeprefix("failed to solve: ")
        places = [int(place[1]) for line in lines[:found] if (place := _PLACE.fullmatch(line.strip()))]
        if places:
            self.current = self._at_line(places[-1]) or self.current
        if step := _CODE.search(message):
            return self.failed_step(int(step[2]))
        if missing := _MISSING.fullmatch(message):
            return self.failed(f"{missing[1]} is not in the build context, or .dockerignore excludes it")
        if wrong := _PARSE_ERROR.search(message):
            self.current = self._at_line(int(wrong[1]))
            return f"Dockerfile line {wrong[1]}: {self._plain(wrong[2])}"
        return self.failed(message)

    def _plain(self, message: str) -> str:
        flag = _UNKNOWN_FLAG.match(message)
        if flag is None or self.current is None:
            return message
        similar = near(flag[1], FLAGS.get(self.current.keyword, ()))
        return f"unknown flag --{flag[1]} for {self.current.keyword}{similar.replace('mean ', 'mean --')}"

    def _at_line(self, line: int) -> Instruction | None:
        return next((each for each in self.instructions if each.first < line <= each.last + 1), None)

    def _written_as(self, text: str) -> Instruction | None:
        words = " ".join(text.split())
        return next(
            (each for each in self.instructions if " ".join(f"{each.keyword} {each.rest}".split()) == words), None
        )
