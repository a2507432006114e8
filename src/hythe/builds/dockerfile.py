"""Dockerfiles, as far as a build must understand them: instructions, base images, heredocs.

Docker's "Dockerfile reference": parser directives, continuation lines, ``ARG`` before ``FROM``, here-documents.
"""

import json
import re
from collections.abc import Iterator, Mapping

import msgspec

from hythe.builds.errors import InvalidSetup

LARGEST = 1 << 20
_ESCAPE = re.compile(r"#\s*escape\s*=\s*([\\`])\s*$", re.IGNORECASE)
_DIRECTIVE = re.compile(r"#\s*[a-z]+\s*=", re.IGNORECASE)
_HEREDOC = re.compile(r"<<(-?)([\"']?)([A-Za-z0-9_.]+)\2")
_VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)(?:(:?[-+])([^}]*))?\})")
_FLAG = re.compile(r"--([a-z-]+)(?:=(\S+))?\s+")


class Heredoc(msgspec.Struct, frozen=True):
    """A here-document; ``literal``: its name was quoted, nothing in it is replaced."""

    name: str
    body: str
    literal: bool


class Instruction(msgspec.Struct, frozen=True):
    """One instruction; ``rest`` is on one line; ``first`` and ``last`` are line numbers from 0."""

    word: str
    rest: str
    first: int
    last: int
    heredocs: tuple[Heredoc, ...] = ()

    def flags(self) -> tuple[dict[str, str], str]:
        """Return the ``--flags`` at the beginning, and what comes after them."""
        found, rest = {}, self.rest
        while match := _FLAG.match(rest):
            found[match[1]] = match[2] or ""
            rest = rest[match.end() :]
        return found, rest


class Stage(msgspec.Struct, frozen=True):
    """One ``FROM``: the base with variables filled in, and the stage's name if it has one."""

    base: str
    name: str
    platform: str


def parse(text: str) -> list[Instruction]:
    """Return the instructions of a Dockerfile. Raises InvalidSetup for one that breaks off."""
    lines = text.splitlines()
    return list(_instructions(lines, _escape_of(lines)))


def stages(instructions: list[Instruction], arguments: Mapping[str, str]) -> list[Stage]:
    """Return the stages, their bases filled in from ``ARG`` lines before them and from ``arguments``."""
    known: dict[str, str] = {}
    found: list[Stage] = []
    for instruction in instructions:
        if instruction.word == "ARG" and not found:
            name, equals, value = instruction.rest.partition("=")
            default = fill(value.strip().strip("\"'"), known) if equals else ""
            known[name.strip()] = arguments.get(name.strip(), default)
        elif instruction.word == "FROM":
            flags, rest = instruction.flags()
            words = fill(rest, known).split()
            name = words[2] if len(words) > 2 and words[1].lower() == "as" else ""
            found.append(Stage(words[0] if words else "", name.lower(), fill(flags.get("platform", ""), known)))
    if not found or not all(stage.base for stage in found):
        raise InvalidSetup("the Dockerfile has no FROM line that names a base image", "begin it with FROM IMAGE")
    return found


def base_images(text: str, arguments: Mapping[str, str]) -> tuple[str, ...]:
    """Return every image that the Dockerfile takes something from, as written. Raises InvalidSetup."""
    instructions = parse(text)
    found = stages(instructions, arguments)
    names = {stage.name for stage in found if stage.name}
    own = names | {str(number) for number in range(len(found))} | {"scratch", ""}
    used = [stage.base for stage in found]
    for instruction in instructions:
        if instruction.word in ("COPY", "ADD"):
            used.append(instruction.flags()[0].get("from", ""))
        elif instruction.word == "RUN":
            mount = instruction.flags()[0].get("mount", "")
            used += [part[5:] for part in mount.split(",") if part.startswith("from=")]
    return tuple(dict.fromkeys(image for image in used if image.lower() not in own and "$" not in image))


def fill(text: str, values: Mapping[str, str]) -> str:
    """Return ``text`` with ``$NAME``, ``${NAME}``, ``${NAME:-word}`` and ``${NAME:+word}`` replaced."""

    def value(found: re.Match[str]) -> str:
        name, sign, word = found[1] or found[2], found[3] or "", found[4] or ""
        known = values.get(name, "")
        if sign.endswith("+"):
            return word if known else ""
        return known or word

    return _VARIABLE.sub(value, text)


def without_heredocs(text: str, folder: str) -> tuple[str, dict[str, str]]:
    """Return the Dockerfile for builders that know no here-documents, and the files that it needs then.

    ``RUN <<EOF`` becomes a call of the shell, ``COPY <<EOF /path`` a copy of a file below the build context's
    ``folder``. The files are named by path in the context.
    """
    lines = text.splitlines()
    files: dict[str, str] = {}
    result: list[str] = []
    position = 0
    for instruction in parse(text):
        result += lines[position : instruction.first]
        if instruction.heredocs:
            result.append(_plain(instruction, folder, files))
        else:
            result += lines[instruction.first : instruction.last + 1]
        position = instruction.last + 1
    result += lines[position:]
    return "\n".join(result) + "\n", files


def _plain(instruction: Instruction, folder: str, files: dict[str, str]) -> str:
    if instruction.word == "RUN":
        flags, rest = _flag_text(instruction.rest)
        script = _script(rest, instruction.heredocs)
        return f"RUN {flags}{json.dumps(['/bin/sh', '-c', script])}"
    rest = instruction.rest
    for heredoc in instruction.heredocs:
        path = f"{folder}/{len(files)}/{heredoc.name}"
        files[path] = heredoc.body
        rest = _HEREDOC.sub(path, rest, count=1)
    return f"{instruction.word} {rest}"


def _script(rest: str, heredocs: tuple[Heredoc, ...]) -> str:
    """The shell's own here-documents do the same; alone, the first one is the script."""
    first = heredocs[0]
    if _HEREDOC.sub("", rest).strip() == "" and len(heredocs) == 1:
        return first.body
    parts = [rest]
    for heredoc in heredocs:
        parts += [heredoc.body.rstrip("\n"), heredoc.name]
    return "\n".join(parts) + "\n"


def _flag_text(rest: str) -> tuple[str, str]:
    start = 0
    while match := _FLAG.match(rest, start):
        start = match.end()
    return rest[:start], rest[start:]


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
        joined, number = _joined(lines, number, escape)
        word, _, rest = joined.strip().partition(" ")
        heredocs: list[Heredoc] = []
        if word.upper() in ("RUN", "COPY", "ADD"):
            for dash, quote, name in _HEREDOC.findall(rest):
                body, number = _body(lines, number, name, stripped=bool(dash))
                heredocs.append(Heredoc(name, body, bool(quote)))
        yield Instruction(word.upper(), rest.strip(), first, number - 1, tuple(heredocs))


def _joined(lines: list[str], number: int, escape: str) -> tuple[str, int]:
    """Return a line with those that continue it (comments between are left out), and the number after them."""
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
    raise InvalidSetup(f"the here-document <<{name} does not end", f"add a line {name}")
