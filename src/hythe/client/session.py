"""A conversation with one registry server: scheme, credentials, redirects, retries. Every request goes through here."""

import threading
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import urljoin, urlsplit

from hythe.client.authorizer import Authorizer
from hythe.client.connection import BytesBody, ConnectionFailed, ConnectionPool, RequestBody, StreamedResponse
from hythe.client.credentials import Credential
from hythe.client.errors import AccessDenied, ClientError, RegistryError, RemoteNotFound, Unreachable
from hythe.client.http1 import HTTPRequest, HTTPResponse
from hythe.client.retry import RETRYABLE_STATUSES, Retries, RetryPolicy
from hythe.client.tls_and_proxy import is_loopback
from hythe.oci.errors import ErrorEntry, decode_errors
from hythe.oci.reference import DEFAULT_HOST
from hythe.oci.scope import Scope

DOCKER_HUB = "registry-1.docker.io"
USER_AGENT = "hythe"
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MAX_REDIRECTS = 5


class RegistrySession:
    """One registry, as one user. Safe for threads."""

    def __init__(
        self,
        host: str,
        connections: ConnectionPool,
        credential: Callable[[], Credential],
        policy: RetryPolicy | None = None,
    ) -> None:
        self.host = host
        self.stopped = threading.Event()
        self.policy = policy or RetryPolicy()
        self.credential = credential
        self._connections = connections
        self._authorizer = Authorizer(credential, self.exchange)
        self._scheme = _known_scheme(host, connections)

    @property
    def base(self) -> str:
        """The server's root, such as ``https://registry-1.docker.io``."""
        return f"{self._scheme or 'http'}://{DOCKER_HUB if self.host == DEFAULT_HOST else self.host}"

    def stop(self) -> None:
        """Let every request under way fail, and every wait end."""
        self.stopped.set()
        self._connections.close()

    def retries(self) -> Retries:
        """Return a fresh count of failures."""
        return Retries(self.policy, self.stopped)

    def send(
        self,
        method: str,
        target: str,
        scopes: Sequence[Scope] = (),
        headers: Mapping[str, str] | None = None,
        body: RequestBody | None = None,
    ) -> StreamedResponse:
        """Send a request to a path (or a URL that the server gave) and return the answer, whatever its status.

        Authenticates when asked to, and does not retry: who streams knows best how to go on. Raises Unreachable,
        AccessDenied.
        """
        sent = self._authorizer.header(scopes)
        stream = self._follow(method, target, _with_common_headers(headers or {}, sent), body)
        if stream.status != 401:
            return stream
        with stream:
            stream.read()
        challenge = stream.headers.get("www-authenticate", "")
        renewed = self._authorizer.answer_challenge(challenge, sent, scopes)
        return self._follow(method, target, _with_common_headers(headers or {}, renewed), body)

    def request(
        self,
        method: str,
        target: str,
        scopes: Sequence[Scope] = (),
        headers: Mapping[str, str] | None = None,
        body: RequestBody | None = None,
    ) -> HTTPResponse:
        """Send a request and return the whole answer, whatever its status.

        Tries again after a broken connection and when the server is busy. Raises Unreachable, AccessDenied,
        RegistryError (still busy after all).
        """
        retries = self.retries()
        while True:
            try:
                with self.send(method, target, scopes, headers, body) as stream:
                    response = stream.read()
            except ConnectionFailed as error:
                if error.permanent or not retries.wait():
                    raise
                continue
            if response.status not in RETRYABLE_STATUSES:
                return response
            if not retries.wait(response.retry_after):
                raise error_from(response, self, f"{method} {target}")

    def ping(self, authorization: str = "") -> StreamedResponse:
        """Ask for ``/v2/`` with nothing but ``authorization``, and return the answer, also a 401."""
        return self._follow("GET", "/v2/", _with_common_headers({}, authorization), None)

    def request_token(self, scopes: Sequence[Scope]) -> None:
        """Get a token for these scopes now, for addresses whose own 401 does not say how (a hub's JSON API).

        Raises Unreachable, AccessDenied.
        """
        with self.ping() as stream:
            stream.read()
        if stream.status == 401:
            self._authorizer.answer_challenge(stream.headers.get("www-authenticate", ""), "", scopes)

    def exchange(self, request: HTTPRequest) -> HTTPResponse:
        """Send a request as it is, without credentials of ours, as the handshake wants it; retries when busy."""
        retries = self.retries()
        body = BytesBody(request.body) if request.body else None
        self._require_tls(request.url)
        while True:
            try:
                headers = {"User-Agent": USER_AGENT, **request.headers}
                with self._connections.send(request.method, request.url, headers, body) as stream:
                    response = stream.read()
            except ConnectionFailed as error:
                if error.permanent or not retries.wait():
                    raise
                continue
            if response.status not in RETRYABLE_STATUSES or not retries.wait(response.retry_after):
                return response

    def _follow(
        self, method: str, target: str, headers: Mapping[str, str], body: RequestBody | None
    ) -> StreamedResponse:
        if self.stopped.is_set():
            raise Unreachable("the transfer was stopped")
        url = urljoin(self.base, target)
        stream = self._send_detecting_scheme(method, target, headers, body)
        for _ in range(_MAX_REDIRECTS):
            location = stream.headers.get("location", "")
            if stream.status not in _REDIRECTS or not location or method not in ("GET", "HEAD"):
                return stream
            stream.close()
            url, earlier = urljoin(url, location), url
            if urlsplit(earlier).scheme == "https" and urlsplit(url).scheme != "https":
                raise Unreachable(
                    f"{self.host} sends us from TLS to {urlsplit(url).netloc} without", "tell its administrator"
                )
            if urlsplit(url).netloc != urlsplit(earlier).netloc:
                headers = {name: value for name, value in headers.items() if name != "Authorization"}
            stream = self._connections.send(method, url, headers)
        raise RegistryError(f"{self.host} redirects in a circle", status=stream.status)

    def _send_detecting_scheme(
        self, method: str, target: str, headers: Mapping[str, str], body: RequestBody | None
    ) -> StreamedResponse:
        """Send; at a loopback host that was not spoken to yet, find out whether it wants TLS."""
        if self._scheme:
            return self._connections.send(method, urljoin(self.base, target), headers, body)
        try:
            stream = self._connections.send(method, urljoin(self.base, target), headers, body)
            if stream.status != 400:
                self._scheme = "http"
                return stream
            stream.close()
        except ConnectionFailed as error:
            if isinstance(error.__cause__, ConnectionRefusedError):
                raise
        self._scheme = "https" if self._speaks_tls() else "http"
        return self._connections.send(method, urljoin(self.base, target), headers, body)

    def _speaks_tls(self) -> bool:
        try:
            self._connections.send("GET", f"https://{self.host}/v2/", {"User-Agent": USER_AGENT}).close()
        except ConnectionFailed as error:
            if error.permanent:
                raise
            return False
        return True

    def _require_tls(self, url: str) -> None:
        """Refuse to send credentials in the clear to a host where the user did not allow it."""
        parts = urlsplit(url)
        if parts.scheme != "https" and not self._connections.tls_options.allows_plain_http(parts.netloc):
            raise AccessDenied(
                f"{self.host} wants us to authenticate at {parts.netloc} without TLS",
                f"hythe config set plain-http {parts.netloc}",
            )


