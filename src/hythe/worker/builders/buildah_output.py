"""What buildah prints, in its words: steps, errors, and noise that says nothing to users."""

import re
from collections.abc import Collection, Sequence

from hythe.worker.builders.buildah_phases import Phase
from hythe.worker.builders.output import BuilderOutput
from hythe.worker.dockerfiles.parsing import Instruction
from hythe.worker.progress import ProgressReporter

_STEP = re.compile(r"(?:\[(\d+)/\d+\] )?STEP (\d+)/(\d+): (.*)", re.DOTALL)
_COMMIT = re.compile(r"(?:\[\d+/\d+\] )?COMMIT(?: .*)?")
_ENDED = re.compile(r"subprocess exited (?:with status (\d+)|on (\w+))")
"""buildah's own processes print this about each other when a command has failed, before its error."""
_NOT_STARTED = re.compile(
    r"process failed to start with error: (.*?)(?:process exited with error: .*)?(?:subprocess .*)?"
)
_ERROR = re.compile(r'Error: building at STEP "(?:.*?)": (.*)', re.DOTALL)
_RESOLVING = re.compile(r"Error: resolving step \{Value:.* StartLine:(\d+) EndLine:\d+\}: (.*)", re.DOTALL)
_OTHER_ERROR = re.compile(r"Error: (?=parsing main Dockerfile|The target|creating build container|[A-Z]+ --from=)(.*)")
_USELESS = re.compile(
    r'time="[^"]*" level=warning msg="(?:missing \\"\w+\\" build argument\. .*|[A-Z]+ is not supported for OCI .*)"'
)
_CONTAINER = re.compile(r'^(?:resolving mountpoints|mounting) for container "?[0-9a-f]{64}"?: ')
_GO_VALUE = re.compile(r" ?&\w+\.\w+\{.*\}")
_STEP_STATUS = re.compile(r'": (?:while running runtime: )?exit status (\d+)$')
_MISSING = re.compile(r'checking on sources under "[^"]*": .*copier: stat: \[?"/?(.*?)"\]?: no such file or directory$')
_EXCLUDED = re.compile(r'no items matching glob "([^"]*)" copied')
_USER = re.compile(r'determining run uid: user: unknown user error looking up user "(.*)"')
_MAX_HELD = 2


