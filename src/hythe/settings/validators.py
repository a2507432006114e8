"""Which settings are validated at start, and how. Checks of files and folders are in ``server/start_checks.py``."""

import base64
import re
from collections.abc import Callable, Iterator, Mapping
from ipaddress import ip_address
from types import MappingProxyType
from typing import Any, Literal

from hythe.settings.addresses import (
    is_host_name,
    is_ip_address,
    parse_http_url,
    parse_listen,
    parse_mail_url,
    parse_networks,
    split_host,
)
from hythe.settings.internal_networks import parse_internal_networks
from hythe.settings.values import InvalidValue, SettingsError

SECRET_KEY_SIZE = 32

_DATABASE_ADVICE = "use postgresql://USER:PASSWORD@HOST:PORT/NAME, with %XX for special characters in the password"
_DATABASE_SCHEMES = ("postgresql", "postgres", "postgresql+asyncpg")
_BUCKET_ADVICE = "use s3://BUCKET, gs://BUCKET or az://CONTAINER, with a folder after it if you want"
_BUCKET = re.compile(r"(?P<scheme>s3|gs|az)://[A-Za-z0-9][A-Za-z0-9_.-]{1,220}[A-Za-z0-9](?:/[^?#\\]*)?")
_MAIL_USER = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_BUILDER_ADVICE = "use buildah, docker=ADDRESS or buildkit=ADDRESS, such as docker=unix:///var/run/docker.sock"
_BUILDER = re.compile(
    r"buildah|(?:docker|buildkit)=(?:tcp://(?P<host>[^/?#@]+)|unix:///.+|ssh://[^/?#]+.*)|buildkit=[a-z]+-[a-z-]+://[^/?#]+.*"
)
"""BuildKit also knows docker-container://NAME, podman-container://NAME, kube-pod://NAME and others."""


class InvalidSettings(SettingsError):
    """Some settings are invalid; ``problems`` are their names and what is wrong."""

    def __init__(self, problems: Mapping[str, InvalidValue]) -> None:
        super().__init__("\n".join(f"{name}: {problem}" for name, problem in problems.items()))
        self.problems = problems


def require_valid(settings: Any) -> None:
    """Return if all values are valid. Raises InvalidSettings, which names every invalid one."""
    problems = dict(_problems(settings))
    if problems:
        raise InvalidSettings(problems)


def parse_allowed_hosts(text: str) -> tuple[str, ...]:
    """Return the names of ``allowed_hosts`` in lower case. Raises InvalidValue."""
    names = tuple(text.lower().split())
    for name in names:
        if name != "*" and not is_host_name(name.removeprefix("*.")):
            raise InvalidValue(name, "use names without ports, such as registry.example.com, *.example.com or *")
    return names


def parse_bucket(url: str) -> Literal["s3", "gs", "az"]:
    """Return the scheme of a bucket's URL. Raises InvalidValue."""
    found = _BUCKET.fullmatch(url)
    if found is None or not url.isprintable():
        raise InvalidValue(url, _BUCKET_ADVICE)
    scheme: Literal["s3", "gs", "az"] = found["scheme"]  # type: ignore[assignment]
    return scheme


def require_database_url(url: str) -> None:
    """Return if this is a URL of PostgreSQL as libpq knows it. Raises InvalidValue."""
    scheme, separator, rest = url.partition("://")
    location, _, _ = rest.partition("?")
    hosts, _, name = location.partition("/")
    if not separator or scheme not in _DATABASE_SCHEMES or not url.isprintable() or " " in url or "@" in name:
        raise InvalidValue(url, _DATABASE_ADVICE)
    for host in hosts.rpartition("@")[2].split(","):
        if host and not host.startswith("%2F"):  # the folder of a socket
            try:
                split_host(host, _DATABASE_ADVICE)
            except InvalidValue:
                raise InvalidValue(url, _DATABASE_ADVICE) from None


def require_mail_address(text: str) -> None:
    """Return if this is an address alone, without a display name. Raises InvalidValue."""
    user, at, host = text.rpartition("@")
    if not at or not _MAIL_USER.fullmatch(user) or not is_host_name(host):
        raise InvalidValue(text, "use an address such as hythe@example.com")


