"""Loads the settings from the command line, the environment, the TOML file and the defaults."""

import os
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, get_type_hints

import msgspec
from msgspec import Meta

from hythe.settings.table import Settings
from hythe.settings.validators import InvalidSettings
from hythe.settings.values import InvalidValue, SettingsError, with_unit, without_unit

CONFIG_FILE = Path("/etc/hythe/hythe.toml")
"""The file that is read if neither ``--config`` nor ``HYTHE_CONFIG`` is set."""

_BOOLEANS = {"yes": True, "on": True, "true": True, "1": True, "no": False, "off": False, "false": False, "0": False}

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

    def require(self, checks: Mapping[str, Callable[[Settings], object]]) -> None:
        """Return if the settings with a value pass their checks. Raises SettingsError, which names all that do not.

        A check raises InvalidValue, or InvalidSettings if it also concerns other settings.
        """
        problems: dict[str, InvalidValue] = {}
        for name, check in checks.items():
            if getattr(self.settings, name):
                try:
                    check(self.settings)
                except InvalidValue as problem:
                    problems[name] = problem
                except InvalidSettings as several:
                    problems |= several.problems
        if problems:
            raise _describe(problems, self.sources)

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
) -> LoadedSettings:
    """Load the settings. Raises SettingsError.

    ``flags`` are those of the command line (None: not given); ``defaults`` override the defaults of the table.
    """
    values: dict[str, Any] = dict(defaults or {})
    sources: dict[str, str] = {}
    for source, layer in _layers(flags or {}, environment, config):
        for name, value in layer.items():
            values[name] = _convert(name, value, source)
            sources[name] = source
    try:
        return LoadedSettings(Settings(**values), sources)
    except InvalidSettings as error:
        raise _describe(error.problems, sources) from error


def descriptions() -> dict[str, Meta]:
    """Return the Meta of each setting (its description, and how to mask it), in the order of the table."""
    hints = get_type_hints(Settings, include_extras=True)
    return {name: _meta(hints[name]) for name in Settings.__struct_fields__}


def _meta(hint: Any) -> Meta:
    return next(m for m in hint.__metadata__ if isinstance(m, Meta) and m.description)


def _layers(
    flags: Mapping[str, Any], environment: Mapping[str, str], config: str | None
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    path = config or environment.get("HYTHE_CONFIG")
    if path or CONFIG_FILE.exists():
        file = Path(path or CONFIG_FILE)
        yield f"file {file}", _read_file(file)
    names = Settings.__struct_fields__
    _refuse_renamed(
        {old: f"environment HYTHE_{old.upper()}" for old in _RENAMED if f"HYTHE_{old.upper()}" in environment}
    )
    for name in names:
        variable = f"HYTHE_{name.upper()}"
        if variable in environment:
            yield f"environment {variable}", {name: environment[variable]}
    for name in names:
        if flags.get(name) is not None:
            yield f"flag --{name.replace('_', '-')}", {name: flags[name]}


def _read_file(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            table = tomllib.load(file)
    except OSError as error:
        raise SettingsError(f"cannot read the settings file {path}: {error.strerror}") from error
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path} is not valid TOML: {error}") from error
    named = {name.replace("-", "_"): value for name, value in table.items()}
    _refuse_renamed({old: str(path) for old in _RENAMED if old in named})
    unknown = sorted(set(named) - set(Settings.__struct_fields__))
    if unknown:
        raise SettingsError(f"{path}: unknown setting {', '.join(unknown)}; 'hythe settings' lists all settings")
    return named


def _refuse_renamed(sources: Mapping[str, str]) -> None:
    """Raise SettingsError if one of ``sources``, by setting, still has the name of an older version."""
    for old, source in sources.items():
        raise SettingsError(f"{source}: the setting {old} is now called {_RENAMED[old]}: rename it; its value stays")


def _convert(name: str, value: Any, source: str) -> Any:
    hint = get_type_hints(Settings, include_extras=True)[name]
    if isinstance(value, str):
        value = without_unit(value, _units(name))
    if get_type_hints(Settings)[name] is bool and isinstance(value, str):
        value = _BOOLEANS.get(value.strip().lower(), value)
    try:
        return msgspec.convert(value, hint, strict=False)
    except msgspec.ValidationError as error:
        hints = [_meta(hint).description or ""]
        if units := _units(name):
            hints.append(f"Use a whole number, optionally with a unit: {', '.join(units)}.")
        raise SettingsError(f"{name} ({source}): {error}; {' '.join(hints)}") from error


def _describe(problems: Mapping[str, InvalidValue], sources: Mapping[str, str]) -> SettingsError:
    lines = (f"{name} ({sources.get(name, 'default')}): {problem}" for name, problem in problems.items())
    return SettingsError("\n".join(lines))


def _units(name: str) -> Mapping[str, int]:
    """Return the units of a setting with their values, largest first; empty if it has none."""
    metadata = get_type_hints(Settings, include_extras=True)[name].__metadata__
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
