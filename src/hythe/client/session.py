"""``RegistrySession``: every request to a registry, with its scheme, credentials, redirects and retries."""

import threading
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import urlsplit

from hythe.client.authorizer import Authorizer
from hythe.client.connection import BytesBody, ConnectionFailed, ConnectionPool, RequestBody, StreamedResponse
from hythe.client.credentials import Credential
from hythe.client.error_body import error_reason
from hythe.client.errors import AccessDenied, ClientError, RegistryError, RemoteNotFound, Unreachable
from hythe.client.http1 import HTTPRequest, HTTPResponse
from hythe.client.retry import RETRYABLE_STATUSES, Retries, RetryPolicy
from hythe.client.tls_and_proxy import is_loopback
from hythe.client.urls import is_same_server, resolve_url
from hythe.oci.errors import decode_errors
from hythe.oci.reference import DEFAULT_HOST
from hythe.oci.scope import Scope

DOCKER_HUB = "registry-1.docker.io"
USER_AGENT = "hythe"
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MAX_REDIRECTS = 5
_HEADERS_ELSEWHERE = frozenset({"user-agent", "accept", "range"})
"""Headers that a server gets to which another one redirects; others may have a secret for that one."""
_PROXY_STATUSES = frozenset({502, 503, 504})


class RegistrySession:
    """Access to one registry as one user. Thread-safe."""

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
        """The server's root URL, such as ``https://registry-1.docker.io``."""
        return f"{self._scheme or 'http'}://{DOCKER_HUB if self.host == DEFAULT_HOST else self.host}"

    @property
    def proxy_hint(self) -> str:
        """What to do if a response may be that of a proxy, which plain HTTP goes through; "" if none is used."""
        proxy = self._connections.proxy(self.base) if self.base.startswith("http://") else None
        return f"{proxy} may have refused it: {proxy.hint(self.host)}" if proxy else ""

    def stop(self) -> None:
        """Abort all requests and waits."""
        self.stopped.set()
        self._connections.close()

    def retries(self) -> Retries:
        """Return a new retry counter."""
        return Retries(self.policy, self.stopped)

    def send(
        self,
        method: str,
        target: str,
        scopes: Sequence[Scope] = (),
        headers: Mapping[str, str] | None = None,
        body: RequestBody | None = None,
        *,
        authenticate: bool = True,
    ) -> StreamedResponse:
        """Send a request to a path, or a URL from the server, and return the response with any status.

        Authenticates if this registry challenges, never at another server, and not if ``authenticate`` is false. Does
        not retry, because only the caller knows how to resume a stream. Raises Unreachable, AccessDenied.
        """
        sent = self._authorizer.header(scopes) if authenticate and self._is_own(target) else ""
        stream = self._follow(method, target, _with_common_headers(headers or {}, sent), body)
        challenge = stream.headers.get("www-authenticate", "") if authenticate else ""
        if stream.status != 401 or not challenge or not is_same_server(stream.origin, self.base):
            return stream
        with stream:
            stream.read()
        renewed = self._authorizer.answer_challenge(challenge, sent, scopes, resolve_url(self.base, target))
        return self._follow(method, target, _with_common_headers(headers or {}, renewed), body)

    def request(
        self,
        method: str,
        target: str,
        scopes: Sequence[Scope] = (),
        headers: Mapping[str, str] | None = None,
        body: RequestBody | None = None,
        *,
        authenticate: bool = True,
    ) -> HTTPResponse:
        """Send a request and return the whole response with any status.

        Retries after a broken connection and if the server is busy. Raises Unreachable, AccessDenied, RegistryError
        (if the server is still busy after all retries).
        """
        retries = self.retries()
        while True:
            try:
                with self.send(method, target, scopes, headers, body, authenticate=authenticate) as stream:
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
        """Request ``/v2/`` with the given ``Authorization`` header only; returns the response, also a 401."""
        return self._follow("GET", "/v2/", _with_common_headers({}, authorization), None)

    def request_token(self, scopes: Sequence[Scope]) -> None:
        """Request a token for these scopes now, for URLs whose 401 has no challenge (a hub's JSON API).

        Raises Unreachable, AccessDenied.
        """
        with self.ping() as stream:
            stream.read()
        challenge = stream.headers.get("www-authenticate", "")
        if stream.status == 401 and is_same_server(stream.origin, self.base):
            self._authorizer.answer_challenge(challenge, "", scopes, f"{self.base}/v2/")

    def exchange(self, request: HTTPRequest) -> HTTPResponse:
        """Send a request of the authentication flow as is, without credentials; retries if the server is busy."""
        retries = self.retries()
        self._require_tls(request.url)
        while True:
            try:
                with self._send_token_request(request) as stream:
                    response = stream.read()
            except ConnectionFailed as error:
                if error.permanent or not retries.wait():
                    raise
                continue
            if response.status not in RETRYABLE_STATUSES or not retries.wait(response.retry_after):
                return response

    def _send_token_request(self, request: HTTPRequest) -> StreamedResponse:
        headers = {"User-Agent": USER_AGENT, **request.headers}
        body = BytesBody(request.body) if request.body else None
        stream = self._connections.send(request.method, request.url, headers, body)
        return self._follow_redirects(stream, request.method, request.url, headers)

    def _is_own(self, target: str) -> bool:
        return is_same_server(resolve_url(self.base, target), self.base)

    def _follow(
        self, method: str, target: str, headers: Mapping[str, str], body: RequestBody | None
    ) -> StreamedResponse:
        if self.stopped.is_set():
            raise Unreachable("transfer canceled")
        stream = self._send_detecting_scheme(method, target, headers, body)
        return self._follow_redirects(stream, method, resolve_url(self.base, target), headers)

    def _follow_redirects(
        self, stream: StreamedResponse, method: str, url: str, headers: Mapping[str, str]
    ) -> StreamedResponse:
        """Return the final response of a request to ``url``; credentials stay at the server that they were sent to."""
        for _ in range(_MAX_REDIRECTS):
            location = stream.headers.get("location", "")
            if stream.status not in _REDIRECTS or not location or method not in ("GET", "HEAD"):
                return stream
            stream.close()
            url, earlier = resolve_url(url, location), url
            if not is_same_server(url, earlier):
                headers = {name: value for name, value in headers.items() if name.lower() in _HEADERS_ELSEWHERE}
            stream = self._connections.send(method, url, headers)
        stream.close()
        raise RegistryError(f"{self.host}: too many redirects", status=stream.status)

    def _send_detecting_scheme(
        self, method: str, target: str, headers: Mapping[str, str], body: RequestBody | None
    ) -> StreamedResponse:
        """Send a request; on the first request to a loopback host, detect whether it uses TLS."""
        if self._scheme:
            return self._connections.send(method, resolve_url(self.base, target), headers, body)
        try:
            stream = self._connections.send(method, resolve_url(self.base, target), headers, body)
            if stream.status != 400:
                self._scheme = "http"
                return stream
            stream.close()
        except ConnectionFailed as error:
            if isinstance(error.__cause__, ConnectionRefusedError):
                raise
        self._scheme = "https" if self._speaks_tls() else "http"
        return self._connections.send(method, resolve_url(self.base, target), headers, body)

    def _speaks_tls(self) -> bool:
        try:
            self._connections.send("GET", f"https://{self.host}/v2/", {"User-Agent": USER_AGENT}).close()
        except ConnectionFailed as error:
            if error.permanent:
                raise
            return False
        return True

    def _require_tls(self, url: str) -> None:
        """Refuse to send credentials over plain HTTP unless the user allowed it for the host."""
        parts = urlsplit(url)
        if parts.scheme != "https" and not self._connections.tls_options.allows_plain_http(parts.netloc):
            raise AccessDenied(
                f"the token server {parts.netloc} of {self.host} does not use TLS",
                f"allow it with 'hythe config set plain-http {parts.netloc}'",
            )


