"""Finds mistakes in a Dockerfile before the build, so that each is reported with its line and in plain words."""

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

from hythe.worker.dockerfiles.parsing import Instruction, Stage, parse, stages
from hythe.worker.errors import InvalidDockerfile

FLAGS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "FROM": ("platform",),
        "RUN": ("mount", "network", "security", "device"),
        "COPY": ("from", "chown", "chmod", "link", "parents", "exclude"),
        "ADD": ("chown", "chmod", "link", "checksum", "keep-git-dir", "exclude", "unpack"),
        "HEALTHCHECK": ("interval", "timeout", "start-period", "start-interval", "retries"),
    }
)
"""The flags of each instruction that has some (Dockerfile reference, version 1.20)."""
_SWITCHES = ("link", "parents", "keep-git-dir", "unpack", "mount")
"""Flags that can have no value; ``--mount`` reports a missing one itself."""
_OTHERS = (
    *("CMD", "LABEL", "MAINTAINER", "EXPOSE", "ENV", "ENTRYPOINT", "VOLUME", "USER", "WORKDIR", "ARG", "ONBUILD"),
    *("STOPSIGNAL", "SHELL"),
)
KEYWORDS = (*FLAGS, *_OTHERS)
_NETWORKS = ("default", "none", "host")
_STAGE_NAME = re.compile(r"[a-z][a-z0-9_.-]*", re.IGNORECASE)
_CANNOT_TRIGGER = ("ONBUILD", "FROM", "MAINTAINER")
_JSON_COMMANDS = ("RUN", "CMD", "ENTRYPOINT")


def check(
    text: str, arguments: Mapping[str, str], automatic: Mapping[str, str], target: str, *, flags: bool = True
) -> list[str]:
    """Return warnings about a Dockerfile and the target stage. Raises InvalidDockerfile at the first mistake.

    ``flags``: whether only FLAGS are known; otherwise the builder decides.
    """
    instructions = parse(text)
    for instruction in instructions:
        _check_keyword(instruction)
    _check_first(instructions)
    warnings: list[str] = []
    for instruction in instructions:
        if flags:
            _check_flags(instruction)
        _check_form(instruction)
        warnings += _warnings(instruction)
    found = stages(instructions, arguments, automatic)
    _check_stages(instructions, found)
    _check_target(target, found)
    return warnings


def near(word: str, known: Iterable[str]) -> str:
    """Return `` (did you mean X?)`` if one of the known words is similar, otherwise nothing."""
    found = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f" (did you mean {found[0]}?)" if found else ""


def _check_keyword(instruction: Instruction) -> None:
    keyword = instruction.keyword
    if keyword not in KEYWORDS:
        raise InvalidDockerfile(f"{instruction.place}: unknown instruction {keyword[:50]}{near(keyword, KEYWORDS)}")
    if not instruction.operands.strip() and not instruction.heredocs:
        raise InvalidDockerfile(f"{instruction.place}: {keyword} needs an argument")


def _check_first(instructions: Sequence[Instruction]) -> None:
    first = next((each for each in instructions if each.keyword != "ARG"), None)
    if first is not None and first.keyword != "FROM":
        raise InvalidDockerfile(
            f"{first.place}: {first.keyword} comes before FROM: begin the Dockerfile with FROM IMAGE"
        )


def _check_flags(instruction: Instruction) -> None:
    known = FLAGS.get(instruction.keyword)
    if known is None:
        return
    for name, value in instruction.all_flags:
        if name not in known:
            similar = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            hint = f" (did you mean --{similar[0]}?)" if similar else f" (it has --{', --'.join(known)})"
            raise InvalidDockerfile(f"{instruction.place}: unknown flag --{name} for {instruction.keyword}{hint}")
        if not value and name not in _SWITCHES:
            raise InvalidDockerfile(f"{instruction.place}: --{name} of {instruction.keyword} needs a value")
    for network in instruction.flag("network"):
        if "$" not in network and network not in _NETWORKS:
            raise InvalidDockerfile(f"{instruction.place}: unknown network {network}: use {', '.join(_NETWORKS)}")


