"""Parses Dockerfiles as far as a build requires: instructions, base images, here-documents.

Docker's "Dockerfile reference": parser directives, continuation lines, ``ARG`` before ``FROM``, here-documents.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

import msgspec

from hythe.oci.dockerfile_lexer import UnsetVariable, expand, split_words
from hythe.worker.errors import InvalidDockerfile

_DIRECTIVE = re.compile(r"#\s*(syntax|escape|check)\s*=\s*(.*\S)\s*$", re.IGNORECASE)
_WORD = re.compile(r"""(?:"(?:\\.|[^"\\])*"|'[^']*'|\\.|[^\s"'\\])+""")
_HEREDOC = re.compile(r"""\d*<<(-?)(?:(["'])([^"'<]+)\2|([^\s"'<>|&;()$]+))""")
_FLAG = re.compile(r"""--([a-z][a-z-]*)(?:=((?:"(?:\\.|[^"\\])*"|'[^']*'|\\.|[^\s"'\\])*))?(?:\s+|$)""")
_NONE: Mapping[str, str] = MappingProxyType({})
HEREDOC_KEYWORDS = ("RUN", "COPY", "ADD")
"""The instructions that can have here-documents."""


class Heredoc(msgspec.Struct, frozen=True):
    """A here-document; ``literal``: its delimiter was quoted, so nothing is replaced."""

    name: str
    body: str
    literal: bool


class Instruction(msgspec.Struct, frozen=True):
    """An instruction; ``rest`` is on one line; ``first`` and ``last`` are line numbers from 0."""

    keyword: str
    rest: str
    first: int
    last: int
    heredocs: tuple[Heredoc, ...] = ()

    @property
    def place(self) -> str:
        """Where the instruction is, for messages."""
        return f"Dockerfile line {self.first + 1}"

    @property
    def flags(self) -> str:
        """The ``--flags`` at the start, with the space after them."""
        end = 0
        while match := _FLAG.match(self.rest, end):
            end = match.end()
        return self.rest[:end]

    @property
    def operands(self) -> str:
        """The text after the flags."""
        return self.rest[len(self.flags) :]

    @property
    def all_flags(self) -> list[tuple[str, str | None]]:
        """The names of the flags with their values, which keep their quotes; None for a flag without one."""
        return [(match[1], match[2]) for match in _FLAG.finditer(self.flags)]

    def flag(self, name: str) -> list[str]:
        """Return the values of a flag, which may be repeated, without quotes."""
        return [_unquoted(value or "") for found, value in self.all_flags if found == name]

    def without_flags(self, *names: str) -> str:
        """Return the flags but those with these names, with the space after them."""
        return "".join(match[0] for match in _FLAG.finditer(self.flags) if match[1] not in names)

    @property
    def json_words(self) -> tuple[str, ...] | None:
        """The operands in JSON form; None if they have another form."""
        try:
            return msgspec.json.decode(self.operands, type=tuple[str, ...])
        except msgspec.MsgspecError:
            return None

    @property
    def words(self) -> tuple[str, ...]:
        """The operands in JSON form, or as words with their quotes."""
        found = self.json_words
        return tuple(self.operands.split()) if found is None else found


class Stage(msgspec.Struct, frozen=True):
    """A ``FROM`` instruction: the base image with variables filled in, and the stage's name if it has one."""

    base: str
    name: str
    platform: str


class BaseImage(msgspec.Struct, frozen=True):
    """An image that a Dockerfile uses; ``platform`` is empty for the build's platform."""

    name: str
    platform: str = ""


def parse(text: str) -> list[Instruction]:
    """Return the instructions of a Dockerfile. Raises InvalidDockerfile if it is incomplete."""
    return list(_instructions(text.split("\n"), escape_of(text)))


def syntax_image(text: str) -> str:
    """Return the image that a line ``# syntax=IMAGE`` names, which BuildKit runs to read the Dockerfile; or ""."""
    return _directives(text).get("syntax", "")


