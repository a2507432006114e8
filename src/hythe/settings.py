"""The settings of the server, as one frozen value.

A setting comes from the command line, the environment (``HYTHE_`` and the name in capitals), the TOML file or its
default; earlier ones take precedence. ``hythe settings`` prints the table, and ``docs/settings.md`` repeats it.
"""

import ipaddress
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, get_type_hints

import msgspec
from msgspec import Meta

IPNetwork: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

CONFIG_FILE = Path("/etc/hythe/hythe.toml")
"""The file that is read if neither ``--config`` nor ``HYTHE_CONFIG`` is set."""

_BOOLEANS = {"yes": True, "on": True, "true": True, "1": True, "no": False, "off": False, "false": False, "0": False}

_SECONDS = {"w": 7 * 86400, "d": 86400, "h": 3600, "m": 60, "s": 1}
_BYTES = {"TiB": 1 << 40, "GiB": 1 << 30, "MiB": 1 << 20, "KiB": 1 << 10} | {"TB": 10**12, "GB": 10**9, "MB": 10**6}
_BYTES |= {"kB": 1000, "B": 1} | {"t": 1 << 40, "g": 1 << 30, "m": 1 << 20, "k": 1 << 10}
_AMOUNT = re.compile(r"(\d{1,18})\s*([A-Za-z]+)")

_PASSWORDS = (re.compile(r"(://[^:/@\s]*:)\S*(?=@)"), re.compile(r"([?&]password=)[^&\s]*"))
"""Passwords in a URL, or in several URLs separated by spaces."""

Positive = Meta(ge=1)
Seconds = Meta(extra={"units": _SECONDS})
Bytes = Meta(extra={"units": _BYTES})
NotNegative = Meta(ge=0)
Count = Meta(ge=0, le=2**31 - 1)
"""A number that fits into an integer column of the database."""


