"""An issuer of ID tokens for CI jobs, with GitHub's endpoint that gives them to a running job.

Written from GitHub's "OpenID Connect reference" and OpenID Connect Discovery. Tests make it misbehave by its fields.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey
from joserfc.jws import JWSRegistry
from tests.parts.docker_registry import Certificate

DISCOVERY = "/.well-known/openid-configuration"
KEYS = "/.well-known/jwks"
JOB_TOKEN = "/token"


@dataclass
class CIIssuer:
    """A running issuer. ``documents`` replaces what it responds with; ``delay`` is in seconds."""

    url: str = ""
    key: RSAKey | ECKey = field(default_factory=lambda: RSAKey.generate_key(2048, {"use": "sig"}, auto_kid=True))
    request_token: str = field(default_factory=lambda: secrets.token_hex(16))
    delay: float = 0.0
    documents: dict[str, bytes] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)

    @property
    def job_environment(self) -> dict[str, str]:
        """The variables of a GitHub job with ``permissions: id-token: write``."""
        return {
            "ACTIONS_ID_TOKEN_REQUEST_URL": f"{self.url}{JOB_TOKEN}?api-version=2.0",
            "ACTIONS_ID_TOKEN_REQUEST_TOKEN": self.request_token,
        }

    def claims(self, audience: str, **changed: Any) -> dict[str, Any]:
        """The claims of a job of acme/web on the branch main."""
        now = int(time.time())
        known = {
            "iss": self.url,
            "sub": "repo:acme/web:ref:refs/heads/main",
            "aud": audience,
            "jti": secrets.token_hex(16),
            "iat": now,
            "nbf": now - 5,
            "exp": now + 300,
            "ref": "refs/heads/main",
            "repository": "acme/web",
            "repository_owner_id": "65",
            "runner_environment": "github-hosted",
        }
        return {name: value for name, value in {**known, **changed}.items() if value is not None}

    def sign(self, claims: dict[str, Any], **header: Any) -> str:
        """Return the claims as a signed token."""
        algorithm = "RS256" if isinstance(self.key, RSAKey) else "ES256"
        full = {"typ": "JWT", "alg": algorithm, "kid": self.key.kid, "x5t": "aGV5", **header}
        registry = JWSRegistry(algorithms=[algorithm], strict_check_header=False)
        return jwt.encode(full, claims, self.key, algorithms=[algorithm], registry=registry)

    def id_token(self, audience: str, **changed: Any) -> str:
        """Return an ID token as a job gets it."""
        return self.sign(self.claims(audience, **changed))

    def respond(self, path: str, authorization: str) -> tuple[int, bytes]:
        """Return status and body of the response to a GET."""
        parts = urlsplit(path)
        self.requests.append(parts.path)
        time.sleep(self.delay)
        if parts.path in self.documents:
            return 200, self.documents[parts.path]
        match parts.path:
            case "/.well-known/openid-configuration":
                return 200, json.dumps({"issuer": self.url, "jwks_uri": f"{self.url}{KEYS}"}).encode()
            case "/.well-known/jwks":
                return 200, json.dumps({"keys": [self.key.as_dict(private=False)]}).encode()
            case "/token" if authorization.lower() == f"bearer {self.request_token}":
                query = parse_qs(parts.query)
                if query.get("api-version") != ["2.0"]:
                    return 400, b"{}"
                [audience] = query.get("audience", ["https://github.com/acme"])
                token = self.id_token(audience)
                return 200, json.dumps({"count": len(token), "value": token}).encode()
            case "/token":
                return 401, b'{"message": "unauthorized"}'
        return 404, b"{}"


@contextlib.contextmanager
def running_issuer(certificate: Certificate) -> Iterator[CIIssuer]:
    """Serve an issuer over TLS on a free loopback port."""
    issuer = CIIssuer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = issuer.respond(self.path, self.headers.get("Authorization", ""))
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            with contextlib.suppress(OSError):
                self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:
            """Log nothing: ``requests`` has the paths."""

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.cert, certificate.key)
    http.socket = context.wrap_socket(http.socket, server_side=True)
    issuer.url = f"https://127.0.0.1:{http.server_port}"
    thread = threading.Thread(target=http.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield issuer
    finally:
        http.shutdown()
        http.server_close()
        thread.join()