def _known_scheme(host: str, connections: ConnectionPool) -> str:
    if is_loopback(host) and host not in connections.tls_options.plain_http:
        return ""
    return "http" if connections.tls_options.allows_plain_http(host) else "https"


def _with_common_headers(headers: Mapping[str, str], authorization: str) -> dict[str, str]:
    common = {"User-Agent": USER_AGENT, **headers}
    return {**common, "Authorization": authorization} if authorization else common


def error_from(response: HTTPResponse, session: RegistrySession, what: str) -> ClientError:
    """Return what is raised for an error answer, in the registry's words and with a hint of ours."""
    entries = decode_errors(response.body)
    said = "; ".join(map(_description, entries))
    code = entries[0].code if entries else ""
    if response.status in (401, 403):
        credential = session.credential()
        who = credential.username or "with a token"
        hint = f"you are logged in as {who}" if credential else f"log in with 'hythe login {session.host}'"
        return AccessDenied(said or f"{session.host} refused {what} ({response.status})", hint)
    if response.status == 404:
        message = f"{what} not found" + (f": {said}" if said else "")
        return RemoteNotFound(message, "check the name; a private repository needs 'hythe login'")
    if response.status == 429:
        wait = f"try again in {response.retry_after} seconds" if response.retry_after else "try again later"
        message = f"{session.host}: too many requests"
        return RegistryError(message, wait, status=429, code=code, retry_after=response.retry_after)
    message = f"{session.host} answered {response.status} to {what}" + (f": {said}" if said else "")
    return RegistryError(message, status=response.status, code=code, retry_after=response.retry_after)


def _description(entry: ErrorEntry) -> str:
    """Return one of the protocol's errors in words; many registries only repeat the code."""
    code = entry.code.lower().replace("_", " ")
    return code if entry.message.lower() == code else f"{code}: {entry.message}".rstrip(": ")
