"""Parses Dockerfiles as far as a build requires: instructions, base images, here-documents.

Docker's "Dockerfile reference": parser directives, continuation lines, ``ARG`` before ``FROM``, here-documents.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

import msgspec

from hythe.worker.errors import InvalidDockerfile

_ESCAPE = re.compile(r"#\s*escape\s*=\s*([\\`])\s*$", re.IGNORECASE)
_DIRECTIVE = re.compile(r"#\s*[a-z]+\s*=", re.IGNORECASE)
_SYNTAX = re.compile(r"#\s*syntax\s*=\s*(\S+)\s*$", re.IGNORECASE)
_WORD = re.compile(r"""(?:"(?:\\.|[^"\\])*"|'[^']*'|\\.|[^\s"'\\])+""")
_HEREDOC = re.compile(r"""\d*<<(-?)(["']?)([A-Za-z0-9_.]+)\2""")
_VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)(?:(:?[-+])([^}]*))?\})")
_FLAG = re.compile(r"--([a-z-]+)(?:=(\S+))?\s+")
_NONE: Mapping[str, str] = MappingProxyType({})


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

    def flag(self, name: str) -> list[str]:
        """Return the values of a flag, which may be repeated."""
        return [match[2] or "" for match in _FLAG.finditer(self.flags) if match[1] == name]


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
    lines = text.splitlines()
    return list(_instructions(lines, _escape_of(lines)))


def syntax_image(text: str) -> str:
    """Return the image that a line ``# syntax=IMAGE`` names, which BuildKit runs to read the Dockerfile; or ""."""
    for line in text.splitlines():
        if found := _SYNTAX.match(line.strip()):
            return found[1]
        if not _DIRECTIVE.match(line.strip()):
            break
    return ""


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
            words = expand(instruction.operands, values).split()
            name = words[2] if len(words) > 2 and words[1].lower() == "as" else ""
            platform = expand("".join(instruction.flag("platform")), values)
            found.append(Stage(words[0] if words else "", name.lower(), platform))
    if not found or not all(stage.base for stage in found):
        raise InvalidDockerfile("the Dockerfile has no FROM line that names a base image (begin it with FROM IMAGE)")
    return found


def argument_values(instruction: Instruction, known: Mapping[str, str], arguments: Mapping[str, str]) -> dict[str, str]:
    """Return the values of the arguments that an ``ARG`` line declares; "" for one without a value."""
    found: dict[str, str] = {}
    for word in _WORD.findall(instruction.rest):
        name, equals, value = word.partition("=")
        default = expand(value.strip("\"'"), {**known, **found}) if equals else ""
        found[name] = arguments.get(name, default)
    return found


def base_images(text: str, arguments: Mapping[str, str], automatic: Mapping[str, str] = _NONE) -> tuple[BaseImage, ...]:
    """Return all images that the Dockerfile uses, named as written. Raises InvalidDockerfile."""
    return tuple(dict.fromkeys(base for _, base in _used_images(parse(text), arguments, automatic)))


def rename_base_images(
    text: str, arguments: Mapping[str, str], automatic: Mapping[str, str], names: Mapping[BaseImage, str]
) -> str:
    """Return the Dockerfile with other names for some of its base images.

    If one stage names its platform, write it for all stages: versions of buildah before 2023 do not expand variables
    there, and apply the platform to later stages.
    """
    lines = text.splitlines()
    instructions = parse(text)
    found = stages(instructions, arguments, automatic)
    has_platforms = any(stage.platform for stage in found)
    for instruction, stage in zip([each for each in instructions if each.keyword == "FROM"], found, strict=True):
        platform = stage.platform or automatic.get("TARGETPLATFORM", "")
        flags = f"--platform={platform} " if has_platforms else instruction.flags
        name, *rest = instruction.operands.split()
        whole = f"FROM {flags}{' '.join([names.get(BaseImage(stage.base, stage.platform), name), *rest])}"
        lines[instruction.first : instruction.last + 1] = [whole, *[""] * (instruction.last - instruction.first)]
    for instruction, base in _used_images(instructions, arguments, automatic):
        if instruction.keyword != "FROM" and base in names:
            for number in range(instruction.first, instruction.last + 1):
                pattern = rf"\bfrom={re.escape(base.name)}(?=[,\s]|$)"
                lines[number] = re.sub(pattern, f"from={names[base]}", lines[number])
    return "\n".join(lines) + "\n"


def _used_images(
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


def expand(text: str, values: Mapping[str, str]) -> str:
    """Return ``text`` with ``$NAME``, ``${NAME}``, ``${NAME:-word}`` and ``${NAME:+word}`` replaced."""

    def value(found: re.Match[str]) -> str:
        name, sign, word = found[1] or found[2], found[3] or "", found[4] or ""
        known = values.get(name, "")
        if sign.endswith("+"):
            return word if known else ""
        return known or word

    return _VARIABLE.sub(value, text)


def heredoc_tokens(text: str) -> list[tuple[re.Match[str], re.Match[str]]]:
    """Return the tokens that start a here-document, with their parts. A shift ``1<<3`` or a quoted ``<<`` does not."""
    tokens = [(token, _HEREDOC.fullmatch(token[0])) for token in _WORD.finditer(text)]
    return [(token, parts) for token, parts in tokens if parts is not None]


def _escape_of(lines: list[str]) -> str:
    for line in lines:
        if found := _ESCAPE.match(line.strip()):
            return found[1]
        if not _DIRECTIVE.match(line.strip()):
            break
    return "\\"


def _instructions(lines: list[str], escape: str) -> Iterator[Instruction]:
    number = 0
    while number < len(lines):
        if not lines[number].strip() or lines[number].lstrip().startswith("#"):
            number += 1
            continue
        first = number
        joined, number = _join_lines(lines, number, escape)
        word, *rest = joined.strip().split(None, 1)
        heredocs: list[Heredoc] = []
        if word.upper() in ("RUN", "COPY", "ADD"):
            for _, found in heredoc_tokens("".join(rest)):
                body, number = _body(lines, number, found[3], stripped=bool(found[1]))
                heredocs.append(Heredoc(found[3], body, bool(found[2])))
        yield Instruction(word.upper(), "".join(rest).strip(), first, number - 1, tuple(heredocs))


def _join_lines(lines: list[str], number: int, escape: str) -> tuple[str, int]:
    """Return a line with its continuation lines, without comments between them, and the number of the next line."""
    parts: list[str] = []
    while number < len(lines):
        line = lines[number].rstrip()
        number += 1
        if parts and (line.lstrip().startswith("#") or not line.strip()):
            continue
        if not line.endswith(escape):
            parts.append(line)
            break
        parts.append(line[: -len(escape)])
    return " ".join(part.strip() for part in parts), number


def _body(lines: list[str], number: int, name: str, *, stripped: bool) -> tuple[str, int]:
    body: list[str] = []
    while number < len(lines):
        line = lines[number].lstrip("\t") if stripped else lines[number]
        number += 1
        if line == name:
            return "".join(f"{each}\n" for each in body), number
        body.append(line)
    raise InvalidDockerfile(f"the here-document <<{name} has no end (add a line {name})")
