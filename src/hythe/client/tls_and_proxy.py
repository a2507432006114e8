"""Connection options for a host: TLS or plain HTTP, trusted CAs, and proxy."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import msgspec

from hythe.client.credentials import Credential
from hythe.client.errors import InvalidConfiguration

if TYPE_CHECKING:
    from ssl import SSLContext

CERTIFICATE_FOLDERS = ("/etc/hythe/certs.d", "/etc/containers/certs.d", "/etc/docker/certs.d")
"""Folders of ``HOST[:PORT]/{*.crt,*.cert,*.key}``, as for docker and podman."""


class Proxy(msgspec.Struct, frozen=True):
    """A proxy; ``authorization`` is the header to send to it, or ""; ``variable`` is where the user set it."""

    host: str
    port: int
    authorization: str = ""
    variable: str = ""

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"the proxy http://{host}:{self.port} ({self.variable})"

    def hint(self, target: str) -> str:
        """Return what to do if the proxy does not let requests to ``HOST:PORT`` through."""
        return f"check {self.variable}; with NO_PROXY={_bare(target)} hythe connects directly"


class TLSOptions(msgspec.Struct, frozen=True):
    """The user's TLS options: hosts to access over plain HTTP, and CA files to trust in addition to the system's."""

    plain_http: tuple[str, ...] = ()
    authorities: tuple[str, ...] = ()

    def allows_plain_http(self, host: str) -> bool:
        """Whether plain HTTP is allowed for ``HOST[:PORT]``: always for loopback, else if the user allowed it."""
        return is_loopback(host) or host in self.plain_http or _bare(host) in self.plain_http or "*" in self.plain_http

    def tls_context(self, host: str) -> "SSLContext":
        """Return the TLS context for ``HOST[:PORT]``, with its CAs and client certificates."""
        from ssl import create_default_context  # takes 7 ms, only needed for TLS

        context = create_default_context()
        for path in self.authorities:
            _load_authority(context, Path(path))
        for folder in _certificate_folders(host):
            for authority in sorted(folder.glob("*.crt")):
                _load_authority(context, authority)
            for certificate in sorted(folder.glob("*.cert")):
                _load_client_certificate(context, certificate)
        return context


def _load_authority(context: "SSLContext", path: Path) -> None:
    try:
        context.load_verify_locations(path)
    except OSError as error:  # SSLError is one
        raise InvalidConfiguration(f"invalid CA certificate {path}: {error}", "use a file in PEM format") from error


def _load_client_certificate(context: "SSLContext", path: Path) -> None:
    try:
        context.load_cert_chain(path, path.with_suffix(".key"))
    except OSError as error:
        hint = f"use files in PEM format, with the key in {path.with_suffix('.key').name}"
        raise InvalidConfiguration(f"invalid client certificate {path}: {error}", hint) from error


def _certificate_folders(host: str) -> Iterator[Path]:
    user_folder = Path(os.environ.get("XDG_CONFIG_HOME") or Path(os.environ.get("HOME", "/root")) / ".config")
    for base in (
        *map(Path, CERTIFICATE_FOLDERS),
        user_folder / "containers" / "certs.d",
        user_folder / "hythe" / "certs.d",
    ):
        if (base / host).is_dir():
            yield base / host


def _bare(host: str) -> str:
    return (urlsplit(f"//{host}").hostname or host) if host.count(":") <= 1 or host.startswith("[") else host


def is_loopback(host: str) -> bool:
    """Whether ``HOST[:PORT]`` is a loopback address."""
    bare = _bare(host)
    address = bare.startswith("127.") and bare.replace(".", "").isdigit()
    return address or bare in ("localhost", "::1", "localhost.localdomain") or bare.endswith(".localhost")


def proxy_for(scheme: str, host: str, environment: Mapping[str, str] = os.environ) -> Proxy | None:
    """Return the proxy for ``HOST[:PORT]`` from the usual environment variables; None for loopback.

    Raises InvalidConfiguration.
    """
    names: Sequence[str] = (f"{scheme}_proxy", f"{scheme.upper()}_PROXY", "all_proxy", "ALL_PROXY")
    variable = next((name for name in names if environment.get(name)), "")
    if not variable or is_loopback(host) or _is_excepted(host, environment):
        return None
    url = environment[variable].strip()
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        port = parts.port or 80
    except ValueError as error:
        raise InvalidConfiguration(f"{variable} is not a URL", "use http://HOST:PORT") from error
    if parts.scheme != "http" or not parts.hostname:
        kind = f"proxies with {parts.scheme}:// are not supported" if parts.scheme != "http" else "the host is missing"
        raise InvalidConfiguration(f"{variable}: {kind}", "use http://HOST:PORT")
    authorization = ""
    if parts.username:
        authorization = f"Basic {Credential(unquote(parts.username), unquote(parts.password or '')).encoded}"
    return Proxy(parts.hostname, port, authorization, variable)


def _is_excepted(host: str, environment: Mapping[str, str]) -> bool:
    excepted = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
    bare = _bare(host)
    for word in (word.strip().removeprefix("*.").lstrip(".") for word in excepted.split(",")):
        if word and (word in ("*", host, bare) or bare.endswith(f".{word}") or _is_within(bare, word)):
            return True
    return False


def _is_within(address: str, network: str) -> bool:
    """Whether an IP address is in a network such as ``10.0.0.0/8``."""
    if "/" not in network:
        return False
    from ipaddress import ip_address, ip_network

    try:
        return ip_address(address) in ip_network(network, strict=False)
    except ValueError:
        return False
