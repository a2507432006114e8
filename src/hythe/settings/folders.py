"""Checks of the folders that settings name, when a server or a worker starts. Every function raises InvalidValue."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from hythe.settings.table import Settings
from hythe.settings.values import InvalidValue


def require_writable_folder(text: str) -> None:
    """Return if this is a folder that this user can write to, or can create."""
    try:
        path = Path(text).expanduser().absolute()
        nearest = next(folder for folder in (path, *path.parents) if folder.exists())
        is_folder = nearest.is_dir()
    except (OSError, RuntimeError, ValueError) as error:
        raise InvalidValue(text, f"use the path of a folder: {_reason(error)}") from error
    if not is_folder:
        raise InvalidValue(text, f"use the path of a folder: {nearest} is a file")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise InvalidValue(text, f"use a folder that this user can write to: {nearest} is not writable")


def require_certificates(text: str) -> None:
    """Return if this is a folder with ca.pem, and with both or none of cert.pem and key.pem."""
    found = {name for name in ("ca.pem", "cert.pem", "key.pem") if (Path(text) / name).is_file()}
    needed = {"ca.pem"} if found <= {"ca.pem"} else {"ca.pem", "cert.pem", "key.pem"}
    if found != needed:
        raise InvalidValue(text, f"use a folder that has {' and '.join(sorted(needed - found))}")


FOLDER_CHECKS: Mapping[str, Callable[[Settings], object]] = MappingProxyType(
    {
        "data": lambda settings: require_writable_folder(settings.data),
        "builds_folder": lambda settings: require_writable_folder(settings.builds_folder),
        "builds_buildkit_certificates": lambda settings: require_certificates(settings.builds_buildkit_certificates),
    }
)
"""The settings that name folders."""


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
