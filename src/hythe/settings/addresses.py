"""Parses the addresses in settings: hosts, ports, networks and URLs. Every function raises InvalidValue."""

import ipaddress
import re
from typing import TypeAlias
from urllib.parse import SplitResult, urlsplit

import msgspec

from hythe.settings.values import InvalidValue

IPNetwork: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

MAX_NAME_LENGTH = 253
MAX_PORT = 65535

_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_NUMBER = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")


class HostAndPort(msgspec.Struct, frozen=True):
    """A host, without brackets around an IPv6 address, and its port; None if the text names none."""

    host: str
    port: int | None


def is_ip_address(text: str) -> bool:
    """Return whether a text is an IPv4 or IPv6 address, without brackets."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def ends_in_number(host: str) -> bool:
    """Return whether a host is a spelling of an IPv4 address, such as 0x7f000001 or 127.1: no name ends in a number."""
    return _NUMBER.fullmatch(host.rpartition(".")[2]) is not None


def is_host_name(text: str) -> bool:
    """Return whether a text can be a host's name. Addresses cannot, nor can names with non-ASCII letters."""
    return len(text) <= MAX_NAME_LENGTH and _NAME.fullmatch(text) is not None and not ends_in_number(text)


def split_host(text: str, advice: str) -> HostAndPort:
    """Return the parts of HOST or HOST:PORT; an IPv6 address needs brackets. Raises InvalidValue with ``advice``."""
    host, colon, port = text, "", ""
    if not text.endswith("]"):
        host, colon, port = text.rpartition(":") if ":" in text else (text, "", "")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        is_host = ":" in host and is_ip_address(host)
    else:
        is_host = is_host_name(host) or (":" not in host and is_ip_address(host))
    if not is_host or (colon and not is_port(port)):
        raise InvalidValue(text, advice)
    return HostAndPort(host, int(port) if colon else None)


def is_port(text: str) -> bool:
    """Return whether a text is the number of a port that one can connect to."""
    return text.isascii() and text.isdecimal() and len(text) <= len(str(MAX_PORT)) and 1 <= int(text) <= MAX_PORT


def parse_listen(text: str) -> tuple[str, int]:
    """Return the parts of HOST:PORT. Without a host all addresses are meant; port 0 selects a free one."""
    advice = "use HOST:PORT, such as 127.0.0.1:5000 or [::]:5000"
    host, colon, port = text.rpartition(":")
    if not colon or not (port == "0" or is_port(port)):
        raise InvalidValue(text, advice)
    return (split_host(host, advice).host if host else host), int(port)


def parse_networks(text: str) -> tuple[IPNetwork, ...]:
    """Return addresses and networks separated by spaces."""
    networks = []
    for part in text.split():
        try:
            networks.append(ipaddress.ip_network(part, strict=False))
        except ValueError as error:
            raise InvalidValue(part, "use addresses or networks such as 10.0.0.0/8, separated by spaces") from error
    return tuple(networks)


def parse_http_url(text: str, *, user_info: bool = False, path: bool = False) -> SplitResult:
    """Return the parts of http://HOST[:PORT] or https://..

    ``user_info`` allows USER:PASSWORD@ before the host, and ``path`` a path after it.
    """
    return _parse_url(text, ("https", "http"), user_info=user_info, path=path)


def parse_mail_url(text: str) -> SplitResult:
    """Return the parts of smtp://[USER:PASSWORD@]HOST[:PORT] or smtps://.."""
    return _parse_url(text, ("smtp", "smtps"), user_info=True, path=False)


def parse_ldap_url(text: str) -> SplitResult:
    """Return the parts of ldaps://[USER:PASSWORD@]HOST[:PORT][/PATH] or ldap://.."""
    return _parse_url(text, ("ldaps", "ldap"), user_info=True, path=True)


def _parse_url(text: str, schemes: tuple[str, ...], *, user_info: bool, path: bool) -> SplitResult:
    form = f"{schemes[0]}://HOST or {schemes[1]}://HOST"
    scheme, separator, rest = text.partition("://")
    if not separator or scheme.lower() not in schemes:
        raise InvalidValue(text, f"use {form}")
    if not text.isascii():
        raise InvalidValue(text, f"use ASCII only{_suggested_name(rest)}")
    if not text.isprintable() or " " in text or "\\" in text:
        raise InvalidValue(text, f"use {form}, without spaces")
    try:
        parts = urlsplit(text)
    except ValueError as error:
        raise InvalidValue(text, f"use {form}") from error
    user, at, host = parts.netloc.rpartition("@")
    if at and not (user_info and user):
        raise InvalidValue(text, f"use {form}, without a user or password")
    try:
        split_host(host, "")
    except InvalidValue:
        raise InvalidValue(text, f"use {form}, with a port from 1 to {MAX_PORT} if any") from None
    if "?" in text or "#" in text:
        raise InvalidValue(text, f"use {form}, without ? and #")
    if parts.path not in ("", "/") and not path:
        raise InvalidValue(text, f"use {form}, without a path")
    return parts


def _suggested_name(rest: str) -> str:
    """Return the ASCII form of an internationalized name as advice."""
    host = re.split("[/?#:]", rest.rpartition("@")[2], maxsplit=1)[0]
    try:
        return f"; the name is {host.encode('idna').decode()}"
    except UnicodeError:
        return ""
