"""The TLS certificate of the server: read at startup, and again on SIGHUP (after a renewal)."""

import logging
import ssl
from pathlib import Path

from hythe.settings import InvalidValue, Settings, SettingsError
from hythe.settings.validators import InvalidSettings

log = logging.getLogger(__name__)


class Certificate:
    """A certificate chain and key, as last read from their files; new connections use it."""

    def __init__(self, chain: str, key: str) -> None:
        """Read the PEM files. Raises SettingsError."""
        self._chain = chain
        self._key = key
        self.context = self._read(ssl.create_default_context(ssl.Purpose.CLIENT_AUTH))

    @classmethod
    def of(cls, settings: Settings) -> "Certificate | None":
        """Return the certificate of the settings, None for plain HTTP. Raises SettingsError."""
        return cls(settings.tls_cert, settings.tls_key) if settings.tls_cert else None

    def apply(self, settings: Settings) -> None:
        """Take over changed names of the files, and read them again."""
        self._chain, self._key = settings.tls_cert, settings.tls_key
        self.reload()

    def reload(self) -> None:
        """Read the files again; if they cannot be used, log an error and keep the current certificate."""
        try:
            # Tried in a new context first: a mismatched chain and key would break the one in use.
            self._read(ssl.create_default_context(ssl.Purpose.CLIENT_AUTH))
            self._read(self.context)
        except SettingsError as error:
            log.error("TLS certificate not reloaded, keeping the current one: %s", error)
        else:
            log.info("TLS certificate reloaded")

    def _read(self, context: ssl.SSLContext) -> ssl.SSLContext:
        for name, file in (("tls_cert", self._chain), ("tls_key", self._key)):
            try:
                Path(file).read_bytes()
            except (OSError, ValueError) as error:
                reason = getattr(error, "strerror", None) or str(error)
                raise _invalid(name, file, f"use a PEM file; it cannot be read: {reason}") from error
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(self._chain)
        except ssl.SSLError as error:
            raise _invalid("tls_cert", self._chain, "use a file with a certificate in PEM format") from error
        try:
            context.load_cert_chain(self._chain, self._key, password=lambda: "")
        except ssl.SSLError as error:
            advice = "use a file with a private key in PEM format, without a passphrase"
            if error.reason == "KEY_VALUES_MISMATCH":
                advice = f"use the key of the first certificate in {self._chain}: they do not match"
            raise _invalid("tls_key", self._key, advice) from error
        return context


def _invalid(name: str, file: str, advice: str) -> InvalidSettings:
    return InvalidSettings({name: InvalidValue(file, advice)})
