"""The TLS certificate of the server: read at startup, and again on SIGHUP (after a renewal)."""

import logging
import ssl
from pathlib import Path

from hythe.settings import Settings, SettingsError

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
        try:
            for file in (self._chain, self._key):
                Path(file).read_bytes()
            context.load_cert_chain(self._chain, self._key, password=lambda: "")
        except ssl.SSLError as error:
            raise SettingsError(
                f"tls_cert {self._chain} and tls_key {self._key} cannot be used: {_reason(error)}"
            ) from error
        except OSError as error:
            raise SettingsError(f"the TLS file {error.filename} cannot be read: {error.strerror}") from error
        return context


def _reason(error: ssl.SSLError) -> str:
    if error.reason == "KEY_VALUES_MISMATCH":
        return "the key does not match the first certificate"
    return "not a certificate and its key in PEM format, or the key has a passphrase"
