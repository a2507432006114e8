"""The settings: one documented table that becomes one frozen value.

A setting's value comes, in rising order, from its default, the TOML file, the environment (``HYTHE_`` and the name in
capitals) and the command line. ``hythe settings`` prints the table; ``docs/settings.md`` repeats it, and a test
compares the two.
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

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

CONFIG_FILE = Path("/etc/hythe/hythe.toml")
"""The file that is read when neither ``--config`` nor ``HYTHE_CONFIG`` names one."""

_SPELLINGS = {"yes": True, "on": True, "true": True, "1": True, "no": False, "off": False, "false": False, "0": False}

_SECONDS = {"w": 7 * 86400, "d": 86400, "h": 3600, "m": 60, "s": 1}
_BYTES = {"TiB": 1 << 40, "GiB": 1 << 30, "MiB": 1 << 20, "KiB": 1 << 10} | {"TB": 10**12, "GB": 10**9, "MB": 10**6}
_BYTES |= {"kB": 1000, "B": 1} | {"t": 1 << 40, "g": 1 << 30, "m": 1 << 20, "k": 1 << 10}
_AMOUNT = re.compile(r"(\d{1,18})\s*([A-Za-z]+)")

_PASSWORDS = (re.compile(r"(://[^:/@\s]*:)\S*(?=@)"), re.compile(r"([?&]password=)[^&\s]*"))
"""Where a URL, or several parted by spaces, holds a password."""

Positive = Meta(ge=1)
Seconds = Meta(extra={"units": _SECONDS})
Bytes = Meta(extra={"units": _BYTES})
NotNegative = Meta(ge=0)
Count = Meta(ge=0, le=2**31 - 1)
"""What a column for whole numbers holds."""


class SettingsError(ValueError):
    """A setting that cannot be used; the text says which, where it came from and what would be right."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Every setting, each with its meaning. Times are in seconds, sizes in bytes, unless a unit says otherwise."""

    listen: Annotated[str, Meta(description="Address to listen on, HOST:PORT.")] = "127.0.0.1:5000"
    data: Annotated[str, Meta(description="Folder that holds everything: database, blobs, keys.")] = (
        "~/.local/share/hythe/hub"
    )
    public_url: Annotated[
        str, Meta(description="Address under which users reach the hub; empty: what the request was sent to.")
    ] = ""
    trusted_proxies: Annotated[
        str,
        Meta(
            description="Proxies before the server, by spaces, such as 10.0.0.0/8: their X-Forwarded-For is believed."
        ),
    ] = ""
    database_url: Annotated[
        str,
        Meta(
            description="postgresql://USER:PASSWORD@HOST/NAME; empty: SQLite in the data folder.",
            extra={"masked": "password"},
        ),
    ] = ""
    blob_store: Annotated[
        str, Meta(description="Where blobs are kept: s3://BUCKET, gs:// or az://; empty: the data folder.")
    ] = ""
    redirect_blobs: Annotated[
        bool, Meta(description="Whether clients fetch an object store's blobs from it directly, by presigned URLs.")
    ] = True
    mirrors: Annotated[
        str,
        Meta(
            description="Registries to mirror: NAME=URL, parted by spaces, such as docker.io=https://registry-1.docker.io.",
            extra={"masked": "password"},
        ),
    ] = ""
    mirror_age: Annotated[
        int,
        Seconds,
        NotNegative,
        Meta(description="What a mirror holds goes when nobody asked for it this long; 0: never."),
    ] = 30 * 86400
    mirror_size: Annotated[
        int,
        Bytes,
        NotNegative,
        Meta(description="Mirrors hold so many bytes, then the longest unused goes; 0: no limit."),
    ] = 0
    tls_cert: Annotated[str, Meta(description="Certificate file (PEM); empty: plain HTTP.")] = ""
    tls_key: Annotated[str, Meta(description="Key file (PEM) of the certificate.")] = ""
    sign_up: Annotated[bool, Meta(description="Whether anybody may make an account.")] = True
    private_repositories: Annotated[
        Annotated[int, Count] | Literal["unlimited"],
        Meta(description="Private repositories that a new account may have: a number, or unlimited."),
    ] = "unlimited"
    forges: Annotated[
        str,
        Meta(
            description="Forges that accounts can be linked with, by spaces: KIND+https://[CLIENT_ID:SECRET@]HOST.",
            extra={"masked": "password"},
        ),
    ] = "github+https://github.com bitbucket+https://bitbucket.org gitlab+https://gitlab.com gitea+https://codeberg.org"
    manifest_size: Annotated[int, Bytes, Positive, Meta(description="Largest manifest that is accepted.")] = (
        4 * 1024 * 1024
    )
    grace_period: Annotated[
        int,
        Seconds,
        NotNegative,
        Meta(description="How long what was deleted, or uploaded and not used, is kept before its space is freed."),
    ] = 86400
    upload_lifetime: Annotated[
        int, Seconds, Positive, Meta(description="An unfinished upload is forgotten when nothing came for this time.")
    ] = 86400
    replaced_lifetime: Annotated[
        int,
        Seconds,
        NotNegative,
        Meta(description="How long a manifest is kept after its last tag moved away from it; 0: for ever."),
    ] = 0
    garbage_interval: Annotated[
        int, Seconds, Positive, Meta(description="Pause between two rounds of freeing space while serving.")
    ] = 600
    token_lifetime: Annotated[
        int, Seconds, Meta(ge=60, description="How long an access token of the token server is good.")
    ] = 300
    idle_timeout: Annotated[
        int, Seconds, Positive, Meta(description="A connection without a request is closed after this time.")
    ] = 75
    stall_timeout: Annotated[
        int, Seconds, Positive, Meta(description="A transfer is cut when no byte has moved for this time.")
    ] = 120
    stop_timeout: Annotated[
        int, Seconds, NotNegative, Meta(description="How long running transfers may go on after SIGTERM.")
    ] = 20
    builds_workers: Annotated[
        int,
        NotNegative,
        Meta(description="Builds that run at once inside hythe serve; 0: none, workers run elsewhere."),
    ] = 1
    worker_token: Annotated[
        str,
        Meta(
            description="What workers on other hosts show; empty: only the worker inside hythe serve is let in.",
            extra={"masked": "all"},
        ),
    ] = ""
    builds_key: Annotated[
        str,
        Meta(
            description="Key that seals secrets of builds, 32 bytes as base64; empty: made, kept in the data folder.",
            extra={"masked": "all"},
        ),
    ] = ""
    builds_folder: Annotated[
        str, Meta(description="Where a worker keeps its disks and caches; empty: the folder builds of the data folder.")
    ] = ""
    builds_builder: Annotated[
        str,
        Meta(
            description="buildah; docker=ADDRESS or buildkit=ADDRESS: a daemon with its own containment.",
            pattern="^(buildah|docker=.+|buildkit=[a-z-]+://.+)$",
        ),
    ] = "buildah"
    builds_buildkit_certificates: Annotated[
        str, Meta(description="Folder with ca.pem, cert.pem and key.pem for a BuildKit behind TLS; empty: no TLS.")
    ] = ""
    builds_buildkit_name: Annotated[
        str, Meta(description="Name in the certificate of BuildKit; empty: the host of its address.")
    ] = ""
    builds_isolation: Annotated[
        str,
        Meta(
            description="full: a worker refuses to start where it cannot limit builds; weaker: it does without.",
            pattern="^(full|weaker)$",
        ),
    ] = "full"
    builds_first_uid: Annotated[
        int,
        Meta(
            description="First of the user numbers that builds have on the host, 65536 each.",
            ge=65536,
            le=1_000_000_000,
        ),
    ] = 1_000_000_000
    builds_network: Annotated[
        str,
        Meta(
            description="What the steps of a build may reach at most: off, registry or open.",
            pattern="^(off|registry|open)$",
        ),
    ] = "open"
    builds_processors: Annotated[float, Meta(description="Processor cores that one build may use.", gt=0)] = 2.0
    builds_memory: Annotated[int, Bytes, Positive, Meta(description="Memory that one build may use.")] = 4 << 30
    builds_processes: Annotated[int, Positive, Meta(description="Processes that one build may have.")] = 2048
    builds_disk: Annotated[int, Bytes, Positive, Meta(description="Disk that one build may fill.")] = 20 << 30
    builds_files: Annotated[int, Positive, Meta(description="Files that one build may make.")] = 1_000_000
    builds_timeout: Annotated[int, Seconds, Positive, Meta(description="How long a build may take at most.")] = 3600
    builds_log_size: Annotated[int, Bytes, Positive, Meta(description="How much of a build's log is kept.")] = 8 << 20
    builds_per_account: Annotated[
        int, NotNegative, Meta(description="Builds of one account that run at once; 0: no limit.")
    ] = 4
    builds_lease: Annotated[
        int,
        Seconds,
        Positive,
        Meta(description="After this time without a sign of life a build is given to another worker."),
    ] = 30
    builds_supersede_running: Annotated[
        bool, Meta(description="Whether a newer commit also ends the build of an older one that is running.")
    ] = False
    webhook_networks: Annotated[
        str, Meta(description="Networks inside to which webhooks may go, such as 10.0.0.0/8; empty: none; *: all.")
    ] = ""
    mail_server: Annotated[
        str,
        Meta(
            description="smtp://USER:PASSWORD@HOST:PORT (or smtps://) to send mail by; empty: no mail is sent.",
            extra={"masked": "password"},
        ),
    ] = ""
    mail_from: Annotated[str, Meta(description="Address that mail comes from.")] = "hythe@localhost"
    log_format: Annotated[str, Meta(pattern="^(text|json)$", description="Form of the log lines: text or json.")] = (
        "text"
    )

    def __post_init__(self) -> None:
        _host_and_port(self.listen)
        if bool(self.tls_cert) != bool(self.tls_key):
            raise SettingsError("tls_cert and tls_key go together: set both or neither")
        _networks(self.trusted_proxies)

    @property
    def data_folder(self) -> Path:
        """The data folder as an absolute path."""
        return Path(self.data).expanduser().absolute()

    @property
    def proxies(self) -> tuple[Network, ...]:
        """Where proxies that are believed stand."""
        return _networks(self.trusted_proxies)

    @property
    def private_limit(self) -> int | None:
        """How many private repositories a new account may have; None: any number."""
        return None if self.private_repositories == "unlimited" else self.private_repositories

    @property
    def address(self) -> tuple[str, int]:
        """The host and the port to listen on; port 0 is any free one."""
        return _host_and_port(self.listen)


