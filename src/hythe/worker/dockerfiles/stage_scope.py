"""The shell and the variables of each stage of a Dockerfile, as far as the Dockerfile itself sets them."""

import shlex
from collections.abc import Mapping

from hythe.oci.dockerfile_lexer import replace_variables
from hythe.worker.dockerfiles.parsing import Instruction, argument_values

SHELL = ("/bin/sh", "-c")


class StageScope:
    """Follows the instructions of a Dockerfile; ``arguments`` are the build arguments and the predefined ones."""

    def __init__(self, arguments: Mapping[str, str]) -> None:
        self._arguments = arguments
        self._stage: str | None = None
        self._global: dict[str, str] = {}
        self._own_environment: dict[str, str] = {}
        self._environments: dict[str, dict[str, str]] = {}
        self._shells: dict[str, tuple[str, ...]] = {}
        self._complete: set[str] = {"scratch"}
        self.shell: tuple[str, ...] = SHELL
        """The shell of RUN."""
        self.values: dict[str, str] = {}
        """The values of the variables that the stage can use."""
        self.is_complete = True
        """Whether there are no other variables: a base image can set some."""

    def enter(self, instruction: Instruction) -> None:
        """Note what an instruction changes for those after it."""
        match instruction.keyword:
            case "FROM":
                self._enter_stage(instruction)
            case "SHELL":
                self.shell = instruction.json_words or SHELL
                self._shells[self._stage or ""] = self.shell
            case "ARG" if self._stage is None:
                self._global |= argument_values(instruction, self._global, self._arguments)
            case "ARG":
                found = argument_values(instruction, self.values, self._arguments)
                set_before = {name: value or self._global.get(name, "") for name, value in found.items()}
                self.values |= {name: value for name, value in set_before.items() if name not in self._own_environment}
            case "ENV":
                set_now = _environment(replace_variables(instruction.rest, self.values))
                self._own_environment |= set_now
                self._environments[self._stage or ""] = dict(self._own_environment)
                self.values |= set_now

    def _enter_stage(self, instruction: Instruction) -> None:
        words = instruction.operands.split()
        base = words[0].lower() if words else ""
        self._stage = words[2].lower() if len(words) > 2 else ""
        self.shell = self._shells.get(base, SHELL)
        self.is_complete = base in self._complete
        if self.is_complete:
            self._complete.add(self._stage)
        self._own_environment = dict(self._environments.get(base, {}))
        self.values = dict(self._own_environment)
        self._environments[self._stage] = dict(self._own_environment)
        self._shells[self._stage] = self.shell


def _environment(rest: str) -> dict[str, str]:
    try:
        pairs = shlex.split(rest)
    except ValueError:
        return {}
    if pairs and "=" not in pairs[0]:
        return {pairs[0]: rest.split(None, 1)[-1]}
    return {name: value for name, _, value in (pair.partition("=") for pair in pairs)}
