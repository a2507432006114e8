"""Loads the settings from the command line, the environment, the TOML file and the defaults."""

import difflib
import os
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, get_type_hints

import msgspec
from msgspec import Meta

from hythe.settings.table import Settings
from hythe.settings.validators import InvalidSettings
from hythe.settings.values import InvalidValue, SettingsError, with_unit, without_unit

CONFIG_FILE = Path("/etc/hythe/hythe.toml")
"""The file that is read if neither ``--config`` nor ``HYTHE_CONFIG`` is set."""

_BOOLEANS = {"yes": True, "on": True, "true": True, "1": True, "no": False, "off": False, "false": False, "0": False}

_NO_CHECKS: Mapping[str, Callable[[Settings], object]] = MappingProxyType({})

_PASSWORDS = (re.compile(r"(://[^:/@\s]*:)\S*(?=@)"), re.compile(r"([?&]password=)[^&\s]*"))
"""Passwords in a URL, or in several URLs separated by spaces."""

_RENAMED = {"builds_key": "secret_key", "webhook_networks": "internal_networks"}
"""Settings of older versions, and their present names."""


class Origin(msgspec.Struct, frozen=True):
    """A row of ``hythe settings``: the effective value, its source and its description."""

    name: str
    value: str
    source: str
    meaning: str


class LoadedSettings(msgspec.Struct, frozen=True):
    """The effective settings, and the source of each."""

    settings: Settings
    sources: Mapping[str, str]

    def origins(self) -> Iterator[Origin]:
        """Yield the rows of the table in order; passwords in values are masked."""
        for name, meta in descriptions().items():
            value = getattr(self.settings, name)
            units = _units(name)
            shown = with_unit(value, units) if units and isinstance(value, int) else _masked(value, meta)
            yield Origin(name, shown, self.sources.get(name, "default"), meta.description or "")


def load(
    flags: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] = os.environ,
    config: str | None = None,
    defaults: Mapping[str, Any] | None = None,
    checks: Mapping[str, Callable[[Settings], object]] = _NO_CHECKS,
) -> LoadedSettings:
    """Load the settings. Raises SettingsError, which names everything that is wrong.

    ``flags`` are those of the command line (None: not given); ``defaults`` override the defaults of the table.
    ``checks`` are for settings with a value; they raise InvalidValue, or InvalidSettings if others are wrong, too.
    """
    values: dict[str, Any] = dict(defaults or {})
    sources: dict[str, str] = {}
    problems: list[str] = []
    for source, layer in _layers(flags or {}, environment, config, problems):
        for name, value in layer.items():
            sources[name] = source
            try:
                values[name] = _convert(name, value, source)
            except SettingsError as error:
                problems.append(str(error))
    settings, invalid = _valid(values)
    for name, check in checks.items():
        if getattr(settings, name) and name not in invalid:
            invalid |= _problems_of(name, check, settings)
    problems += [f"{name} ({sources.get(name, 'default')}): {problem}" for name, problem in invalid.items()]
    if problems:
        raise SettingsError("\n".join(problems))
    return LoadedSettings(settings, sources)


def _valid(values: Mapping[str, Any]) -> tuple[Settings, dict[str, InvalidValue]]:
    """Return the settings without invalid values, and what is wrong with those."""
    try:
        return Settings(**values), {}
    except InvalidSettings as error:
        invalid = dict(error.problems)
        # Without one of two settings that belong together the other one would count as invalid.
        names = invalid.keys() | ({"tls_cert", "tls_key"} if invalid.keys() & {"tls_cert", "tls_key"} else set())
        return Settings(**{name: value for name, value in values.items() if name not in names}), invalid


def _problems_of(name: str, check: Callable[[Settings], object], settings: Settings) -> dict[str, InvalidValue]:
    try:
        check(settings)
    except InvalidValue as problem:
        return {name: problem}
    except InvalidSettings as several:
        return dict(several.problems)
    return {}


def descriptions() -> dict[str, Meta]:
    """Return the Meta of each setting (its description, and how to mask it), in the order of the table."""
    hints = _hints()
    return {name: _meta(hints[name]) for name in Settings.__struct_fields__}


