"""Rewrites Dockerfiles for buildah 1.28: without here-documents, and without flags and sources that it does not know.

What replaces them is in a build context of its own: if these files were part of the source, ``COPY .`` would copy them.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence

import msgspec

from hythe.oci.dockerfile_lexer import end_of_variable, expand
from hythe.worker.dockerfiles.features import SYMBOLIC_MODE
from hythe.worker.dockerfiles.git_source import GitSource, parse_git_source
from hythe.worker.dockerfiles.parsing import (
    Heredoc,
    Instruction,
    directive_count,
    escape_of,
    filled_in,
    heredoc_tokens,
    parse,
)
from hythe.worker.dockerfiles.stage_scope import StageScope
from hythe.worker.errors import InvalidDockerfile

CONTEXT = "hythe-files"
"""Name of the additional build context."""
_VARIABLE = re.compile(r"\\\$|\$(?:(\w+)|\{(\w+)\})")
_UNKNOWN_FORM = re.compile(r"\$\{\w+(?:[#%/?]|:\?|[-+])")
"""Forms of variables that buildah 1.28 does not know."""
_EXPANDED = ("ADD", "COPY", "ENV", "EXPOSE", "LABEL", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR")
"""The instructions in which variables are replaced, besides FROM and ARG."""
_PREPARED_FLAGS = ("link", "parents", "exclude", "checksum", "keep-git-dir", "unpack")
_URLS = ("http://", "https://")
_TRUE = ("", "true", "1")


class SelectedSource(msgspec.Struct, frozen=True):
    """The sources of one COPY or ADD that buildah cannot read by itself; ``place`` is for messages."""

    place: str
    number: int
    """Which prepared source of the Dockerfile it is, from 0."""
    paths: tuple[str, ...]
    """Paths in the build context, URLs, or addresses of git repositories."""
    excluded: tuple[str, ...] = ()
    with_parents: bool = False
    mode: str = ""
    """A symbolic mode for the files."""
    checksum: str = ""
    keep_git_folder: bool = False

    @property
    def git(self) -> GitSource | None:
        """The git repository, if it is one."""
        return parse_git_source(self.paths[0])

    @property
    def is_url(self) -> bool:
        """Whether the source is a file at a URL."""
        return self.git is None and self.paths[0].startswith(_URLS)


class Rewritten(msgspec.Struct, frozen=True):
    """A Dockerfile for buildah."""

    text: str
    files: dict[str, str]
    """The files of the context CONTEXT by path."""
    written: dict[int, Instruction]
    """The instruction of the original Dockerfile that starts at this line of ``text``, from 0."""
    offline: frozenset[int]
    """The lines of RUN instructions without network."""


Prepare = Callable[[SelectedSource], str]
"""Puts the files into CONTEXT; returns the path to copy from there."""


def selected_sources(text: str, arguments: Mapping[str, str]) -> list[SelectedSource]:
    """Return all sources that must be prepared for buildah. Raises InvalidDockerfile."""
    found: list[SelectedSource] = []

    def note(source: SelectedSource) -> str:
        found.append(source)
        return ""

    rewrite(text, arguments, note)
    return found


def rewrite(text: str, arguments: Mapping[str, str], prepare: Prepare, *, is_online: bool = True) -> Rewritten:
    """Return the Dockerfile for buildah. ``is_online``: whether steps have a network. Raises InvalidDockerfile.

    ``RUN <<EOF`` becomes a call of the shell, ``COPY <<EOF /path`` a copy from CONTEXT, like other sources that
    ``prepare`` provides there. ``COPY --link`` becomes a COPY: it changes how a layer is created, not its content.
    """
    return _Rewriting(text, arguments, prepare, is_online=is_online).run()


def without_sandbox_flags(text: str, *, is_online: bool = True) -> str:
    """Return the Dockerfile without the flags of RUN that name what it has anyway, for builders that refuse them.

    The network ``host`` of a step is that of the build, never the worker's.
    """
    networks = "default|host" if is_online else "default|host|none"
    flags = re.compile(rf"""--(?:network=["']?(?:{networks})["']?|security=["']?sandbox["']?)(?:\s+|$)""")
    return _without(text, ("RUN",), flags)


def without_link(text: str) -> str:
    """Return the Dockerfile without ``COPY --link``, which changes how a layer is created, not its content."""
    return _without(text, ("COPY", "ADD"), re.compile(r"--link(?:=\S*)?(?:\s+|$)"))


def _without(text: str, keywords: Sequence[str], flags: re.Pattern[str]) -> str:
    lines = text.split("\n")
    for instruction in parse(text):
        left = len(flags.findall(instruction.flags)) if instruction.keyword in keywords else 0
        for number in range(instruction.first, instruction.last + 1):
            lines[number], count = flags.subn("", lines[number], count=left) if left else (lines[number], 0)
            left -= count
    return "\n".join(lines)


class _Rewriting:
    """Rewrites one Dockerfile, instruction by instruction."""

    def __init__(self, text: str, arguments: Mapping[str, str], prepare: Prepare, *, is_online: bool) -> None:
        self._text = text
        self._prepare = prepare
        self._is_online = is_online
        self._needs_all_urls = False
        self._files: dict[str, str] = {}
        self._prepared = 0
        self._scope = StageScope(arguments)
        self._escape = escape_of(text)

    def run(self) -> Rewritten:
        lines = [line.rstrip("\r") for line in self._text.split("\n")]
        if self._escape != "\\":
            # buildah 1.28 stops at a directive that it does not know, such as check.
            lines[: directive_count(self._text)] = [
                f"# escape={self._escape}",
                *["#"] * (directive_count(self._text) - 1),
            ]
        instructions = parse(self._text)
        # A step without network needs what came before it from the layer cache, which fetches URLs again.
        self._needs_all_urls = any(self._is_offline(each) for each in instructions)
        result: list[str] = []
        written: dict[int, Instruction] = {}
        offline: set[int] = set()
        position = 0
        for instruction in instructions:
            result += lines[position : instruction.first]
            if self._is_offline(instruction):
                offline.add(len(result))
            for text in self._rewritten(instruction) or ["\n".join(lines[instruction.first : instruction.last + 1])]:
                written[len(result)] = instruction
                result += text.split("\n")
            self._scope.enter(instruction)
            position = instruction.last + 1
        result += lines[position:]
        return Rewritten("\n".join(result).rstrip("\n") + "\n", self._files, written, frozenset(offline))

    def _is_offline(self, instruction: Instruction) -> bool:
        return self._is_online and instruction.keyword == "RUN" and "none" in instruction.flag("network")

    def _rewritten(self, instruction: Instruction) -> list[str]:
        """Return the lines that replace an instruction; nothing if it stays."""
        keyword = instruction.keyword
        if keyword == "RUN":
            return self._run(instruction)
        if instruction.heredocs:
            return self._copy_of_heredocs(instruction)
        if keyword in ("COPY", "ADD"):
            return self._copy(instruction)
        if keyword in _EXPANDED and _UNKNOWN_FORM.search(instruction.rest):
            return [f"{keyword} {self._replaced(instruction, instruction.rest)}"]
        return []

    def _run(self, instruction: Instruction) -> list[str]:
        flags = instruction.without_flags("network", "security")
        if not instruction.heredocs and flags == instruction.flags:
            return []
        # The space makes it another step for the layer cache: a step without network takes nothing from one with it.
        start = "RUN  " if self._is_offline(instruction) else "RUN "
        if instruction.heredocs:
            script = _script(instruction.operands, instruction.heredocs)
            return [f"{start}{flags}{json.dumps([*self._scope.shell, script])}"]
        return [f"{start}{flags}{instruction.operands}"]

    def _copy_of_heredocs(self, instruction: Instruction) -> list[str]:
        sources = []
        for heredoc in instruction.heredocs:
            sources.append(f"h{len(self._files)}/{heredoc.name}")
            self._files[sources[-1]] = heredoc.body if heredoc.literal else _expand(heredoc.body, self._scope.values)
        *others, target = _without_heredocs(instruction.operands).split()
        flags = instruction.without_flags("link")
        copies = [f"COPY {flags}--from={CONTEXT} {json.dumps([*sources, target])}"]
        if others:
            copies.append(f"{instruction.keyword} {flags}{' '.join(others)} {target}")
        return copies

    def _copy(self, instruction: Instruction) -> list[str]:
        """Return the COPY or ADD without what buildah does not know; nothing if it knows all of it."""
        if instruction.flag("from") or not self._must_prepare(instruction):
            rest = f"{self._other_flags(instruction)}{instruction.operands}"
            if _UNKNOWN_FORM.search(rest):
                rest = self._replaced(instruction, rest)
            return [f"{self._plain_keyword(instruction)} {rest}"] if rest != instruction.rest else []
        *sources, target = instruction.words
        named = [self._known(instruction, source) for source in sources]
        mode = "".join(self._known(instruction, each) for each in instruction.flag("chmod"))
        is_symbolic = bool(SYMBOLIC_MODE.fullmatch(mode))
        dropped = (*_PREPARED_FLAGS, "chmod") if is_symbolic else _PREPARED_FLAGS
        copies = []
        for paths in _grouped(named):
            source = SelectedSource(
                place=instruction.place,
                number=self._prepared,
                paths=paths,
                excluded=tuple(self._known(instruction, each) for each in instruction.flag("exclude")),
                with_parents=_is_set(instruction, "parents"),
                mode=mode if is_symbolic else "",
                checksum="".join(self._known(instruction, each) for each in instruction.flag("checksum")),
                keep_git_folder=_is_set(instruction, "keep-git-dir"),
            )
            self._prepared += 1
            path = self._prepare(source)
            flags = instruction.without_flags(*dropped)
            copies.append(f"COPY {flags}--from={CONTEXT} {json.dumps([path, target])}")
        return copies

    def _must_prepare(self, instruction: Instruction) -> bool:
        if any(instruction.flag(name) for name in ("parents", "exclude", "checksum", "keep-git-dir")):
            return True
        if any(SYMBOLIC_MODE.fullmatch(mode) for mode in instruction.flag("chmod")):
            return True
        sources = instruction.words[:-1]
        if instruction.keyword != "ADD":
            return False
        return any(parse_git_source(word) or (self._needs_all_urls and word.startswith(_URLS)) for word in sources)

    def _other_flags(self, instruction: Instruction) -> str:
        names = ("link", "unpack") if not instruction.flag("from") else ("link",)
        return instruction.without_flags(*names)

    def _plain_keyword(self, instruction: Instruction) -> str:
        """Return COPY for an ADD that must not unpack, because COPY does not."""
        return "COPY" if instruction.flag("unpack") == ["false"] else instruction.keyword

    def _known(self, instruction: Instruction, text: str) -> str:
        """Return a word with its variables replaced. Raises InvalidDockerfile if the base image could set one."""
        for name in re.findall(r"\$\{?(\w+)", text):
            if name not in self._scope.values and not self._scope.is_complete:
                raise InvalidDockerfile(
                    f"{instruction.place}: the Dockerfile sets no variable {name}, and buildah cannot take it from the"
                    " base image here: declare it with ARG or ENV"
                )
        return "".join(filled_in(instruction, text, self._scope.values)) if "$" in text or "\\" in text else text

    def _replaced(self, instruction: Instruction, text: str) -> str:
        """Return a text with those variables replaced whose form buildah does not know."""
        parts: list[str] = []
        position = 0
        quote = ""
        while position < len(text):
            char = text[position]
            if char == self._escape and quote != "'":
                parts.append(text[position : position + 2])
                position += 2
                continue
            if char in "\"'" and quote in ("", char):
                quote = "" if quote else char
            end = end_of_variable(text, position) if quote != "'" else position
            if end > position and _UNKNOWN_FORM.match(text, position):
                self._known(instruction, re.sub(r"[^\w].*", "", "$" + text[position + 2 : end], flags=re.DOTALL))
                parts.append(self._quoted(expand(text[position:end], self._scope.values), quote))
            else:
                parts.append(text[position : max(end, position + 1)])
            position = max(end, position + 1)
        return "".join(parts)

    def _quoted(self, value: str, quote: str) -> str:
        special = '["\\\\$]' if quote else r"""["'\\$\s]"""
        return re.sub(special, lambda found: f"{self._escape}{found[0]}", value)


def _is_set(instruction: Instruction, name: str) -> bool:
    return any(value.lower() in _TRUE for value in instruction.flag(name))


def _grouped(sources: Sequence[str]) -> list[tuple[str, ...]]:
    """Return the sources that can be prepared together: paths of the context, and each other one by itself."""
    paths = tuple(each for each in sources if not (each.startswith(_URLS) or parse_git_source(each)))
    return [*([paths] if paths else []), *((each,) for each in sources if each not in paths)]


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
    return command + "\n" + "".join(f"{heredoc.body}{heredoc.name}\n" for heredoc in heredocs)


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
