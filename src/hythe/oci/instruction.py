"""Dockerfile instructions that change a configuration, as in ``docker commit --change`` (Dockerfile reference).

CMD ENTRYPOINT ENV EXPOSE HEALTHCHECK LABEL ONBUILD STOPSIGNAL USER VOLUME WORKDIR
"""

import posixpath
import re
from collections.abc import Callable, Iterable

import msgspec

from hythe.oci.config import ContainerConfig, HealthCheck, merge_environment
from hythe.oci.dockerfile_lexer import UnsetVariable, expand, split_words
from hythe.oci.errors import OCIError

_DEFAULT_SHELL = ("/bin/sh", "-c")
_INSTRUCTION = re.compile(r"\s*([A-Za-z]+)(?:\s+(.*?))?\s*", re.DOTALL)
_CONTINUATION = re.compile(r"\\[ \t]*\n")
_PORT = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?(?:/(tcp|udp|sctp))?", re.IGNORECASE)
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)")
_NANOSECONDS = {"ns": 1, "us": 10**3, "µs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_HEALTH_FLAGS = {
    "interval": "interval",
    "timeout": "timeout",
    "start-period": "start_period",
    "start-interval": "start_interval",
    "retries": "retries",
}


class InvalidInstruction(OCIError):
    """The instruction is invalid; docker rejects it, too."""


def apply_instructions(config: ContainerConfig, texts: Iterable[str]) -> ContainerConfig:
    """Return ``config`` changed by Dockerfile instructions, one or more lines a text. Raises InvalidInstruction.

    As in a Dockerfile, ENTRYPOINT removes an earlier CMD unless an instruction sets one. An empty ENTRYPOINT keeps the
    CMD, which then runs.
    """
    sets_command = False
    for line in (line for text in texts for line in _lines(text)):
        name, arguments = _parse(line)
        sets_command = sets_command or name == "CMD"
        try:
            config = _CHANGES[name](config, arguments)
        except UnsetVariable as error:
            raise InvalidInstruction(f"{name}: {error}") from error
        if name == "ENTRYPOINT" and config.entrypoint and not sets_command:
            config = msgspec.structs.replace(config, cmd=None)
    return config


def _lines(text: str) -> list[str]:
    """Return the lines of a text without comments, continuation lines joined; an empty text is one (invalid) line."""
    joined = _CONTINUATION.sub(" ", text)
    return [line for line in joined.split("\n") if line.strip() and not line.lstrip().startswith("#")] or [text]


def _parse(line: str) -> tuple[str, str]:
    match = _INSTRUCTION.fullmatch(line)
    name = match[1].upper() if match else ""
    if match is None or name not in _CHANGES:
        raise InvalidInstruction(f"{line[:200]!r} is not a change: use one of {', '.join(_CHANGES)}")
    if not match[2]:
        raise InvalidInstruction(f"{name} needs an argument")
    return name, match[2]


def _json_words(text: str) -> tuple[str, ...] | None:
    """Return the words of the JSON form; None for the shell form."""
    try:
        return msgspec.json.decode(text, type=tuple[str, ...])
    except msgspec.MsgspecError:
        return None


def _command(config: ContainerConfig, text: str) -> tuple[str, ...]:
    words = _json_words(text)
    return (*(config.shell or _DEFAULT_SHELL), text) if words is None else words


def _cmd(config: ContainerConfig, text: str) -> ContainerConfig:
    return msgspec.structs.replace(config, cmd=_command(config, text))


def _entrypoint(config: ContainerConfig, text: str) -> ContainerConfig:
    return msgspec.structs.replace(config, entrypoint=_command(config, text) or None)


def _variables(config: ContainerConfig) -> dict[str, str]:
    pairs = (variable.partition("=") for variable in config.env or ())
    return {name: value for name, _, value in pairs}


def _pairs(config: ContainerConfig, name: str, text: str) -> list[tuple[str, str]]:
    """Return the pairs of ``KEY=VALUE ..``, or of the old form ``KEY VALUE TO THE END``."""
    variables = _variables(config)
    arguments = split_words(text)
    if "=" not in arguments[0]:
        key, _, value = text.partition(" ")
        if not value.strip():
            raise InvalidInstruction(f"{name} must have two arguments: write {name} KEY=VALUE")
        return [(expand(key, variables), expand(value.strip(), variables))]
    pairs = []
    for word in arguments:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise InvalidInstruction(f"{name}: {word!r} is not KEY=VALUE")
        pairs.append((expand(key, variables), expand(value, variables)))
    return pairs


def _env(config: ContainerConfig, text: str) -> ContainerConfig:
    additions = [f"{key}={value}" for key, value in _pairs(config, "ENV", text)]
    return msgspec.structs.replace(config, env=merge_environment(config.env, additions))