class BuildahOutput(BuilderOutput):
    """Reads buildah's output. ``rewritten`` are the instructions that it was given, and as what each was written."""

    def __init__(
        self,
        instructions: Sequence[Instruction],
        rewritten: Sequence[tuple[Instruction, Instruction]],
        offline: Collection[int],
        context: str,
        progress: ProgressReporter,
    ) -> None:
        """``context`` is the folder of the build context as buildah sees it.

        ``offline`` are the lines of ``rewritten`` with steps without network.
        """
        super().__init__(instructions, progress)
        self._stages = _by_stage(rewritten)
        self._context = context
        self._offline = offline
        self._shown: set[tuple[int, int]] = set()
        self._is_online = True
        self._must_be_cached = False
        self.leaked: Instruction | None = None
        """A step without network that buildah ran once more with one: its layer must not be used."""
        self._is_repeating = False
        self._is_final = True
        self._ended: list[str] = []
        self._error: list[str] = []
        self._start_problem = ""

    def start_phase(self, phase: Phase) -> None:
        """Note that buildah starts, perhaps once more: steps that it repeats are not shown again."""
        self.flush()
        self._is_repeating = bool(self._shown)
        self._is_final, self._is_online = phase.is_final, phase.is_online

    def line(self, text: str) -> None:
        """Read a line of the output."""
        if self._must_be_cached and not text.startswith("--> Using cache"):
            self.leaked = self.current
        self._must_be_cached = False
        if step := _STEP.fullmatch(text):
            self._begin_step(step)
        elif _ERROR.fullmatch(text) or _RESOLVING.fullmatch(text) or _OTHER_ERROR.fullmatch(text):
            # An earlier one was printed by the step, not by buildah.
            self._show(self._error)
            self._error = [text]
        elif _ENDED.fullmatch(text):
            self._ended.append(text)
        elif self._error:
            self._error.append(text)
        elif found := _NOT_STARTED.fullmatch(text):
            self._start_problem = found[1]
        elif not (self._is_repeating or _USELESS.fullmatch(text) or self._is_end_of_phase(text)):
            self.keep(text)
            self.report(text)

    def flush(self) -> None:
        """Show what was held back in the belief that the build had failed."""
        self._show([*self._ended, *self._error])
        self._ended, self._error, self._start_problem = [], [], ""

    def _show(self, lines: Sequence[str]) -> None:
        for text in lines:
            if not self._is_repeating:
                self.keep(text)
                self.report(text)

    def reason(self, code: int, last_lines: Sequence[str]) -> str:
        """Return why buildah exited with ``code``; show what is not part of the reason."""
        message = "\n".join(self._error)
        # A step can print the same lines; buildah prints two at most.
        for text in self._ended[:-_MAX_HELD]:
            self.report(text)
        if status := _STEP_STATUS.search(message):
            return self._failed_command(int(status[1]))
        if found := _RESOLVING.fullmatch(message):
            self.begin(self._at_line(int(found[1])))
            return self.failed(found[2])
        if found := _ERROR.fullmatch(message):
            return self._reason_of_step(found[1])
        if found := _OTHER_ERROR.fullmatch(message):
            return self.failed(found[1])
        errors = [line for line in last_lines if line.lower().startswith("error")]
        return self.failed(errors[-1]) if errors else f"the build of the Dockerfile exited with {code}: see the log"

    def _failed_command(self, code: int) -> str:
        if self._start_problem:
            return self.failed(f"the program cannot be started: {self._start_problem}")
        killed = "subprocess exited on killed" in self._ended
        return self.failed_step(code, killed=killed)

    def _reason_of_step(self, message: str) -> str:
        message = _GO_VALUE.sub("", _CONTAINER.sub("", message))
        origin = self.current.flag("from") if self.current else []
        if missing := _MISSING.search(message):
            where = f"{origin[0]} (--from)" if origin else "the build context"
            return self.failed(f"{missing[1]} is not in {where}")
        if excluded := _EXCLUDED.search(message):
            path = excluded[1].removeprefix(self._context).lstrip("/")
            return self.failed(f"{path} is excluded from the build context by .dockerignore")
        if user := _USER.fullmatch(message):
            return self.failed(f"the image has no user {user[1]}")
        return self.failed(message)

    def _begin_step(self, step: re.Match[str]) -> None:
        self.flush()
        stage, number = int(step[1] or 1), int(step[2])
        known = self._stages.get(stage, ())
        instruction = known[number - 1] if number <= len(known) else None
        self.begin(instruction[1] if instruction else None)
        self._is_repeating = (stage, number) in self._shown
        is_offline = instruction is not None and instruction[0].first in self._offline
        self._must_be_cached = is_offline and self._is_online
        self._shown.add((stage, number))
        if self._is_repeating:
            return
        prefix = f"[{stage}/{len(self._stages)}] " if len(self._stages) > 1 else ""
        # buildah names base images and stages by their IDs.
        text = f"{instruction[1].keyword} {instruction[1].rest}" if instruction is not None else step[4]
        self.report(f"{prefix}STEP {number}/{len(known) or step[3]}: {text}")

    def _is_end_of_phase(self, text: str) -> bool:
        """Return whether a line says that an image is complete which is only the start of another one."""
        return not self._is_final and bool(_COMMIT.fullmatch(text) or re.fullmatch(r"[0-9a-f]{64}", text))

    def _at_line(self, line: int) -> Instruction | None:
        for instructions in self._stages.values():
            for rewritten, written in instructions:
                if rewritten.first + 1 == line:
                    return written
        return None


def _by_stage(
    rewritten: Sequence[tuple[Instruction, Instruction]],
) -> dict[int, list[tuple[Instruction, Instruction]]]:
    """Return the instructions of each stage, which count from 1, as buildah does; it does not count a global ARG."""
    found: dict[int, list[tuple[Instruction, Instruction]]] = {}
    for pair in rewritten:
        if pair[0].keyword == "FROM":
            found[len(found) + 1] = []
        if found:
            found[len(found)].append(pair)
    return found