def _check_form(instruction: Instruction) -> None:
    words = instruction.words or ("",)
    first = words[0]
    match instruction.keyword:
        case "FROM" if len(words) not in (1, 3) or (len(words) == 3 and words[1].lower() != "as"):
            raise InvalidDockerfile(f"{instruction.place}: FROM has the form FROM IMAGE [AS NAME]")
        case "FROM" if len(words) == 3 and not _STAGE_NAME.fullmatch(words[2]):
            raise InvalidDockerfile(
                f"{instruction.place}: {words[2]} is no name for a stage: use letters, digits and -"
            )
        case "COPY" | "ADD" if len(words) < 2:
            raise InvalidDockerfile(f"{instruction.place}: {instruction.keyword} needs a source and a destination")
        case "ENV" | "LABEL" if len(words) < 2 and "=" not in first:
            raise InvalidDockerfile(f"{instruction.place}: {instruction.keyword} needs a value: write NAME=VALUE")
        case "ENV" | "LABEL" | "ARG" if first.startswith("="):
            raise InvalidDockerfile(f"{instruction.place}: {instruction.keyword} has a value without a name")
        case "SHELL" if not instruction.json_words:
            raise InvalidDockerfile(f'{instruction.place}: SHELL needs JSON, such as ["/bin/bash", "-c"]')
        case "HEALTHCHECK" if first.upper() not in ("CMD", "NONE"):
            raise InvalidDockerfile(f"{instruction.place}: HEALTHCHECK needs CMD or NONE, not {first}")
        case "ONBUILD" if first.upper() in _CANNOT_TRIGGER or first.upper() not in KEYWORDS:
            hint = "" if first.upper() in KEYWORDS else near(first.upper(), KEYWORDS)
            raise InvalidDockerfile(f"{instruction.place}: ONBUILD cannot have the instruction {first}{hint}")


def _warnings(instruction: Instruction) -> list[str]:
    text = instruction.operands
    is_command = instruction.keyword in _JSON_COMMANDS and instruction.json_words is None
    if not (is_command and text.startswith("[") and text.endswith("]") and ("," in text or "'" in text)):
        return []
    hint = "is not JSON, so the shell runs it as it is (JSON needs double quotes)"
    return [f"{instruction.place}: warning: {instruction.keyword} {text[:80]} {hint}"]


def _check_stages(instructions: Sequence[Instruction], found: Sequence[Stage]) -> None:
    """Check that stages are used after they are defined."""
    names = [stage.name for stage in found]
    number = -1
    for instruction in instructions:
        if instruction.keyword == "FROM":
            number += 1
            if names[number] and names[number] in names[:number]:
                raise InvalidDockerfile(
                    f"{instruction.place}: there is already a stage {names[number]}: use another name"
                )
            continue
        for name in _sources(instruction):
            _check_source(instruction, name.lower(), number, names)


def _sources(instruction: Instruction) -> list[str]:
    if instruction.keyword == "COPY":
        return instruction.flag("from")
    if instruction.keyword != "RUN":
        return []
    parts = ",".join(instruction.flag("mount")).split(",")
    return [part[5:] for part in parts if part.startswith("from=")]


def _check_source(instruction: Instruction, name: str, number: int, names: Sequence[str]) -> None:
    if name.isdigit() and int(name) >= number:
        raise InvalidDockerfile(f"{instruction.place}: there is no stage {name} before this one (they count from 0)")
    if name in names[number:] and name not in names[:number]:
        where = "this stage itself" if name == names[number] else f"the stage {name}, which comes later"
        raise InvalidDockerfile(f"{instruction.place}: {instruction.keyword} cannot use {where}: move it up")


def _check_target(target: str, found: Sequence[Stage]) -> None:
    if not target or target.lower() in {stage.name for stage in found}:
        return
    if target.isdigit() and int(target) < len(found):
        return
    names = [stage.name for stage in found if stage.name]
    known = f"its stages are {', '.join(names)}" if names else "its stages have no names"
    raise InvalidDockerfile(f"the Dockerfile has no stage {target}{near(target.lower(), names)}: {known}")
