"""The credential files of Docker, podman and hythe, in all current and historical formats.

    $REGISTRY_AUTH_FILE                              podman's, if set
    $DOCKER_CONFIG/config.json, ~/.docker/config.json
    $XDG_RUNTIME_DIR/containers/auth.json            podman's
    $XDG_CONFIG_HOME/containers/auth.json            podman's
    ~/.dockercfg                                     Docker's until 1.7, in two formats

``$DOCKER_AUTH_CONFIG`` contains a config.json and takes precedence over all files.
"""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from hythe.client import credential_helpers
from hythe.client.credentials import (
    ANONYMOUS,
    DOCKER_HUB_KEY,
    Credential,
    decode_pair,
    key_target,
    match_length,
    server_key,
)
from hythe.client.disk_space import writing
from hythe.client.errors import InvalidConfiguration, os_error_message
from hythe.client.file_lock import locked, replace_user_file


class CredentialFile(msgspec.Struct, frozen=True):
    """The content of one file: credentials by key, and the helpers that store others."""

    credentials: dict[str, Credential]
    helpers: dict[str, str] = {}
    store: str = ""

    def helper_for(self, host: str) -> str:
        """Return the helper that stores the credentials of ``host``, "" if the file itself does."""
        named = (name for key, name in self.helpers.items() if key_target(key) == host)
        return next(named, self.store)


class CredentialFiles:
    """The user's credentials, looked up like docker and podman do, and written like docker does."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._environment = environment
        self._home = Path(environment.get("HOME", "/root"))

    @property
    def docker_path(self) -> Path:
        """Docker's ``config.json``."""
        return Path(self._environment.get("DOCKER_CONFIG") or self._home / ".docker") / "config.json"

    @property
    def legacy_path(self) -> Path:
        """Docker's ``.dockercfg`` (2013 to 2015)."""
        return self._home / ".dockercfg"

    @property
    def written_path(self) -> Path:
        """The file that login writes to: ``$REGISTRY_AUTH_FILE``, else docker's."""
        return Path(self._environment.get("REGISTRY_AUTH_FILE") or self.docker_path)

    def find(self, host: str, repository: str = "") -> Credential:
        """Return the credential with the most specific matching key, the first file's if equal; else ANONYMOUS."""
        best, credential = 0, ANONYMOUS
        for file in self._files():
            for key, candidate in file.credentials.items():
                fit = match_length(key, host, repository)
                if fit > best and candidate:
                    best, credential = fit, candidate
            if best < 1 and (helper := file.helper_for(host)):
                stored = credential_helpers.get(helper, server_key(host))
                best, credential = (1, stored) if stored else (best, credential)
        return credential

    def hosts(self) -> tuple[str, ...]:
        """Return the keys that the user is logged in to, as typed."""
        return tuple(dict.fromkeys(key for file in self._files() for key in file.credentials))

    def save(self, host: str, credential: Credential, typed: str = "", *, legacy: bool = False) -> Path:
        """Store a credential like docker does, or in ``.dockercfg`` under the server as ``typed``; returns the file."""
        if legacy:
            _change(self.legacy_path, lambda fields: _put_legacy(fields, typed or server_key(host), credential))
            return self.legacy_path
        path = self.written_path
        key = server_key(host)
        helper = _read(path).helper_for(host) if path.exists() else ""
        if helper:
            credential_helpers.store(helper, key, credential)
        _change(path, lambda fields: _put(fields, key, {} if helper else _entry(credential)))
        return path

    def remove(self, host: str) -> bool:
        """Remove the credentials for ``host`` from every file that login writes; returns whether there were any."""
        removed = False
        for path in dict.fromkeys((self.written_path, self.docker_path, self.legacy_path)):
            if not path.exists():
                continue
            file = _read(path)
            keys = [key for key in file.credentials if key_target(key) == host]
            helper = file.helper_for(host)
            if helper and (keys or credential_helpers.get(helper, server_key(host))):  # not all clients write the key
                credential_helpers.erase(helper, server_key(host))
                removed = True
            if keys:
                _change(path, partial(_drop, keys))
                removed = True
        return removed

    def _files(self) -> Iterator[CredentialFile]:
        if inline := self._environment.get("DOCKER_AUTH_CONFIG"):
            yield _parse(inline, "DOCKER_AUTH_CONFIG")
        for path in self._paths():
            if path.is_file():
                yield _read(path)

    def _paths(self) -> Iterator[Path]:
        if chosen := self._environment.get("REGISTRY_AUTH_FILE"):
            yield Path(chosen)
        yield self.docker_path
        if runtime := self._environment.get("XDG_RUNTIME_DIR"):
            yield Path(runtime) / "containers" / "auth.json"
        yield Path(self._environment.get("XDG_CONFIG_HOME") or self._home / ".config") / "containers" / "auth.json"
        yield self.legacy_path


