"""``Client``: the user's settings, credentials, connections and local store, shared by all operations."""

import threading
from collections.abc import Iterable, Mapping
from pathlib import Path

from hythe.client.configuration import Configuration, load_configuration
from hythe.client.connection import ConnectionPool
from hythe.client.credential_files import CredentialFiles
from hythe.client.credentials import Credential
from hythe.client.errors import as_client_errors
from hythe.client.protocol import PUSH_ACTIONS, RemoteRepository
from hythe.client.retry import RetryPolicy
from hythe.client.session import RegistrySession
from hythe.client.store import LocalStore
from hythe.client.tls_and_proxy import TLSOptions
from hythe.client.transfer_rate import TransferRate
from hythe.oci.reference import Reference
from hythe.oci.scope import PULL


class Client:
    """Access to registries as one user. Thread-safe. Close it to close its connections.

    ``credentials_by_host`` takes precedence over the credential files.
    """

    def __init__(
        self,
        configuration: Configuration | None = None,
        credentials: CredentialFiles | None = None,
        plain_http: Iterable[str] = (),
        store: Path | None = None,
        policy: RetryPolicy | None = None,
        credentials_by_host: Mapping[str, Credential] | None = None,
        transfer_rate: TransferRate | None = None,
    ) -> None:
        """A server that is slower than ``transfer_rate`` is given up."""
        self.configuration = configuration or load_configuration()
        self.credentials = credentials or CredentialFiles()
        self.policy = policy or RetryPolicy()
        self._credentials_by_host = credentials_by_host or {}
        self.store = LocalStore(store, self.configuration.default_registry)
        hosts = (*self.configuration.plain_http, *plain_http)
        self.connections = ConnectionPool(
            TLSOptions(hosts, self.configuration.certificate_authorities),
            self.policy.read_timeout,
            transfer_rate=transfer_rate,
        )

    @as_client_errors()
    def reference(self, text: str) -> Reference:
        """Parse an image name as the user typed it; raises InvalidName."""
        return Reference.parse(text, self.configuration.default_registry)

    def session(self, host: str, repository: str = "", credential: Credential | None = None) -> RegistrySession:
        """Return a session with a registry, authenticated by ``credential`` or else by the credential files."""
        given = credential if credential is not None else self._credentials_by_host.get(host)
        if given is not None:
            return RegistrySession(host, self.connections, lambda: given, self.policy)
        return RegistrySession(host, self.connections, _LazyCredential(self.credentials, host, repository), self.policy)

    def repository(
        self, reference: Reference, *, push: bool = False, mounted_from: Iterable[str] = ()
    ) -> RemoteRepository:
        """Return a repository to pull from, or to push to."""
        session = self.session(reference.host, reference.repository)
        return RemoteRepository(session, reference.repository, PUSH_ACTIONS if push else (PULL,), mounted_from)

    def close(self) -> None:
        """Close all connections."""
        self.connections.close()


class _LazyCredential:
    """A repository's credential, looked up once and only when needed, because a helper may prompt the user."""

    def __init__(self, files: CredentialFiles, host: str, repository: str) -> None:
        self._files = files
        self._host = host
        self._repository = repository
        self._lock = threading.Lock()
        self._found: Credential | None = None

    def __call__(self) -> Credential:
        with self._lock:
            if self._found is None:
                self._found = self._files.find(self._host, self._repository)
            return self._found
