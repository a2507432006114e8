"""Flags of the server verbs, one per setting, generated from the table of settings."""

from argparse import ArgumentParser, BooleanOptionalAction, Namespace
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType

from hythe.settings import LoadedSettings, Settings, descriptions, load

PLACEHOLDERS = {
    "listen": "HOST:PORT",
    "data": "FOLDER",
    "processes": "N|auto",
    "connections": "N",
    "connections_per_address": "N",
    "allowed_hosts": "NAMES",
    "trusted_proxies": "ADDRESSES",
    "blob_store": "URL",
    "mail_server": "URL",
    "mail_from": "ADDRESS",
    "private_repositories": "N|unlimited",
    "repositories_per_account": "N|unlimited",
    "storage_per_account": "SIZE|unlimited",
    "uploads_per_account": "N|unlimited",
    "build_minutes_per_account": "N|unlimited",
    "builds_workers": "N",
    "builds_per_account": "N",
    "builds_processors": "N",
    "builds_processes": "N",
    "builds_files": "N",
    "builds_buildkit_certificates": "FOLDER",
    "tls_cert": "FILE",
    "tls_key": "FILE",
}
"""Placeholders of values in the help; the default is the last word of the setting's name."""

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
            parser.add_argument(flag, metavar=PLACEHOLDERS.get(name, name.rpartition("_")[2].upper()), help=meaning)


def load_settings(
    arguments: Namespace,
    defaults: Mapping[str, str] | None = None,
    checks: Mapping[str, Callable[[Settings], object]] = MappingProxyType({}),
) -> LoadedSettings:
    """Return the settings for a verb with flags from ``add_setting_flags``. Raises SettingsError.

    ``defaults`` are the verb's defaults for settings without a value; ``checks`` see ``load``.
    """
    given = {name: getattr(arguments, name, None) for name in Settings.__struct_fields__}
    return load(given, config=arguments.config, defaults=defaults, checks=checks)