def escape_of(text: str) -> str:
    """Return the character that continues lines: a backslash, or what ``# escape=`` names."""
    found = _directives(text).get("escape", "\\")
    if found not in ("\\", "`"):
        raise InvalidDockerfile(f"the Dockerfile's # escape={found} is neither a backslash nor a backtick")
    return found


def directive_count(text: str) -> int:
    """Return the number of lines at the start that are parser directives."""
    lines = text.split("\n")
    return next((number for number, line in enumerate(lines) if not _DIRECTIVE.match(line.strip())), len(lines))


def _directives(text: str) -> dict[str, str]:
    """Return the parser directives, which are the first lines."""
    lines = text.split("\n")[: directive_count(text)]
    found = (_DIRECTIVE.match(line.strip()) for line in lines)
    return {directive[1].lower(): directive[2] for directive in found if directive}


def stages(
    instructions: Sequence[Instruction], arguments: Mapping[str, str], automatic: Mapping[str, str] = _NONE
) -> list[Stage]:
    """Return the stages; their base images are filled in from preceding ``ARG`` lines, ``arguments`` and ``automatic``.

    Raises InvalidDockerfile.
    """
    known: dict[str, str] = {}
    found: list[Stage] = []
    for instruction in instructions:
        if instruction.keyword == "ARG" and not found:
            known |= argument_values(instruction, known, arguments)
        elif instruction.keyword == "FROM":
            values = {**automatic, **known}
            words = filled_in(instruction, instruction.operands, values)
            name = words[2] if len(words) > 2 and words[1].lower() == "as" else ""
            platform = "".join(filled_in(instruction, "".join(instruction.flag("platform")), values))
            if not words or not words[0]:
                raise InvalidDockerfile(f"{instruction.place}: FROM names no base image: {_unset(instruction)}")
            found.append(Stage(words[0], name.lower(), platform))
    if not found:
        raise InvalidDockerfile("the Dockerfile has no FROM line that names a base image (begin it with FROM IMAGE)")
    return found


def filled_in(instruction: Instruction, text: str, values: Mapping[str, str]) -> list[str]:
    """Return the words of a part of an instruction, without quotes and with variables replaced.

    Raises InvalidDockerfile.
    """
    try:
        return [expand(word, values) for word in split_words(text)]
    except UnsetVariable as error:
        raise InvalidDockerfile(f"{instruction.place}: {error}") from error


def _unset(instruction: Instruction) -> str:
    if not instruction.operands:
        return "write FROM IMAGE"
    return f"{instruction.operands} is empty; declare the variable with ARG before FROM"


def argument_values(instruction: Instruction, known: Mapping[str, str], arguments: Mapping[str, str]) -> dict[str, str]:
    """Return the values of the arguments that an ``ARG`` line declares; "" for one without a value."""
    found: dict[str, str] = {}
    for word in _WORD.findall(instruction.rest):
        name, equals, value = word.partition("=")
        default = "".join(filled_in(instruction, value, {**known, **found})) if equals else ""
        found[name] = arguments.get(name, default)
    return found


def base_images(text: str, arguments: Mapping[str, str], automatic: Mapping[str, str] = _NONE) -> tuple[BaseImage, ...]:
    """Return all images that the Dockerfile uses, named as written. Raises InvalidDockerfile."""
    return tuple(dict.fromkeys(base for _, base in used_images(parse(text), arguments, automatic)))


def rename_base_images(
    text: str, arguments: Mapping[str, str], automatic: Mapping[str, str], names: Mapping[BaseImage, str]
) -> str:
    """Return the Dockerfile with other names for some of its base images.

    If one stage names its platform, write it for all stages: versions of buildah before 2023 do not expand variables
    there, and apply the platform to later stages.
    """
    lines = text.split("\n")
    instructions = parse(text)
    found = stages(instructions, arguments, automatic)
    has_platforms = any(stage.platform for stage in found)
    for instruction, stage in zip([each for each in instructions if each.keyword == "FROM"], found, strict=True):
        platform = stage.platform or automatic.get("TARGETPLATFORM", "")
        flags = f"--platform={platform} " if has_platforms else instruction.flags
        name, *rest = instruction.operands.split()
        whole = f"FROM {flags}{' '.join([names.get(BaseImage(stage.base, stage.platform), name), *rest])}"
        lines[instruction.first : instruction.last + 1] = [whole, *[""] * (instruction.last - instruction.first)]
    for instruction, base in used_images(instructions, arguments, automatic):
        if instruction.keyword != "FROM" and base in names:
            for number in range(instruction.first, instruction.last + 1):
                pattern = rf"\bfrom={re.escape(base.name)}(?=[,\s]|$)"
                lines[number] = re.sub(pattern, f"from={names[base]}", lines[number])
    return "\n".join(lines).rstrip("\n") + "\n"