def _label(config: ContainerConfig, text: str) -> ContainerConfig:
    return msgspec.structs.replace(config, labels=(config.labels or {}) | dict(_pairs(config, "LABEL", text)))


def _expose(config: ContainerConfig, text: str) -> ContainerConfig:
    variables = _variables(config)
    ports = [port for word in split_words(text) for port in _ports(expand(word, variables))]
    return msgspec.structs.replace(config, exposed_ports=(config.exposed_ports or {}) | {port: {} for port in ports})


def _ports(text: str) -> list[str]:
    match = _PORT.fullmatch(text)
    first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
    if match is None or not 0 < first <= last < 65536:
        raise InvalidInstruction(f"EXPOSE: {text!r} is not a port: write PORT[-PORT][/tcp|udp|sctp]")
    return [f"{port}/{(match[3] or 'tcp').lower()}" for port in range(first, last + 1)]


def _healthcheck(config: ContainerConfig, text: str) -> ContainerConfig:
    flags: dict[str, int] = {}
    while text.startswith("--"):
        word, _, text = text.partition(" ")
        name, _, value = word.removeprefix("--").partition("=")
        if name not in _HEALTH_FLAGS:
            raise InvalidInstruction(f"HEALTHCHECK: unknown flag --{name}")
        flags[_HEALTH_FLAGS[name]] = _count(value) if name == "retries" else _duration(value)
        text = text.lstrip()
    kind, _, command = text.partition(" ")
    if kind.upper() == "NONE" and not command:
        return msgspec.structs.replace(config, healthcheck=HealthCheck(test=("NONE",)))
    words = _json_words(command.strip())
    if kind.upper() != "CMD" or not command.strip() or words == ():
        raise InvalidInstruction("HEALTHCHECK: write NONE, or CMD and a command")
    test = ("CMD-SHELL", command.strip()) if words is None else ("CMD", *words)
    return msgspec.structs.replace(config, healthcheck=HealthCheck(test=test, **flags))


def _count(text: str) -> int:
    if not (text.isascii() and text.isdecimal()) or int(text) == 0:
        raise InvalidInstruction(f"HEALTHCHECK: {text!r} is not a number of 1 or more")
    return int(text)


def _duration(text: str) -> int:
    """Return the nanoseconds of a duration in Go's format, such as ``1m30s``."""
    parts = list(_DURATION.finditer(text))
    if not parts or "".join(part[0] for part in parts) != text:
        raise InvalidInstruction(f"HEALTHCHECK: {text!r} is not a duration: write 30s or 1m30s")
    duration = sum(round(float(part[1]) * _NANOSECONDS[part[2]]) for part in parts)
    if 0 < duration < _NANOSECONDS["ms"]:
        raise InvalidInstruction(f"HEALTHCHECK: {text} is less than 1ms")
    return duration


def _onbuild(config: ContainerConfig, text: str) -> ContainerConfig:
    if text.split()[0].upper() in ("ONBUILD", "FROM", "MAINTAINER"):
        raise InvalidInstruction(f"{text.split()[0]} is not allowed as an ONBUILD trigger")
    return msgspec.structs.replace(config, on_build=(*(config.on_build or ()), text))


def _stopsignal(config: ContainerConfig, text: str) -> ContainerConfig:
    return msgspec.structs.replace(config, stop_signal=_single("STOPSIGNAL", config, text))


def _user(config: ContainerConfig, text: str) -> ContainerConfig:
    return msgspec.structs.replace(config, user=_single("USER", config, text))


def _single(name: str, config: ContainerConfig, text: str) -> str:
    words = split_words(text)
    if len(words) != 1:
        raise InvalidInstruction(f"{name} takes exactly one argument")
    return expand(words[0], _variables(config))


def _volume(config: ContainerConfig, text: str) -> ContainerConfig:
    words = _json_words(text)
    variables = _variables(config)
    paths = [expand(word, variables) for word in (split_words(text) if words is None else words)]
    if not paths or not all(paths):
        raise InvalidInstruction("VOLUME specified can not be an empty string")
    return msgspec.structs.replace(config, volumes=(config.volumes or {}) | {path: {} for path in paths})


def _workdir(config: ContainerConfig, text: str) -> ContainerConfig:
    path = posixpath.normpath(posixpath.join("/", config.working_dir, expand(text, _variables(config))))
    return msgspec.structs.replace(config, working_dir="/" + path.lstrip("/"))


_CHANGES: dict[str, Callable[[ContainerConfig, str], ContainerConfig]] = {
    "CMD": _cmd,
    "ENTRYPOINT": _entrypoint,
    "ENV": _env,
    "EXPOSE": _expose,
    "HEALTHCHECK": _healthcheck,
    "LABEL": _label,
    "ONBUILD": _onbuild,
    "STOPSIGNAL": _stopsignal,
    "USER": _user,
    "VOLUME": _volume,
    "WORKDIR": _workdir,
}