def _known_scheme(host: str, connections: ConnectionPool) -> str:
    if is_loopback(host) and host not in connections.tls_options.plain_http:
        return ""
    return "http" if connections.tls_options.allows_plain_http(host) else "https"


def _with_common_headers(headers: Mapping[str, str], authorization: str) -> dict[str, str]:
    common = {"User-Agent": USER_AGENT, **headers}
    return {**common, "Authorization": authorization} if authorization else common


def error_from(response: HTTPResponse, session: RegistrySession, what: str) -> ClientError:
    """Return the exception for an error response: the registry's message, with a hint."""
    reason = error_reason(response.body)
    code = next((entry.code for entry in decode_errors(response.body)), "")
    if response.status in (401, 403):
        credential = session.credential()
        who = credential.username or "with a token"
        hint = (
            f"you are logged in as {who}; check its permissions"
            if credential
            else f"log in with 'hythe login {session.host}'"
        )
        if response.status == 403 and not reason:
            hint = session.proxy_hint or hint
        return AccessDenied(reason or f"{session.host} refused {what} ({response.status})", hint)
    if response.status == 404:
        message = f"{what} not found" + (f": {reason}" if reason else "")
        return RemoteNotFound(message, "check the name; private repositories need 'hythe login'")
    if response.status == 429:
        wait = f"try again in {response.retry_after} seconds" if response.retry_after else "try again later"
        message = f"{session.host}: too many requests"
        return RegistryError(message, wait, status=429, code=code, retry_after=response.retry_after)
    if 300 <= response.status < 400 and not reason:
        reason = f"it redirects to {response.headers.get('location', 'nothing')}"
    message = f"{session.host} returned status {response.status} for {what}" + (f": {reason}" if reason else "")
    hint = session.proxy_hint if response.status in _PROXY_STATUSES and not reason else ""
    return RegistryError(message, hint, status=response.status, code=code, retry_after=response.retry_after)
