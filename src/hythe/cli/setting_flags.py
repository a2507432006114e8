"""Flags of the server verbs, one per setting, generated from the table of settings."""

from argparse import ArgumentParser, BooleanOptionalAction, Namespace
from collections.abc import Iterable, Mapping

from hythe.settings import LoadedSettings, Settings, descriptions, load

DATABASE_FLAGS = ("data", "database_url")
"""The settings that verbs working only on the database need."""


def add_setting_flags(parser: ArgumentParser, names: Iterable[str] = Settings.__struct_fields__) -> None:
    """Add ``--config`` and a flag per setting. A flag that is not given is None."""
    parser.add_argument("--config", metavar="FILE", help="TOML file with settings (default: /etc/hythe/hythe.toml)")
    documented = descriptions()
    for name in names:
        flag = f"--{name.replace('_', '-')}"
        meaning = (documented[name].description or "").replace("%", "%%")
        if isinstance(getattr(Settings(), name), bool):
            parser.add_argument(flag, action=BooleanOptionalAction, default=None, help=meaning)
        else:
            parser.add_argument(flag, metavar=name.rpartition("_")[2].upper(), help=meaning)


def load_settings(arguments: Namespace, defaults: Mapping[str, str] | None = None) -> LoadedSettings:
    """Return the settings for a verb with flags from ``add_setting_flags``. Raises SettingsError.

    ``defaults`` are the verb's defaults for settings without a value.
    """
    given = {name: getattr(arguments, name, None) for name in Settings.__struct_fields__}
    return load(given, config=arguments.config, defaults=defaults)
