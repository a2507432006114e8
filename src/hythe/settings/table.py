"""The table of settings, as one frozen value. ``docs/settings.md`` repeats it."""

from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from hythe.settings.addresses import IPNetwork, parse_listen, parse_networks
from hythe.settings.validators import parse_allowed_hosts, require_valid
from hythe.settings.values import (
    ByteCount,
    Bytes,
    Count,
    Duration,
    PositiveByteCount,
    PositiveCount,
    PositiveDuration,
    Seconds,
)


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Every setting with its description. Times are in seconds and sizes in bytes, unless they have a unit."""

    listen: Annotated[str, Meta(description="Address to listen on, HOST:PORT.")] = "127.0.0.1:5000"
    data: Annotated[str, Meta(description="Folder for all data: database, blobs, keys.")] = "~/.local/share/hythe/hub"
    processes: Annotated[
        Annotated[int, Meta(ge=1, le=256)] | Literal["auto"],
        Meta(description="Processes that share the port: a number, or auto: half the cores, or 1 with SQLite."),
    ] = "auto"
    read_only: Annotated[
        bool, Meta(description="Whether every change is refused for now, with a banner on all pages (maintenance).")
    ] = False
    follow: Annotated[
        str,
        Meta(description="URL of a hub that this one follows as its read-only second site; empty: none."),
    ] = ""
    second_sites: Annotated[
        bool,
        Meta(description="Whether hubs with the same secret_key may follow this one, and read everything."),
    ] = False
    public_url: Annotated[
        str,
        Meta(description="Public URL of the hub, such as https://hub.example.com; empty: the host of each request."),
    ] = ""
    allowed_hosts: Annotated[
        str,
        Meta(description="More names by which clients reach a private registry over plain HTTP; *: all names."),
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
        Duration,
        Meta(description="Mirrored images that were not pulled for this long are deleted; 0: never."),
    ] = 30 * 86400
    mirror_size: Annotated[
        int,
        Bytes,
        ByteCount,
        Meta(description="Maximum size of all mirrored images; the least recently pulled are deleted; 0: no limit."),
    ] = 0
    tls_cert: Annotated[str, Meta(description="TLS certificate file (PEM); empty: plain HTTP.")] = ""
    tls_key: Annotated[str, Meta(description="Private key file (PEM) of the TLS certificate.")] = ""
    sign_up: Annotated[bool, Meta(description="Whether anyone can create an account.")] = True
    organizations_by: Annotated[
        Literal["anyone", "administrators"], Meta(description="Who can create organizations: anyone or administrators.")
    ] = "anyone"
    require_sign_in: Annotated[
        bool, Meta(description="Whether nothing is shown or pulled without signing in, not even public repositories.")
    ] = False
    require_confirmed_email: Annotated[
        bool, Meta(description="Whether accounts can push and create only after they confirmed their e-mail address.")
    ] = False
    session_lifetime: Annotated[
        int, Seconds, Meta(ge=300, le=365 * 86400, description="How long a browser stays signed in.")
    ] = 14 * 86400
    sign_ups_per_address: Annotated[
        int,
        Count,
        Meta(description="Accounts that one IPv4 address or IPv6 /64 network can create in a day; 0: no limit."),
    ] = 10
    audit_retention: Annotated[
        int,
        Seconds,
        Duration,
        Meta(description="How long entries of the audit log are kept; 0: forever."),
    ] = 400 * 86400
    api_requests_per_minute: Annotated[
        int,
        Count,
        Meta(description="Requests to the JSON API that an account, or an anonymous network, can make; 0: no limit."),
    ] = 1200
    private_repositories: Annotated[
        Annotated[int, Count] | Literal["unlimited"],
        Meta(description="Private repositories that a new account can have: a number, or unlimited."),
    ] = "unlimited"
    repositories_per_account: Annotated[
        Annotated[int, Count] | Literal["unlimited"],
        Meta(description="Repositories that a new account can have: a number, or unlimited."),
    ] = 1000
    storage_per_account: Annotated[
        Annotated[int, ByteCount] | Literal["unlimited"],
        Bytes,
        Meta(description="Bytes that a new account can store: a size, or unlimited."),
    ] = 10 << 30
    uploads_per_account: Annotated[
        Annotated[int, Count] | Literal["unlimited"],
        Meta(description="Unfinished uploads that a new account can have: a number, or unlimited."),
    ] = 100
    build_minutes_per_account: Annotated[
        Annotated[int, Count] | Literal["unlimited"],
        Meta(description="Minutes of builds that a new account can have in 30 days: a number, or unlimited."),
    ] = "unlimited"
    forges: Annotated[
        str,
        Meta(
            description="Forges that users can link accounts of, separated by spaces: KIND+https://[CLIENT_ID:SECRET@]HOST.",
            extra={"masked": "password"},
        ),
    ] = "github+https://github.com bitbucket+https://bitbucket.org gitlab+https://gitlab.com gitea+https://codeberg.org"
    identity_providers: Annotated[
        str,
        Meta(
            description="Where users can sign in: NAME=oidc+https://ID:SECRET@HOST or NAME=github+.., and options.",
            extra={"masked": "password"},
        ),
    ] = ""
    ldap: Annotated[
        str,
        Meta(
            description="LDAP directory that checks passwords: ldaps://BIND_DN:PASSWORD@HOST/BASE_DN, and options.",
            extra={"masked": "password"},
        ),
    ] = ""
    manifest_size: Annotated[int, Bytes, PositiveByteCount, Meta(description="Maximum size of a manifest.")] = (
        4 * 1024 * 1024
    )
    sparse_images: Annotated[
        bool, Meta(description="Whether an image without some of its layers, or platforms, can be pushed.")
    ] = False
    protect_images: Annotated[
        bool, Meta(description="Whether layers of images, and platforms of indexes, cannot be deleted before these.")
    ] = True
    grace_period: Annotated[
        int,
        Seconds,
        Duration,
        Meta(description="How long garbage collection keeps deleted images and blobs that no image uses."),
    ] = 86400
    upload_lifetime: Annotated[
        int, Seconds, PositiveDuration, Meta(description="An unfinished upload expires after this time without data.")
    ] = 86400
    replaced_lifetime: Annotated[
        int,
        Seconds,
        Duration,
        Meta(description="How long a manifest is kept after its last tag moved to another one; 0: forever."),
    ] = 0
    garbage_interval: Annotated[
        int, Seconds, PositiveDuration, Meta(description="Interval between garbage collections of the running server.")
    ] = 600
    token_lifetime: Annotated[
        int,
        Seconds,
        Meta(ge=60, le=365 * 86400, description="How long an access token of the token server is valid."),
    ] = 300
    token_max_age: Annotated[
        int,
        Seconds,
        Duration,
        Meta(description="Longest lifetime of new personal tokens and robots; 0: they need not expire."),
    ] = 0
    idle_timeout: Annotated[
        int, Seconds, PositiveDuration, Meta(description="A connection without a request is closed after this time.")
    ] = 75
    stall_timeout: Annotated[
        int, Seconds, PositiveDuration, Meta(description="A transfer is aborted after this time without progress.")
    ] = 120
    transfer_rate: Annotated[
        int,
        Bytes,
        ByteCount,
        Meta(description="Least bytes per second of a request's body, over the time of a stall; 0: no minimum."),
    ] = 100
    connections: Annotated[
        int, Count, Meta(description="Connections at the same time; more are answered with 503. 0: no limit.")
    ] = 16384
    connections_per_address: Annotated[
        int,
        Count,
        Meta(description="Of these, connections of one IPv4 address or IPv6 /64 network; 0: no limit."),
    ] = 1000
    drain_delay: Annotated[
        int,
        Seconds,
        Duration,
        Meta(description="How long a server that got SIGTERM keeps accepting requests, while /readyz says no."),
    ] = 0
    stop_timeout: Annotated[
        int, Seconds, Duration, Meta(description="How long running transfers can continue after SIGTERM.")
    ] = 20
    builds_workers: Annotated[
        int,
        Meta(ge=0, le=1000),
        Meta(description="Builds that hythe serve runs at the same time; 0: none, only separate workers build."),
    ] = 1
    worker_token: Annotated[
        str,
        Meta(
            description="Shared secret of separate workers; empty: only the worker inside hythe serve can connect.",
            extra={"masked": "all"},
        ),
    ] = ""
    secret_key: Annotated[
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
    builds_processors: Annotated[
        float, Meta(description="Maximum number of CPU cores of a build.", gt=0, le=1_000_000)
    ] = 2.0
    builds_memory: Annotated[int, Bytes, PositiveByteCount, Meta(description="Maximum memory of a build.")] = 4 << 30
    builds_processes: Annotated[int, PositiveCount, Meta(description="Maximum number of processes of a build.")] = 2048
    builds_disk: Annotated[int, Bytes, PositiveByteCount, Meta(description="Maximum disk space of a build.")] = 20 << 30
    builds_kept_disks: Annotated[
        int, Bytes, ByteCount, Meta(description="Disk space for what each worker keeps for builds of one account.")
    ] = 20 << 30
    builds_files: Annotated[int, PositiveCount, Meta(description="Maximum number of files of a build.")] = 1_000_000
    builds_timeout: Annotated[int, Seconds, PositiveDuration, Meta(description="Maximum duration of a build.")] = 3600
    builds_transfer_rate: Annotated[
        int,
        Bytes,
        ByteCount,
        Meta(description="Least bytes per second of transfers around a build, over 30 s; 0: no minimum."),
    ] = 10_000
    builds_log_size: Annotated[int, Bytes, PositiveByteCount, Meta(description="Maximum size of a build log.")] = (
        8 << 20
    )
    builds_per_account: Annotated[
        int, Count, Meta(description="Builds of one account that can run at the same time; 0: no limit.")
    ] = 4
    builds_lease: Annotated[
        int,
        Seconds,
        PositiveDuration,
        Meta(description="A build is given to another worker after this time without a heartbeat."),
    ] = 30
    builds_supersede_running: Annotated[
        bool, Meta(description="Whether a newer commit also cancels a running build of an older one.")
    ] = False
    internal_networks: Annotated[
        str,
        Meta(description="Networks and HOST:PORT that users' URLs and builds can reach besides the public internet."),
    ] = ""
    mail_server: Annotated[
        str,
        Meta(
            description="Mail server: smtp://USER:PASSWORD@HOST:PORT, or smtps://; empty: administrators see e-mail.",
            extra={"masked": "password"},
        ),
    ] = ""
    mail_from: Annotated[str, Meta(description="Sender address of e-mail.")] = "hythe@localhost"
    log_format: Annotated[str, Meta(pattern="^(text|json)$", description="Format of log lines: text or json.")] = "text"
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"],
        Meta(description="Least level of log lines: debug, info, warning or error."),
    ] = "info"
    access_log: Annotated[
        bool, Meta(description="Whether each request is logged on stderr, in the combined format or as JSON.")
    ] = False
    slow_request: Annotated[
        float, Meta(ge=0, le=86400, description="Requests that take longer are logged, in seconds; 0: none.")
    ] = 5.0
    slow_query: Annotated[
        float,
        Meta(ge=0, le=86400, description="Database statements that take longer are logged, in seconds; 0: none."),
    ] = 1.0
    metrics_listen: Annotated[
        str,
        Meta(
            description="Address of /metrics, HOST:PORT, such as 127.0.0.1:9464; empty: off. It asks for no password."
        ),
    ] = ""
    otlp_endpoint: Annotated[
        str,
        Meta(
            description="OTLP/HTTP collector of traces, such as http://127.0.0.1:4318; empty: OTEL_ variables, or off."
        ),
    ] = ""

    def __post_init__(self) -> None:
        require_valid(self)

    @property
    def hub_url(self) -> str:
        """The URL of the hub for links in messages: ``public_url``, or the address that the hub listens on."""
        scheme = "https" if self.tls_cert else "http"
        return self.public_url.rstrip("/") or f"{scheme}://{self.listen}"

    @property
    def data_folder(self) -> Path:
        """The data folder as an absolute path."""
        return Path(self.data).expanduser().absolute()

    @property
    def proxies(self) -> tuple[IPNetwork, ...]:
        """The networks of trusted proxies."""
        return parse_networks(self.trusted_proxies)

    @property
    def host_names(self) -> tuple[str, ...]:
        """The names of ``allowed_hosts``, in lower case."""
        return parse_allowed_hosts(self.allowed_hosts)

    @property
    def address(self) -> tuple[str, int]:
        """The host and port to listen on; port 0 selects a free one."""
        return parse_listen(self.listen)

    @property
    def metrics_address(self) -> tuple[str, int] | None:
        """The host and port of ``metrics_listen``; None if it is off."""
        return parse_listen(self.metrics_listen) if self.metrics_listen else None
