"""Examines the certificate of ``tls_cert``: whether it matches its key and the public name, and when it expires."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509

from hythe.server.certificate import Certificate
from hythe.server.doctor.diagnosis import Diagnosis, good, problem, warning
from hythe.settings import Settings, SettingsError

SUBJECT = "TLS"

SOON = timedelta(days=14)
"""How long before its end a certificate should have been renewed."""


def examine_tls(settings: Settings, now: datetime | None = None) -> Iterator[Diagnosis]:
    """Yield the state of the certificate; nothing without one."""
    if not settings.tls_cert:
        return
    try:
        Certificate.of(settings)
        certificate = x509.load_pem_x509_certificates(Path(settings.tls_cert).read_bytes())[0]
    except (SettingsError, OSError, ValueError) as error:
        yield problem(SUBJECT, str(error), "correct tls_cert and tls_key")
        return
    left = certificate.not_valid_after_utc - (now or datetime.now(UTC))
    end = f"{certificate.not_valid_after_utc:%Y-%m-%d}"
    renew = "renew it, then send SIGHUP to the server"
    if left <= timedelta():
        yield problem(SUBJECT, f"the certificate expired on {end}", renew)
    elif left < SOON:
        yield warning(SUBJECT, f"the certificate expires on {end}", renew)
    else:
        yield good(SUBJECT, f"the certificate is valid until {end}")
    host = urlsplit(settings.public_url).hostname or ""
    if host and not _covers(certificate, host):
        yield problem(
            SUBJECT,
            f"the certificate is not for {host}, the host of public_url",
            "get one for that name, or correct public_url",
        )


def _covers(certificate: x509.Certificate, host: str) -> bool:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return False
    known = {name.lower() for name in names.get_values_for_type(x509.DNSName)}
    addresses = {str(address) for address in names.get_values_for_type(x509.IPAddress)}
    return host in known | addresses or f"*.{host.partition('.')[2]}" in known
