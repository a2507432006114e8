"""Examines the settings: what is missing for their combination, and what the environment mistypes."""

from collections.abc import Iterable, Iterator
from ipaddress import ip_address

from hythe.server.doctor.diagnosis import Diagnosis, good, warning
from hythe.settings import Settings

SUBJECT = "settings"


def examine_settings(settings: Settings, unknown: Iterable[tuple[str, str]]) -> Iterator[Diagnosis]:
    """Yield what is wrong with the settings; ``unknown`` are HYTHE_ variables with the closest known one."""
    before = 0
    for finding in (*_variables(unknown), *_addresses(settings), *_servers(settings), *_accounts(settings)):
        before += 1
        yield finding
    if not before:
        yield good(SUBJECT, "valid, and fit together")


def _variables(unknown: Iterable[tuple[str, str]]) -> Iterator[Diagnosis]:
    for name, near in unknown:
        advice = f"rename it to {near}" if near else "remove it; 'hythe settings' lists all settings"
        yield warning(SUBJECT, f"the environment variable {name} is no setting and has no effect", advice)


def _addresses(settings: Settings) -> Iterator[Diagnosis]:
    if _is_loopback(settings.address[0]):
        return
    if not settings.tls_cert and not settings.public_url.startswith("https:"):
        yield warning(
            SUBJECT,
            f"the hub listens on {settings.listen} without TLS, which docker refuses for every host except loopback",
            "set tls_cert and tls_key, or put a reverse proxy with TLS in front and set public_url and trusted_proxies",
        )
    if not settings.public_url:
        yield warning(
            SUBJECT,
            "public_url is empty, so links in e-mail and token realms use the host that each request names",
            "set public_url to the address that clients use",
        )


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _servers(settings: Settings) -> Iterator[Diagnosis]:
    if settings.public_url.startswith("https:") and not settings.tls_cert and not settings.trusted_proxies:
        yield warning(
            SUBJECT,
            "public_url begins with https, but there is neither tls_cert nor a trusted proxy",
            "name the reverse proxy in trusted_proxies: otherwise all clients count as one address, and one that "
            "guesses passwords locks out the others",
        )
    if settings.blob_store and not settings.database_url:
        yield warning(
            SUBJECT,
            "blobs are in an object store, but the database is on the local disk",
            "include the data folder in backups; for several servers move to PostgreSQL with 'hythe admin migrate'",
        )


def _accounts(settings: Settings) -> Iterator[Diagnosis]:
    if not settings.mail_server and settings.require_confirmed_email:
        yield warning(
            SUBJECT,
            "require_confirmed_email is set without mail_server, so new users cannot confirm their address",
            "set mail_server, or unset require_confirmed_email",
        )