def _read(path: Path) -> CredentialFile:
    try:
        return _parse(path.read_text(), str(path))
    except UnicodeDecodeError as error:
        raise InvalidConfiguration(f"{path} is not a text file", "move it away and log in again") from error
    except OSError as error:
        raise InvalidConfiguration(os_error_message(error), "it must be a file that you can read") from error


def _parse(text: str, source: str) -> CredentialFile:
    """Parse any format: config.json and auth.json, the JSON .dockercfg, and the older one with two lines."""
    if not text.strip():
        return CredentialFile({})
    if not text.lstrip().startswith("{"):
        return CredentialFile({DOCKER_HUB_KEY: _two_lines(text, source)})
    fields = _decode(text, source)
    auths = _object(fields, "auths", source) if _is_modern(fields) else fields
    credentials = {key: _credential(value) for key, value in auths.items() if isinstance(value, dict)}
    helpers = _object(fields, "credHelpers", source)
    return CredentialFile(
        credentials,
        {key: name for key, name in helpers.items() if isinstance(name, str)},
        str(fields.get("credsStore") or ""),
    )


def _object(fields: Mapping[str, Any], name: str, source: str) -> dict[str, Any]:
    """Return an object in a file, an empty one if it is missing or null; raises InvalidConfiguration."""
    value = fields.get(name) or {}
    if not isinstance(value, dict):
        raise InvalidConfiguration(f"{source}: {name} is not an object", "correct it, or log in again")
    return value


def _is_modern(fields: Mapping[str, Any]) -> bool:
    """Whether this is a config.json: its objects are sections, those of .dockercfg are servers."""
    return "auths" in fields or not any(isinstance(v, dict) and "auth" in v for v in fields.values())


def _decode(text: str, source: str) -> dict[str, Any]:
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidConfiguration(
            f"{source} is not valid JSON: {error}", "correct it, or move it away and log in again"
        ) from error
    if not isinstance(fields, dict):
        raise InvalidConfiguration(f"{source} is not a JSON object", "move it away and log in again")
    return fields


def _two_lines(text: str, source: str) -> Credential:
    halves = (line.partition("=") for line in text.splitlines())
    pairs = {name.strip(): value.strip() for name, _, value in halves}
    if "auth" not in pairs:
        raise InvalidConfiguration(f"{source}: missing line 'auth = ..'", "move it away and log in again")
    return Credential(*decode_pair(pairs["auth"]), email=pairs.get("email", ""))


def _credential(entry: Mapping[str, Any]) -> Credential:
    name, password = decode_pair(str(entry.get("auth") or ""))
    return Credential(
        username=name or str(entry.get("username") or ""),
        password=password or str(entry.get("password") or ""),
        identity_token=str(entry.get("identitytoken") or ""),
        registry_token=str(entry.get("registrytoken") or ""),
        email=str(entry.get("email") or ""),
    )


def _entry(credential: Credential) -> dict[str, str]:
    entry = {"auth": credential.encoded} if credential.username else {}
    if credential.identity_token:
        entry["identitytoken"] = credential.identity_token
    return entry


def _put(fields: dict[str, Any], key: str, entry: dict[str, str]) -> None:
    fields["auths"] = {**(fields.get("auths") or {}), key: entry}


def _put_legacy(fields: dict[str, Any], key: str, credential: Credential) -> None:
    fields[key] = {"auth": credential.encoded, "email": credential.email}
    ordered = sorted(fields.items())
    fields.clear()
    fields.update(ordered)


def _drop(keys: list[str], fields: dict[str, Any]) -> None:
    for key in keys:
        (fields.get("auths") or fields).pop(key, None)


def _change(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Apply ``change`` to the JSON object in a file, under a lock, and replace the file with mode 0600.

    Indented with tabs, like docker does. If the path is a symbolic link, its target is replaced; a file that cannot
    be replaced, such as a bind mount in a container, is written in place and keeps its mode.
    """
    path = path.resolve()
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with locked(path.parent), writing(path):
        text = path.read_text() if path.exists() else ""
        if text.strip() and not text.lstrip().startswith("{"):
            old = _two_lines(text, str(path))
            fields: dict[str, Any] = {DOCKER_HUB_KEY: {"auth": old.encoded, "email": old.email}}
        else:
            fields = _decode(text, str(path)) if text.strip() else {}
        change(fields)
        replace_user_file(path, json.dumps(fields, indent="\t", ensure_ascii=False).encode(), 0o600)
