"""The settings of the server: one documented table (``table.py``), loaded from flags, environment and a file."""

from hythe.settings.loading import LoadedSettings, Origin, descriptions, load
from hythe.settings.table import Settings
from hythe.settings.values import Count, IPNetwork, SettingsError

__all__ = ["Count", "IPNetwork", "LoadedSettings", "Origin", "Settings", "SettingsError", "descriptions", "load"]
