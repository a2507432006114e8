"""The client's settings: a JSON file that ``hythe config`` writes, overridden by environment variables.

``$HYTHE_CONFIG``, else ``$XDG_CONFIG_HOME/hythe/config.json`` (``~/.config/hythe/config.json``).
"""

import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from hythe.client.disk_space import writing
from hythe.client.errors import InvalidConfiguration, os_error_message
from hythe.client.file_lock import replace_user_file
from hythe.oci.reference import DEFAULT_HOST, is_host

DESCRIPTIONS = {
    "default-registry": "registry for names without a host (HYTHE_DEFAULT_REGISTRY)",
    "plain-http": "hosts to access without TLS, separated by commas (HYTHE_PLAIN_HTTP)",
    "certificate-authorities": "CA files to trust in addition to the system's (HYTHE_CERTIFICATE_AUTHORITIES)",
    "parallel-transfers": "number of layers transferred at the same time (HYTHE_PARALLEL_TRANSFERS)",
}
"""The description of each key; each key has an environment variable of the same name."""


class Configuration(msgspec.Struct, frozen=True, rename="kebab", forbid_unknown_fields=True):
    """The client's settings; the file spells field names with dashes."""

    default_registry: str = DEFAULT_HOST
    plain_http: tuple[str, ...] = ()
    certificate_authorities: tuple[str, ...] = ()
    parallel_transfers: int = 4

    def replace(self, key: str, text: str) -> "Configuration":
        """Return the configuration with ``key`` set to the value in ``text``; raises InvalidConfiguration."""
        if key not in DESCRIPTIONS:
            raise InvalidConfiguration(f"unknown setting {key!r}", f"the settings are: {', '.join(DESCRIPTIONS)}")
        field = key.replace("-", "_")
        value: object = text.strip()
        if key == "default-registry":
            value = _host(key, text)
        elif isinstance(getattr(self, field), tuple):
            value = tuple(_without_scheme(part) for part in text.split(",") if part.strip())
        elif isinstance(getattr(self, field), int):
            value = _positive(key, text)
        return msgspec.structs.replace(self, **{field: value})


def configuration_path(environment: Mapping[str, str] = os.environ) -> Path:
    """Return the path of the configuration file."""
    if chosen := environment.get("HYTHE_CONFIG"):
        return Path(chosen)
    folder = environment.get("XDG_CONFIG_HOME") or Path(environment.get("HOME", "/root")) / ".config"
    return Path(folder) / "hythe" / "config.json"


def read_configuration_file(path: Path) -> Configuration:
    """Return the settings in the file, ignoring the environment; the defaults if the file does not exist."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Configuration)
    except FileNotFoundError:
        return Configuration()
    except OSError as error:
        raise InvalidConfiguration(os_error_message(error), "it must be a file that you can read") from error
    except msgspec.MsgspecError as error:
        raise InvalidConfiguration(
            f"{path}: {error}", "correct it, or remove it and use 'hythe config set KEY VALUE'"
        ) from error


def write_configuration_file(path: Path, configuration: Configuration) -> None:
    """Replace the file with the settings that differ from the defaults."""
    defaults = msgspec.to_builtins(Configuration())
    fields = {k: v for k, v in msgspec.to_builtins(configuration).items() if v != defaults[k]}
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_user_file(path, msgspec.json.format(msgspec.json.encode(fields), indent=2) + b"\n")


def load_configuration(environment: Mapping[str, str] = os.environ) -> Configuration:
    """Return the effective settings: from the environment, else the file, else the defaults."""
    configuration = read_configuration_file(configuration_path(environment))
    for key in DESCRIPTIONS:
        if text := environment.get(variable_of(key)):
            configuration = configuration.replace(key, text)
    return configuration


def variable_of(key: str) -> str:
    """Return the environment variable that overrides a key of the file."""
    return "HYTHE_" + key.upper().replace("-", "_")


def _without_scheme(text: str) -> str:
    """Return the host of a pasted URL."""
    scheme, separator, host = text.strip().partition("://")
    return host.rstrip("/") if separator else scheme


def _host(key: str, text: str) -> str:
    host = _without_scheme(text)
    if not is_host(host):
        raise InvalidConfiguration(
            f"{key}: {text!r} is not a host", "write HOST[:PORT], such as registry.example.com:5000"
        )
    return host


def _positive(key: str, text: str) -> int:
    if not text.strip().isdigit() or not 1 <= int(text) <= 64:
        raise InvalidConfiguration(f"{key}: {text!r} is not a number from 1 to 64")
    return int(text)