class Origin(msgspec.Struct, frozen=True):
    """One row of ``hythe settings``: the value in force, where it came from, and what it means."""

    name: str
    value: str
    source: str
    meaning: str


class LoadedSettings(msgspec.Struct, frozen=True):
    """The settings in force together with where each came from."""

    settings: Settings
    sources: Mapping[str, str]

    def origins(self) -> Iterator[Origin]:
        """Yield the rows of the table in their order; passwords in values are masked."""
        for name, meta in descriptions().items():
            value = getattr(self.settings, name)
            shown = _with_unit(value, _units(name)) if _units(name) else _shown(value, meta)
            yield Origin(name, shown, self.sources.get(name, "default"), meta.description or "")


def load(
    flags: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] = os.environ,
    config: str | None = None,
    defaults: Mapping[str, Any] | None = None,
) -> LoadedSettings:
    """Read the settings; ``flags`` holds what the command line set (None: not given). Raises SettingsError.

    ``defaults`` stand in for the table's own.
    """
    values: dict[str, Any] = dict(defaults or {})
    sources: dict[str, str] = {}
    for source, layer in _layers(flags or {}, environment, config):
        for name, value in layer.items():
            values[name] = _converted(name, value, source)
            sources[name] = source
    return LoadedSettings(Settings(**values), sources)