@cache
def _hints() -> Mapping[str, Any]:
    """Return the annotations of the table; resolving them takes milliseconds."""
    return get_type_hints(Settings, include_extras=True)


def _meta(hint: Any) -> Meta:
    return next(m for m in hint.__metadata__ if isinstance(m, Meta) and m.description)


def _layers(
    flags: Mapping[str, Any], environment: Mapping[str, str], config: str | None, problems: list[str]
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the sources of settings in rising order, with their values; add names that are wrong to ``problems``."""
    path = config or environment.get("HYTHE_CONFIG")
    if path or CONFIG_FILE.exists():
        file = Path(path or CONFIG_FILE)
        yield f"file {file}", _read_file(file, problems)
    names = Settings.__struct_fields__
    problems += [
        _renamed(f"environment HYTHE_{old.upper()}", old) for old in _RENAMED if f"HYTHE_{old.upper()}" in environment
    ]
    for name in names:
        variable = f"HYTHE_{name.upper()}"
        if variable in environment:
            yield f"environment {variable}", {name: environment[variable]}
    for name in names:
        if flags.get(name) is not None:
            yield f"flag --{name.replace('_', '-')}", {name: flags[name]}


def _read_file(path: Path, problems: list[str]) -> Mapping[str, Any]:
    """Return the settings in a file; add names that are wrong to ``problems``. Raises SettingsError."""
    try:
        with path.open("rb") as file:
            table = tomllib.load(file)
    except OSError as error:
        raise SettingsError(f"cannot read the settings file {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path} is not valid TOML: it is not UTF-8") from error
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise SettingsError(f"{path} is not valid TOML: {error}") from error
    named: dict[str, Any] = {}
    for written, value in table.items():
        name = written.replace("-", "_")
        if name in _RENAMED:
            problems.append(_renamed(f"file {path}", name))
        elif name not in Settings.__struct_fields__:
            problems.append(f"file {path}: unknown setting {written!r}; {_suggestion(name)}")
        elif name in named:
            problems.append(f"file {path}: {name} is set twice, with - and with _: remove one")
        else:
            named[name] = value
    return named


def _suggestion(name: str) -> str:
    near = difflib.get_close_matches(name, Settings.__struct_fields__, n=1, cutoff=0.7)
    return f"did you mean {near[0]}?" if near else "'hythe settings' lists all settings"


def _renamed(source: str, old: str) -> str:
    return f"{source}: the setting {old} is now called {_RENAMED[old]}: rename it; its value stays"


def _convert(name: str, value: Any, source: str) -> Any:
    hint = _hints()[name]
    if isinstance(value, str):
        value = without_unit(value, _units(name))
    if hint.__origin__ is bool and isinstance(value, str):
        value = _BOOLEANS.get(value.strip().lower(), value)
    if name == "public_url" and isinstance(value, str):
        value = _normalized_url(value)
    try:
        return msgspec.convert(value, hint, strict=False)
    except msgspec.ValidationError as error:
        hints = [_meta(hint).description or ""]
        if units := _units(name):
            hints.append(f"Use a whole number, optionally with a unit: {', '.join(units)}.")
        raise SettingsError(f"{name} ({source}): {error}; {' '.join(hints)}") from error


def _normalized_url(url: str) -> str:
    """Return a URL with scheme and host in lower case and without a last slash, which means the same."""
    scheme, separator, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme.lower()}{separator}{host.lower()}{slash + path if path or not host else ''}"


def _units(name: str) -> Mapping[str, int]:
    """Return the units of a setting with their values, largest first; empty if it has none."""
    metadata = _hints()[name].__metadata__
    found: Iterator[Mapping[str, int]] = (m.extra["units"] for m in metadata if m.extra and "units" in m.extra)
    return next(found, {})


def _masked(value: Any, meta: Meta) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if not meta.extra or not value:
        return str(value)
    if meta.extra["masked"] == "all":
        return "(set)"
    for pattern in _PASSWORDS:
        value = pattern.sub(r"\1***", value)
    return str(value)