def used_images(
    instructions: Sequence[Instruction], arguments: Mapping[str, str], automatic: Mapping[str, str]
) -> Iterator[tuple[Instruction, BaseImage]]:
    """Yield all images that an instruction uses, except stages of the Dockerfile itself."""
    found = stages(instructions, arguments, automatic)
    own = {stage.name for stage in found} | {str(number) for number in range(len(found))} | {"scratch", ""}
    number = -1
    for instruction in instructions:
        used: list[str] = []
        if instruction.keyword == "FROM":
            number += 1
            used = [found[number].base]
        elif instruction.keyword in ("COPY", "ADD"):
            used = instruction.flag("from")
        elif instruction.keyword == "RUN":
            parts = ",".join(instruction.flag("mount")).split(",")
            used = [part[5:] for part in parts if part.startswith("from=")]
        for name in used:
            if name.lower() not in own and "$" not in name:
                yield instruction, BaseImage(name, found[max(number, 0)].platform)


def heredoc_tokens(text: str) -> list[tuple[re.Match[str], re.Match[str]]]:
    """Return the tokens that start a here-document, with their parts. A shift ``1<<3`` or a quoted ``<<`` does not."""
    tokens = [(token, _HEREDOC.fullmatch(token[0])) for token in _WORD.finditer(text)]
    return [(token, parts) for token, parts in tokens if parts is not None]


def _instructions(lines: list[str], escape: str) -> Iterator[Instruction]:
    number = 0
    while number < len(lines):
        if not lines[number].strip() or lines[number].lstrip().startswith("#"):
            number += 1
            continue
        first = number
        joined, number = _join_lines(lines, number, escape)
        word, *rest = joined.strip().split(None, 1) or [""]
        heredocs: list[Heredoc] = []
        if word.upper() in HEREDOC_KEYWORDS:
            for _, found in heredoc_tokens("".join(rest)):
                name = found[3] or found[4]
                body, number = _body(lines, number, name, stripped=bool(found[1]), start=first)
                heredocs.append(Heredoc(name, body, bool(found[2])))
        yield Instruction(word.upper(), "".join(rest).strip(), first, number - 1, tuple(heredocs))


def _join_lines(lines: list[str], number: int, escape: str) -> tuple[str, int]:
    """Return a line with its continuation lines, without comments between them, and the number of the next line."""
    continued = re.compile(rf"(?<!{re.escape(escape)}){re.escape(escape)}[ \t]*$")
    parts: list[str] = []
    while number < len(lines):
        line = lines[number].rstrip("\r")
        number += 1
        if parts and (line.lstrip().startswith("#") or not line.strip()):
            continue
        found = continued.search(line)
        if found is None:
            parts.append(line)
            break
        parts.append(line[: found.start()])
    return "".join(parts), number


def _body(lines: list[str], number: int, name: str, *, stripped: bool, start: int) -> tuple[str, int]:
    body: list[str] = []
    while number < len(lines):
        line = lines[number].lstrip("\t") if stripped else lines[number]
        number += 1
        if line.rstrip("\r") == name:
            return "".join(f"{each}\n" for each in body), number
        body.append(line)
    raise InvalidDockerfile(
        f"Dockerfile line {start + 1}: the here-document <<{name} has no end (add a line that is only {name})"
    )


def _unquoted(value: str) -> str:
    """Return a flag's value without its quotes; variables stay."""
    return re.sub(r"""["']""", "", value)
