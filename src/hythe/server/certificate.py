"""The server's certificate: read before anything listens, and again on SIGHUP, as after a renewal."""

import logging
import ssl
from pathlib import Path

from hythe.settings import Settings, SettingsError

log = logging.getLogger(__name__)


class Certificate:
    """A certificate with its chain and key, for new connections what the files held when they were last read."""

    def __init__(self, chain: str, key: str) -> None:
        """Read the PEM files; raises SettingsError."""
        self._chain = chain
        self._key = key
        self.context = self._read(ssl.create_default_context(ssl.Purpose.CLIENT_AUTH))

    @classmethod
    def of(cls, settings: Settings) -> "Certificate | None":
        """Return what the settings name, None for plain HTTP; raises SettingsError."""
        return cls(settings.tls_cert, settings.tls_key) if settings.tls_cert else None

    def reload(self) -> None:
        """Take what the files hold now; when that cannot be used, what was there stays in force."""
        try:
            # Tried apart from the one in use, which a chain and a key that do not go together would spoil.
            self._read(ssl.create_default_context(ssl.Purpose.CLIENT_AUTH))
            self._read(self.context)
        except SettingsError as error:
            log.error("the certificate stays as it was: %s", error)
        else:
            log.info("the certificate was read again")

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
        return "the key is not that of the first certificate"
    return "they are not a certificate and its key in PEM, or the key has a passphrase"
