"""Registry authentication: the token flow as a generator that does no I/O of its own.

It yields requests for the token server, receives the responses, and returns the ``Authorization`` header to use.
Distribution's ``docs/content/spec/auth/{token,oauth,scope}.md``; RFC 6749; RFC 7617.

    Basic                                   user name and password as is
    Bearer, registry token                  used as is
    Bearer, identity token                  POST grant_type=refresh_token
    Bearer, user name and password          GET with Basic; if GET is not supported, POST grant_type=password
    Bearer, anonymous                       GET
"""

from collections.abc import Generator, Sequence
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from hythe.client.credentials import Credential
from hythe.client.errors import AccessDenied, RegistryError
from hythe.client.http1 import HTTPRequest, HTTPResponse
from hythe.oci.challenge import Challenge
from hythe.oci.errors import decode_errors
from hythe.oci.scope import Scope

CLIENT_ID = "hythe"
MIN_TOKEN_LIFETIME = 60
"""Seconds that a token is valid if its ``expires_in`` is missing or smaller (token specification)."""

AuthFlow = Generator[HTTPRequest, HTTPResponse, "Authorization"]


class Authorization(msgspec.Struct, frozen=True):
    """The ``Authorization`` header, the seconds that it is valid, and the refresh token if the server sent one."""

    header: str
    seconds: float = float("inf")
    refresh_token: str = ""


class _TokenReply(msgspec.Struct, frozen=True):
    token: str = ""
    access_token: str = ""
    expires_in: float | None = None
    refresh_token: str = ""


class _DetailReply(msgspec.Struct, frozen=True):
    details: str = ""
    detail: str = ""
    message: str = ""


def authorize(
    challenges: Sequence[Challenge], credential: Credential, scopes: Sequence[Scope], *, offline: bool = False
) -> AuthFlow:
    """Respond to a server's challenges; ``offline`` requests a refresh token, for logging in.

    Raises AccessDenied if the token server refuses, or if no offered scheme is supported.
    """
    bearer = next((c for c in challenges if c.scheme == "bearer"), None)
    if bearer is not None:
        return (yield from _bearer(bearer, credential, scopes, offline))
    if any(c.scheme == "basic" for c in challenges):
        if not (credential.username and credential.password):
            raise AccessDenied("unauthorized: authentication required", "log in with 'hythe login'")
        return Authorization(f"Basic {credential.encoded}")
    offered = ", ".join(c.scheme for c in challenges) or "no scheme"
    raise AccessDenied(f"unsupported authentication: the server offers {offered}", "hythe supports Bearer and Basic")


def _bearer(challenge: Challenge, credential: Credential, scopes: Sequence[Scope], offline: bool) -> AuthFlow:
    if credential.registry_token:
        return Authorization(f"Bearer {credential.registry_token}")
    realm = challenge.parameters.get("realm", "")
    if urlsplit(realm).scheme not in ("http", "https"):
        raise AccessDenied(
            f"invalid authentication challenge: realm {realm!r} is not a URL", "contact the registry's administrator"
        )
    service = challenge.parameters.get("service", "")
    if credential.identity_token:
        fields = {"grant_type": "refresh_token", "refresh_token": credential.identity_token}
        response = yield _post(realm, service, scopes, fields)
    else:
        response = yield _get(realm, service, scopes, credential, offline)
        if response.status in (404, 405) and credential:
            response = yield _post(realm, service, scopes, _password_fields(credential, offline))
    return _read_reply(response, credential, offline)


def _password_fields(credential: Credential, offline: bool) -> dict[str, str]:
    fields = {"grant_type": "password", "username": credential.username, "password": credential.password}
    return {**fields, "access_type": "offline"} if offline else fields


def _get(realm: str, service: str, scopes: Sequence[Scope], credential: Credential, offline: bool) -> HTTPRequest:
    query = [("service", service)] if service else []
    query += [("scope", str(scope)) for scope in scopes]
    headers = {}
    if offline:
        query += [("offline_token", "true"), ("client_id", CLIENT_ID)]
    if credential:
        query.append(("account", credential.username))
        headers["Authorization"] = f"Basic {credential.encoded}"
    joined = "&" if "?" in realm else "?"
    return HTTPRequest("GET", f"{realm}{joined}{urlencode(query, quote_via=quote, safe=':/')}", headers)


def _post(realm: str, service: str, scopes: Sequence[Scope], fields: dict[str, str]) -> HTTPRequest:
    form = {**fields, "service": service, "client_id": CLIENT_ID}
    if scopes:
        form["scope"] = " ".join(map(str, scopes))
    return HTTPRequest("POST", realm, {"Content-Type": "application/x-www-form-urlencoded"}, urlencode(form).encode())


def _read_reply(response: HTTPResponse, credential: Credential, offline: bool) -> Authorization:
    if response.status in (400, 401, 403):
        who = "your credentials" if credential else "anonymous access"
        credential_hint = "check the user name and password" if offline else "log in again with 'hythe login'"
        hint = credential_hint if credential else "log in with 'hythe login'"
        raise AccessDenied(f"the token server refused {who}: {_reason(response)}", hint)
    if response.status != 200:
        raise RegistryError(
            f"the token server returned status {response.status}: {_reason(response)}", status=response.status
        )
    try:
        reply = msgspec.json.decode(response.body, type=_TokenReply)
    except msgspec.MsgspecError as error:
        raise RegistryError(
            "invalid response from the token server: not JSON", "contact the registry's administrator"
        ) from error
    token = reply.token or reply.access_token
    if not token:
        raise RegistryError("invalid response from the token server: no token", "contact the registry's administrator")
    seconds = max(MIN_TOKEN_LIFETIME, reply.expires_in or MIN_TOKEN_LIFETIME)
    return Authorization(f"Bearer {token}", seconds, reply.refresh_token)


def _reason(response: HTTPResponse) -> str:
    entries = decode_errors(response.body)
    if entries:
        return "; ".join(entry.message or entry.code.lower() for entry in entries)
    try:
        reply = msgspec.json.decode(response.body, type=_DetailReply)
    except msgspec.MsgspecError:
        return f"status {response.status}"
    return reply.details or reply.detail or reply.message or f"status {response.status}"
