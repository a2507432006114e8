"""What a builder prints: which instruction it is at, which lines users need, and why it failed.

Every builder has its own ``BuilderOutput``; all end in the same sentence, with the line and the instruction of the
Dockerfile, the exit code, and the last lines that the step printed.
"""

import re
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from hythe.worker.dockerfiles.parsing import Instruction
from hythe.worker.errors import Interrupted, LimitReached
from hythe.worker.progress import ProgressReporter

MAX_LAST_LINES = 5
"""Number of lines of a step's output that the reason repeats."""
MAX_LINE_LENGTH = 200
MAX_INSTRUCTION_LENGTH = 120
MAX_MESSAGE_LENGTH = 700
_CODES = {
    126: "the program cannot be executed",
    127: "the program was not found",
    137: "it was killed; it may need more memory",
    139: "it crashed",
}
_NO_SPACE = re.compile(r"no space left on device", re.IGNORECASE)


class BuilderOutput:
    """Reads the lines of one builder's process and passes on those for users."""

    def __init__(self, instructions: Sequence[Instruction], progress: ProgressReporter) -> None:
        self.instructions = tuple(instructions)
        """The instructions of the Dockerfile as its author wrote them."""
        self.report = progress.line
        self.mask = progress.mask_secrets
        self.current: Instruction | None = None
        """The instruction that the builder is at."""
        self._last: deque[str] = deque(maxlen=MAX_LAST_LINES)

    def line(self, text: str) -> None:
        """Read a line of the builder's output."""
        self.keep(text)
        self.report(text)

    def keep(self, text: str) -> None:
        """Keep a line that the current step printed, for the reason."""
        if text.strip():
            self._last.append(self.mask(text.strip()))

    def begin(self, instruction: Instruction | None) -> None:
        """Note that the builder is at an instruction."""
        self.current = instruction
        self._last.clear()

    @property
    def place(self) -> str:
        """The line and the start of the current instruction; empty if it is not known."""
        if self.current is None:
            return ""
        text = self.mask(f"{self.current.keyword} {self.current.rest}".strip())
        return f"{self.current.place} ({shortened(text, MAX_INSTRUCTION_LENGTH)})"

    def failed_step(self, code: int, *, killed: bool = False) -> str:
        """Return the reason for a step whose command failed."""
        code = 137 if killed else code
        meaning = f" ({_CODES[code]})" if code in _CODES else ""
        lines = [shortened(line, MAX_LINE_LENGTH) for line in self._last]
        said = f"; its last output: {' | '.join(lines)}" if lines else ""
        return f"{self.place or 'a step of the Dockerfile'} failed with exit code {code}{meaning}{said}"

    def failed(self, message: str) -> str:
        """Return the reason for a failure that the builder describes."""
        text = shortened(self.mask(" ".join(message.split())), MAX_MESSAGE_LENGTH)
        if _NO_SPACE.search(text):
            text = f"the disk of the build is full: {text}"
        return f"{self.place}: {text}" if self.place else f"the build of the Dockerfile failed: {text}"

    @contextmanager
    def naming_limits(self) -> Iterator[None]:
        """Add the current instruction to the message of a limit that the build reaches."""
        try:
            yield
        except LimitReached as error:
            raise self._with_place(error) from error
        except Interrupted as error:
            if isinstance(error.reason, LimitReached):
                error.reason = self._with_place(error.reason)
            raise

    def _with_place(self, error: LimitReached) -> LimitReached:
        return LimitReached(f"{error}, at {self.place}") if self.place else error


def shortened(text: str, length: int) -> str:
    """Return a long text's start, and its end, which says what failed."""
    return text if len(text) <= length else f"{text[: length // 2]} ... {text[-length // 2 :]}"
