"""Rewrites Dockerfiles without here-documents for builders from before 2023, with the files that replace them.

Also removes ``COPY --link``, which changes how a layer is created, not its content.
"""

import json
import re
import shlex
from collections.abc import Mapping

from hythe.worker.dockerfiles.parsing import Heredoc, Instruction, argument_values, heredoc_tokens, parse

CONTEXT = "hythe-heredocs"
"""Name of the additional build context with the files; if they were part of the source, ``COPY .`` would copy them."""
SHELL = ("/bin/sh", "-c")
_VARIABLE = re.compile(r"\\\$|\$(?:(\w+)|\{(\w+)\})")
_LINK = re.compile(r"--link(=\S+)?\s+")


def without_heredocs(text: str, arguments: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """Return the Dockerfile without here-documents, and the files of the context CONTEXT by path.

    ``RUN <<EOF`` becomes a call of the shell, ``COPY <<EOF /path`` a copy from that context.
    """
    return _Rewriting(text, arguments).run()


class _Rewriting:
    """Rewrites one Dockerfile, instruction by instruction."""

    def __init__(self, text: str, arguments: Mapping[str, str]) -> None:
        self._text = text
        self._arguments = arguments
        self._files: dict[str, str] = {}
        self._shell: tuple[str, ...] = SHELL
        self._shells: dict[str, tuple[str, ...]] = {}
        self._stage: str | None = None
        self._global: dict[str, str] = {}
        self._values: dict[str, str] = {}

    def run(self) -> tuple[str, dict[str, str]]:
        lines = self._text.splitlines()
        result: list[str] = []
        position = 0
        for instruction in parse(self._text):
            result += lines[position : instruction.first]
            if instruction.heredocs:
                result += self._rewritten(instruction)
            elif instruction.keyword in ("COPY", "ADD") and instruction.flag("link"):
                result.append(f"{instruction.keyword} {_LINK.sub('', instruction.flags)}{instruction.operands}")
            else:
                self._note(instruction)
                result += lines[instruction.first : instruction.last + 1]
            position = instruction.last + 1
        result += lines[position:]
        return "\n".join(result) + "\n", self._files

    def _note(self, instruction: Instruction) -> None:
        """Record what later here-documents of the stage depend on: its shell and its variables."""
        if instruction.keyword == "FROM":
            words = instruction.operands.split()
            self._shell = self._shells.get(words[0].lower(), SHELL) if words else SHELL
            self._stage = words[2].lower() if len(words) > 2 else ""
            self._values = {}
        elif instruction.keyword == "SHELL":
            self._shell = _words(instruction.rest)
            self._shells[self._stage or ""] = self._shell
        elif instruction.keyword == "ARG" and self._stage is None:
            self._global |= argument_values(instruction, self._global, self._arguments)
        elif instruction.keyword == "ARG":
            found = argument_values(instruction, self._values, self._arguments)
            self._values |= {name: value or self._global.get(name, "") for name, value in found.items()}
        elif instruction.keyword == "ENV":
            self._values |= _environment(_expand(instruction.rest, self._values))

    def _rewritten(self, instruction: Instruction) -> list[str]:
        if instruction.keyword == "RUN":
            script = _script(instruction.operands, instruction.heredocs)
            return [f"RUN {instruction.flags}{json.dumps([*self._shell, script])}"]
        sources = []
        for heredoc in instruction.heredocs:
            sources.append(f"{len(self._files)}/{heredoc.name}")
            self._files[sources[-1]] = heredoc.body if heredoc.literal else _expand(heredoc.body, self._values)
        *others, target = _without_heredocs(instruction.operands).split()
        flags = _LINK.sub("", instruction.flags)
        copies = [f"COPY {flags}--from={CONTEXT} {' '.join(sources)} {target}"]
        if others:
            copies.append(f"{instruction.keyword} {flags}{' '.join(others)} {target}")
        return copies


def _script(command: str, heredocs: tuple[Heredoc, ...]) -> str:
    """The shell's own here-documents have the same effect; a single one is the script."""
    first = heredocs[0]
    if _without_heredocs(command).strip() == "" and len(heredocs) == 1:
        if not first.body.startswith("#!"):
            return first.body
        # A script for another program must be a file, which must be deleted before the layer is created.
        text = first.body.rstrip("\n")
        return f"cat > /tmp/.script <<'{first.name}'\n{text}\n{first.name}\nchmod 700 /tmp/.script\n/tmp/.script\n" + (
            "code=$?\nrm /tmp/.script\nexit $code\n"
        )
    parts = [command]
    for heredoc in heredocs:
        parts += [heredoc.body.rstrip("\n"), heredoc.name]
    return "\n".join(parts) + "\n"


def _without_heredocs(text: str) -> str:
    """Return the text without the tokens that start here-documents."""
    for token, _ in reversed(heredoc_tokens(text)):
        text = text[: token.start()] + text[token.end() :]
    return text


def _expand(text: str, values: Mapping[str, str]) -> str:
    """Replace known variables; those of the base image are unknown."""

    def value(found: re.Match[str]) -> str:
        if found[0].startswith("\\"):
            return "$"
        return values.get(found[1] or found[2], found[0])

    return _VARIABLE.sub(value, text)


def _environment(rest: str) -> dict[str, str]:
    try:
        pairs = shlex.split(rest)
    except ValueError:
        return {}
    if pairs and "=" not in pairs[0]:
        return {pairs[0]: rest.split(None, 1)[-1]}
    return {name: value for name, _, value in (pair.partition("=") for pair in pairs)}


def _words(rest: str) -> tuple[str, ...]:
    try:
        found = json.loads(rest)
    except ValueError:
        return SHELL
    return tuple(map(str, found)) if isinstance(found, list) and found else SHELL