class SettingsError(ValueError):
    """A setting is invalid; the message names it, its source and the valid values."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Every setting with its description. Times are in seconds and sizes in bytes, unless they have a unit."""

    listen: Annotated[str, Meta(description="Address to listen on, HOST:PORT.")] = "127.0.0.1:5000"
    data: Annotated[str, Meta(description="Folder for all data: database, blobs, keys.")] = "~/.local/share/hythe/hub"
    public_url: Annotated[
        str,
        Meta(description="Public URL of the hub, such as https://hub.example.com; empty: the host of each request."),
    ] = ""
    trusted_proxies: Annotated[
        str,
        Meta(
            description="Reverse proxies whose X-Forwarded-For is trusted: addresses or networks separated by spaces."
        ),
    ] = ""
    database_url: Annotated[
        str,
        Meta(
            description="Database: postgresql://USER:PASSWORD@HOST/NAME; empty: SQLite in the data folder.",
            extra={"masked": "password"},
        ),
    ] = ""
    blob_store: Annotated[
        str,
        Meta(description="Where blobs are stored: s3://BUCKET, gs://BUCKET or az://CONTAINER; empty: the data folder."),
    ] = ""
    redirect_blobs: Annotated[
        bool, Meta(description="Whether clients download blobs directly from the object store, through presigned URLs.")
    ] = True
    mirrors: Annotated[
        str,
        Meta(
            description="Registries to mirror: NAME=URL, separated by spaces, such as docker.io=https://registry-1.docker.io.",
            extra={"masked": "password"},
        ),
    ] = ""
    mirror_age: Annotated[
        int,
        Seconds,
        NotNegative,
        Meta(description="Mirrored images that were not pulled for this long are deleted; 0: never."),
    ] = 30 * 86400
    mirror_size: Annotated[
        int,
        Bytes,
        NotNegative,
        Meta(description="Maximum size of all mirrored images; the least recently pulled are deleted; 0: no limit."),
    ] = 0
    tls_cert: Annotated[str, Meta(description="TLS certificate file (PEM); empty: plain HTTP.")] = ""
    tls_key: Annotated[str, Meta(description="Private key file (PEM) of the TLS certificate.")] = ""
    sign_up: Annotated[bool, Meta(description="Whether anyone can create an account.")] = True
    private_repositories: Annotated[
        Annotated[int, Count] | Literal["unlimited"],
        Meta(description="Private repositories that a new account can have: a number, or unlimited."),
    ] = "unlimited"
    forges: Annotated[
        str,
        Meta(
            description="Forges that users can link accounts of, separated by spaces: KIND+https://[CLIENT_ID:SECRET@]HOST.",
            extra={"masked": "password"},
        ),
    ] = "github+https://github.com bitbucket+https://bitbucket.org gitlab+https://gitlab.com gitea+https://codeberg.org"
    manifest_size: Annotated[int, Bytes, Positive, Meta(description="Maximum size of a manifest.")] = 4 * 1024 * 1024
    grace_period: Annotated[
        int,
        Seconds,
        NotNegative,
        Meta(description="How long garbage collection keeps deleted images and blobs that no image uses."),
    ] = 86400
    upload_lifetime: Annotated[
        int, Seconds, Positive, Meta(description="An unfinished upload expires after this time without data.")
    ] = 86400
    replaced_lifetime: Annotated[
        int,
        Seconds,
        NotNegative,
        Meta(description="How long a manifest is kept after its last tag moved to another one; 0: forever."),
    ] = 0
    garbage_interval: Annotated[
        int, Seconds, Positive, Meta(description="Interval between garbage collections of the running server.")
    ] = 600
    token_lifetime: Annotated[
        int, Seconds, Meta(ge=60, description="How long an access token of the token server is valid.")
    ] = 300
    idle_timeout: Annotated[
        int, Seconds, Positive, Meta(description="A connection without a request is closed after this time.")
    ] = 75
    stall_timeout: Annotated[
        int, Seconds, Positive, Meta(description="A transfer is aborted after this time without progress.")
    ] = 120
    stop_timeout: Annotated[
        int, Seconds, NotNegative, Meta(description="How long running transfers can continue after SIGTERM.")
    ] = 20
    builds_workers: Annotated[
        int,
        NotNegative,
        Meta(description="Builds that hythe serve runs at the same time; 0: none, only separate workers build."),
    ] = 1
    worker_token: Annotated[
        str,
        Meta(
            description="Shared secret of separate workers; empty: only the worker inside hythe serve can connect.",
            extra={"masked": "all"},
        ),
    ] = ""
    builds_key: Annotated[
        str,
        Meta(
            description="Key that encrypts stored secrets, 32 bytes in base64; empty: a file in the data folder.",
            extra={"masked": "all"},
        ),
    ] = ""
    builds_folder: Annotated[
        str, Meta(description="Folder for a worker's disks and caches; empty: the folder builds in the data folder.")
    ] = ""
    builds_builder: Annotated[
        str,
        Meta(
            description="buildah, or docker=ADDRESS or buildkit=ADDRESS for a daemon that isolates builds itself.",
            pattern="^(buildah|docker=.+|buildkit=[a-z-]+://.+)$",
        ),
    ] = "buildah"
    builds_buildkit_certificates: Annotated[
        str, Meta(description="Folder with ca.pem, cert.pem and key.pem for BuildKit with TLS; empty: no TLS.")
    ] = ""
    builds_buildkit_name: Annotated[
        str, Meta(description="Server name in BuildKit's certificate; empty: the host of its address.")
    ] = ""
    builds_isolation: Annotated[
        str,
        Meta(
            description="full: a worker does not start where it cannot isolate builds fully; weaker: it starts anyway.",
            pattern="^(full|weaker)$",
        ),
    ] = "full"
    builds_first_uid: Annotated[
        int,
        Meta(
            description="First user id of builds on the host; each build uses 65536 ids.",
            ge=65536,
            le=1_000_000_000,
        ),
    ] = 1_000_000_000
    builds_network: Annotated[
        str,
        Meta(
            description="Network access of build steps: off, registry (this registry only) or open (any host).",
            pattern="^(off|registry|open)$",
        ),
    ] = "open"
    builds_processors: Annotated[float, Meta(description="Maximum number of CPU cores of a build.", gt=0)] = 2.0
    builds_memory: Annotated[int, Bytes, Positive, Meta(description="Maximum memory of a build.")] = 4 << 30
    builds_processes: Annotated[int, Positive, Meta(description="Maximum number of processes of a build.")] = 2048
    builds_disk: Annotated[int, Bytes, Positive, Meta(description="Maximum disk space of a build.")] = 20 << 30
    builds_files: Annotated[int, Positive, Meta(description="Maximum number of files of a build.")] = 1_000_000
    builds_timeout: Annotated[int, Seconds, Positive, Meta(description="Maximum duration of a build.")] = 3600
    builds_log_size: Annotated[int, Bytes, Positive, Meta(description="Maximum size of a build log.")] = 8 << 20
    builds_per_account: Annotated[
        int, NotNegative, Meta(description="Builds of one account that can run at the same time; 0: no limit.")
    ] = 4
    builds_lease: Annotated[
        int,
        Seconds,
        Positive,
        Meta(description="A build is given to another worker after this time without a heartbeat."),
    ] = 30
    builds_supersede_running: Annotated[
        bool, Meta(description="Whether a newer commit also cancels a running build of an older one.")
    ] = False
    webhook_networks: Annotated[
        str, Meta(description="Internal networks that webhooks can reach, such as 10.0.0.0/8; empty: none; *: all.")
    ] = ""
    mail_server: Annotated[
        str,
        Meta(
            description="Mail server: smtp://USER:PASSWORD@HOST:PORT, or smtps://; empty: no e-mail is sent.",
            extra={"masked": "password"},
        ),
    ] = ""
    mail_from: Annotated[str, Meta(description="Sender address of e-mail.")] = "hythe@localhost"
    log_format: Annotated[str, Meta(pattern="^(text|json)$", description="Format of log lines: text or json.")] = "text"

    def __post_init__(self) -> None:
        _host_and_port(self.listen)
        if bool(self.tls_cert) != bool(self.tls_key):
            raise SettingsError("only one of tls_cert and tls_key is set: set both, or neither")
        _parse_networks(self.trusted_proxies)

    @property
    def data_folder(self) -> Path:
        """The data folder as an absolute path."""
        return Path(self.data).expanduser().absolute()

    @property
    def proxies(self) -> tuple[IPNetwork, ...]:
        """The networks of trusted proxies."""
        return _parse_networks(self.trusted_proxies)

    @property
    def private_limit(self) -> int | None:
        """How many private repositories a new account can have; None: unlimited."""
        return None if self.private_repositories == "unlimited" else self.private_repositories

    @property
    def address(self) -> tuple[str, int]:
        """The host and port to listen on; port 0 selects a free one."""
        return _host_and_port(self.listen)


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
            shown = _with_unit(value, _units(name)) if _units(name) else _masked(value, meta)
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
    return LoadedSettings(Settings(**values), sources)


