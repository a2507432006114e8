"""How to be let in: the token handshake as a generator that does no I/O of its own.

It yields requests for the token server and is sent the answers; what it returns is the ``Authorization`` header to
use. Distribution's ``docs/content/spec/auth/{token,oauth,scope}.md``; RFC 6749; RFC 7617.

    Basic                                   name and password, as they are
    Bearer, registry token                  as it is
    Bearer, identity token                  POST grant_type=refresh_token
    Bearer, name and password               GET with Basic; where GET is not served, POST grant_type=password
    Bearer, nobody                          GET
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
"""How long a token lives when its server names no time, or a shorter one (token specification, ``expires_in``)."""

AuthFlow = Generator[HTTPRequest, HTTPResponse, "Authorization"]


class Authorization(msgspec.Struct, frozen=True):
    """The ``Authorization`` header to send, for how many seconds, and a refresh token when one was given."""

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
    """Answer a server's challenges; ``offline`` asks for a refresh token, as logging in does.

    Raises AccessDenied when the token server refuses or nothing that we have fits.
    """
    bearer = next((c for c in challenges if c.scheme == "bearer"), None)
    if bearer is not None:
        return (yield from _bearer(bearer, credential, scopes, offline))
    if any(c.scheme == "basic" for c in challenges):
        if not (credential.username and credential.password):
            raise AccessDenied("unauthorized: authentication required", "log in with 'hythe login'")
        return Authorization(f"Basic {credential.encoded}")
    offered = ", ".join(c.scheme for c in challenges) or "no way at all"
    raise AccessDenied(f"the server offers {offered} to authenticate", "hythe knows Bearer and Basic")


def _bearer(challenge: Challenge, credential: Credential, scopes: Sequence[Scope], offline: bool) -> AuthFlow:
    if credential.registry_token:
        return Authorization(f"Bearer {credential.registry_token}")
    realm = challenge.parameters.get("realm", "")
    if urlsplit(realm).scheme not in ("http", "https"):
        raise AccessDenied(f"the registry names no token server (realm {realm!r})", "tell its administrator")
    service = challenge.parameters.get("service", "")
    if credential.identity_token:
        fields = {"grant_type": "refresh_token", "refresh_token": credential.identity_token}
        answer = yield _post(realm, service, scopes, fields)
    else:
        answer = yield _get(realm, service, scopes, credential, offline)
        if answer.status in (404, 405) and credential:
            answer = yield _post(realm, service, scopes, _password_fields(credential, offline))
    return _read_reply(answer, credential, offline)


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


def _read_reply(answer: HTTPResponse, credential: Credential, offline: bool) -> Authorization:
    if answer.status in (400, 401, 403):
        who = "your credentials" if credential else "anonymous access"
        again = "check the user name and the password" if offline else "log in again with 'hythe login'"
        hint = again if credential else "log in with 'hythe login'"
        raise AccessDenied(f"the token server refused {who}: {_reason(answer)}", hint)
    if answer.status != 200:
        raise RegistryError(f"the token server answered {answer.status}: {_reason(answer)}", status=answer.status)
    try:
        reply = msgspec.json.decode(answer.body, type=_TokenReply)
    except msgspec.MsgspecError as error:
        raise RegistryError("the token server's answer is not a token", "tell its administrator") from error
    token = reply.token or reply.access_token
    if not token:
        raise RegistryError("the token server's answer holds no token", "tell its administrator")
    seconds = max(MIN_TOKEN_LIFETIME, reply.expires_in or MIN_TOKEN_LIFETIME)
    return Authorization(f"Bearer {token}", seconds, reply.refresh_token)


def _reason(answer: HTTPResponse) -> str:
    entries = decode_errors(answer.body)
    if entries:
        return "; ".join(entry.message or entry.code.lower() for entry in entries)
    try:
        reply = msgspec.json.decode(answer.body, type=_DetailReply)
    except msgspec.MsgspecError:
        return f"status {answer.status}"
    return reply.details or reply.detail or reply.message or f"status {answer.status}"