def require_builder(text: str) -> None:
    """Return if this names a builder. Raises InvalidValue."""
    found = _BUILDER.fullmatch(text)
    if found is None or not text.isprintable() or " " in text:
        raise InvalidValue(text, _BUILDER_ADVICE)
    if found["host"]:
        try:
            split_host(found["host"], _BUILDER_ADVICE)
        except InvalidValue as error:
            raise InvalidValue(text, _BUILDER_ADVICE) from error


def parse_secret_key(text: str) -> bytes:
    """Return the 32 bytes of a key in base64. Raises InvalidValue."""
    advice = "use 32 bytes in base64, such as the output of 'openssl rand -base64 32'"
    try:
        key = base64.b64decode(text, validate=True)
    except ValueError as error:
        raise InvalidValue(text, advice, secret=True) from error
    if len(key) != SECRET_KEY_SIZE:
        raise InvalidValue(text, advice, secret=True)
    return key


def require_secret(text: str) -> None:
    """Return if this can be sent in a header. Raises InvalidValue."""
    if not text.isascii() or not text.isprintable() or text != text.strip():
        advice = "use ASCII letters, digits and punctuation, such as the output of 'openssl rand -hex 32'"
        raise InvalidValue(text, advice, secret=True)


def require_public_url(text: str) -> None:
    """Return if this is http://HOST[:PORT] or https://.. without a path. Raises InvalidValue."""
    if parse_http_url(text, path=True).path not in ("", "/"):
        raise InvalidValue(
            text,
            "clients address a registry by its host alone, so a hub cannot be below a path: "
            "use https://HOST, with a host name or port for the hub alone",
        )


def require_followed(text: str) -> None:
    """Return if this is https://HOST[:PORT], or http:// of this host itself. Raises InvalidValue.

    The first site sends password hashes and keys, and gets the password that opens everything.
    """
    parts = parse_http_url(text)
    host = parts.hostname or ""
    if parts.scheme != "https" and not (host == "localhost" or (is_ip_address(host) and ip_address(host).is_loopback)):
        raise InvalidValue(text, "use https://HOST: passwords and keys are sent; http:// is for 127.0.0.1 only")


def require_path(text: str) -> None:
    """Return if this can be a path. Raises InvalidValue."""
    if not text or not text.isprintable() or "://" in text or text != text.strip():
        raise InvalidValue(text, "use a path such as /srv/hythe")


def require_server_name(text: str) -> None:
    """Return if this is a host's name or address. Raises InvalidValue."""
    advice = "use a host's name, such as buildkit.example.com"
    if split_host(text, advice).port is not None:
        raise InvalidValue(text, advice)


VALIDATORS: Mapping[str, Callable[[str], object]] = MappingProxyType(
    {
        "listen": parse_listen,
        "metrics_listen": parse_listen,
        "otlp_endpoint": lambda text: parse_http_url(text, path=True),
        "data": require_path,
        "follow": require_followed,
        "public_url": require_public_url,
        "allowed_hosts": parse_allowed_hosts,
        "trusted_proxies": parse_networks,
        "database_url": require_database_url,
        "blob_store": parse_bucket,
        "tls_cert": require_path,
        "tls_key": require_path,
        "worker_token": require_secret,
        "secret_key": parse_secret_key,
        "builds_folder": require_path,
        "builds_builder": require_builder,
        "builds_buildkit_certificates": require_path,
        "builds_buildkit_name": require_server_name,
        "internal_networks": parse_internal_networks,
        "mail_server": parse_mail_url,
        "mail_from": require_mail_address,
    }
)
"""The settings that name hosts, URLs or paths. An empty value is valid where it is the default."""

REQUIRED = ("listen", "data", "builds_builder", "mail_from")
"""The settings of VALIDATORS that cannot be empty."""


def _problems(settings: Any) -> Iterator[tuple[str, InvalidValue]]:
    for name, validate in VALIDATORS.items():
        value = getattr(settings, name)
        if value or name in REQUIRED:
            try:
                validate(value)
            except InvalidValue as problem:
                yield name, problem
    for name, other in (("tls_cert", "tls_key"), ("tls_key", "tls_cert")):
        if getattr(settings, name) and not getattr(settings, other):
            yield (
                name,
                InvalidValue(getattr(settings, name), f"only one of {name} and {other} is set: set both, or neither"),
            )