def descriptions() -> dict[str, Meta]:
    """Return each setting's Meta (``description``, and how it is masked), in the order of the table."""
    hints = get_type_hints(Settings, include_extras=True)
    return {name: _documented(hints[name]) for name in Settings.__struct_fields__}


def _host_and_port(listen: str) -> tuple[str, int]:
    host, colon, port = listen.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535:
        raise SettingsError(f"listen is {listen!r}: write HOST:PORT, such as 127.0.0.1:5000 or [::]:5000")
    return host.strip("[]"), int(port)


def _networks(words: str) -> tuple[Network, ...]:
    try:
        return tuple(ipaddress.ip_network(word, strict=False) for word in words.split())
    except ValueError as error:
        raise SettingsError(f"trusted_proxies: {error}: write addresses or networks such as 10.0.0.0/8") from error


def _documented(hint: Any) -> Meta:
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
        raise SettingsError(f"{path}: unknown setting {', '.join(unknown)}; 'hythe settings' lists those there are")
    return named


def _converted(name: str, value: Any, source: str) -> Any:
    hint = get_type_hints(Settings, include_extras=True)[name]
    if isinstance(value, str):
        value = _without_unit(value, _units(name))
    if get_type_hints(Settings)[name] is bool and isinstance(value, str):
        value = _SPELLINGS.get(value.strip().lower(), value)
    try:
        return msgspec.convert(value, hint, strict=False)
    except msgspec.ValidationError as error:
        hints = [_documented(hint).description or ""]
        if units := _units(name):
            hints.append(f"Write a whole number, or one with a unit: {', '.join(units)}.")
        raise SettingsError(f"{name} ({source}): {error}; {' '.join(hints)}") from error


def _units(name: str) -> Mapping[str, int]:
    """Return what a setting's units are worth, the longest first; none when it has none."""
    metadata = get_type_hints(Settings, include_extras=True)[name].__metadata__
    found: Iterator[Mapping[str, int]] = (m.extra["units"] for m in metadata if m.extra and "units" in m.extra)
    return next(found, {})


def _without_unit(text: str, units: Mapping[str, int]) -> str:
    """Return ``16MiB`` as the number it stands for; what is written otherwise stays as it is."""
    amount = _AMOUNT.fullmatch(text.strip())
    if amount is None:
        return text
    by_spelling = {unit.lower(): worth for unit, worth in units.items()}
    worth = by_spelling.get(amount[2].lower())
    return text if worth is None else str(int(amount[1]) * worth)


def _with_unit(value: int, units: Mapping[str, int]) -> str:
    """Return a number with the largest unit that leaves it whole."""
    unit = next((unit for unit, worth in units.items() if value and value % worth == 0), "")
    return f"{value // units[unit]}{unit}" if unit else str(value)


def _shown(value: Any, meta: Meta) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if not meta.extra or not value:
        return str(value)
    if meta.extra["masked"] == "all":
        return "(set)"
    for pattern in _PASSWORDS:
        value = pattern.sub(r"\1***", value)
    return str(value)
