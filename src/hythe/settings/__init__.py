"""The settings of the server: one documented table (``table.py``), loaded from flags, environment and a file."""

from hythe.settings.addresses import IPNetwork
from hythe.settings.internal_networks import InternalHost, InternalNetworks, parse_internal_networks
from hythe.settings.loading import LoadedSettings, Origin, descriptions, load
from hythe.settings.table import Settings
from hythe.settings.values import ByteCount, Count, InvalidValue, SettingsError, format_bytes, parse_bytes

__all__ = [
    "ByteCount",
    "Count",
    "IPNetwork",
    "InternalHost",
    "InternalNetworks",
    "InvalidValue",
    "LoadedSettings",
    "Origin",
    "Settings",
    "SettingsError",
    "descriptions",
    "format_bytes",
    "load",
    "parse_bytes",
    "parse_internal_networks",
]