def descriptions() -> dict[str, Meta]:
    """Return the Meta of each setting (its description, and how to mask it), in the order of the table."""
    hints = get_type_hints(Settings, include_extras=True)
    return {name: _meta(hints[name]) for name in Settings.__struct_fields__}


def _host_and_port(listen: str) -> tuple[str, int]:
    host, colon, port = listen.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535:
        raise SettingsError(f"listen: {listen!r} is invalid: use HOST:PORT, such as 127.0.0.1:5000 or [::]:5000")
    return host.strip("[]"), int(port)


def _parse_networks(text: str) -> tuple[IPNetwork, ...]:
    try:
        return tuple(ipaddress.ip_network(part, strict=False) for part in text.split())
    except ValueError as error:
        raise SettingsError(f"trusted_proxies: {error}: use addresses or networks such as 10.0.0.0/8") from error


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
    unknown = sorted(set(named) - set(Settings.__struct_fields__))
    if unknown:
        raise SettingsError(f"{path}: unknown setting {', '.join(unknown)}; 'hythe settings' lists all settings")
    return named


def _convert(name: str, value: Any, source: str) -> Any:
    hint = get_type_hints(Settings, include_extras=True)[name]
    if isinstance(value, str):
        value = _without_unit(value, _units(name))
    if get_type_hints(Settings)[name] is bool and isinstance(value, str):
        value = _BOOLEANS.get(value.strip().lower(), value)
    try:
        return msgspec.convert(value, hint, strict=False)
    except msgspec.ValidationError as error:
        hints = [_meta(hint).description or ""]
        if units := _units(name):
            hints.append(f"Use a whole number, optionally with a unit: {', '.join(units)}.")
        raise SettingsError(f"{name} ({source}): {error}; {' '.join(hints)}") from error


def _units(name: str) -> Mapping[str, int]:
    """Return the units of a setting with their values, largest first; empty if it has none."""
    metadata = get_type_hints(Settings, include_extras=True)[name].__metadata__
    found: Iterator[Mapping[str, int]] = (m.extra["units"] for m in metadata if m.extra and "units" in m.extra)
    return next(found, {})


def _without_unit(text: str, units: Mapping[str, int]) -> str:
    """Return ``16MiB`` as a number of bytes; return other text unchanged."""
    amount = _AMOUNT.fullmatch(text.strip())
    if amount is None:
        return text
    by_spelling = {unit.lower(): worth for unit, worth in units.items()}
    worth = by_spelling.get(amount[2].lower())
    return text if worth is None else str(int(amount[1]) * worth)


def _with_unit(value: int, units: Mapping[str, int]) -> str:
    """Return a number with the largest unit that divides it."""
    unit = next((unit for unit, worth in units.items() if value and value % worth == 0), "")
    return f"{value // units[unit]}{unit}" if unit else str(value)


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
