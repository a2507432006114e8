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
from urllib.parse import quote, urlencode, urljoin

import msgspec

from hythe.client.credentials import Credential
from hythe.client.error_body import error_reason
from hythe.client.errors import AccessDenied, RegistryError
from hythe.client.http1 import HTTPRequest, HTTPResponse
from hythe.client.urls import is_http_url
from hythe.oci.challenge import Challenge
from hythe.oci.received_token import InvalidTokenReply, ReceivedToken
from hythe.oci.scope import Scope, add_scopes

CLIENT_ID = "hythe"

AuthFlow = Generator[HTTPRequest, HTTPResponse, "Authorization"]


class Authorization(msgspec.Struct, frozen=True):
    """The ``Authorization`` header, the seconds that it is valid, and the refresh token if the server sent one."""

    header: str
    seconds: float = float("inf")
    refresh_token: str = ""


def authorize(
    challenges: Sequence[Challenge],
    credential: Credential,
    scopes: Sequence[Scope],
    *,
    offline: bool = False,
    base: str = "",
) -> AuthFlow:
    """Respond to a server's challenges; ``offline`` requests a refresh token, for logging in.

    A relative realm is resolved against ``base``, the URL of the challenged request. The scope in the challenge is
    requested as well, except for logging in. Raises AccessDenied if the token server refuses, or if no offered scheme
    is supported.
    """
    bearers = [_resolved(challenge, base) for challenge in challenges if challenge.scheme == "bearer"]
    bearer = next(filter(_has_usable_realm, bearers), None)
    if bearer is None and any(c.scheme == "basic" for c in challenges):
        if not (credential.username and credential.password):
            raise AccessDenied("unauthorized: authentication required", "log in with 'hythe login'")
        return Authorization(f"Basic {credential.encoded}")
    if bearer is not None or bearers:
        return (yield from _bearer(bearer or bearers[0], credential, scopes, offline))
    offered = ", ".join(c.scheme for c in challenges) or "no scheme"
    raise AccessDenied(f"unsupported authentication: the server offers {offered}", "hythe supports Bearer and Basic")


def _resolved(challenge: Challenge, base: str) -> Challenge:
    realm = challenge.parameters.get("realm", "")
    try:
        absolute = urljoin(base, realm) if base and realm else realm
    except ValueError:  # not a URL
        absolute = realm
    return Challenge(challenge.scheme, {**challenge.parameters, "realm": absolute})


def _has_usable_realm(challenge: Challenge) -> bool:
    return is_http_url(challenge.parameters["realm"])


def _bearer(challenge: Challenge, credential: Credential, scopes: Sequence[Scope], offline: bool) -> AuthFlow:
    if credential.registry_token:
        return Authorization(f"Bearer {credential.registry_token}")
    realm = challenge.parameters["realm"]
    if not _has_usable_realm(challenge):
        raise AccessDenied(
            f"invalid authentication challenge: realm {realm!r} is not a URL", "contact the registry's administrator"
        )
    service = challenge.parameters.get("service", "")
    wanted = tuple(map(str, scopes)) if offline else add_scopes(scopes, challenge.parameters.get("scope", ""))
    if credential.identity_token:
        fields = {"grant_type": "refresh_token", "refresh_token": credential.identity_token}
        response = yield _post(realm, service, wanted, fields)
    else:
        response = yield _get(realm, service, wanted, credential, offline)
        if response.status in (404, 405) and credential:
            response = yield _post(realm, service, wanted, _password_fields(credential, offline))
    return _read_reply(response, credential, offline)


def _password_fields(credential: Credential, offline: bool) -> dict[str, str]:
    fields = {"grant_type": "password", "username": credential.username, "password": credential.password}
    return {**fields, "access_type": "offline"} if offline else fields


def _get(realm: str, service: str, scopes: Sequence[str], credential: Credential, offline: bool) -> HTTPRequest:
    query = [("service", service)] if service else []
    query += [("scope", scope) for scope in scopes]
    headers = {}
    if offline:
        query += [("offline_token", "true"), ("client_id", CLIENT_ID)]
    if credential:
        query.append(("account", credential.username))
        headers["Authorization"] = f"Basic {credential.encoded}"
    joined = "&" if "?" in realm else "?"
    return HTTPRequest("GET", f"{realm}{joined}{urlencode(query, quote_via=quote, safe=':/')}", headers)


def _post(realm: str, service: str, scopes: Sequence[str], fields: dict[str, str]) -> HTTPRequest:
    form = {**fields, "service": service, "client_id": CLIENT_ID}
    if scopes:
        form["scope"] = " ".join(scopes)
    return HTTPRequest("POST", realm, {"Content-Type": "application/x-www-form-urlencoded"}, urlencode(form).encode())


def _read_reply(response: HTTPResponse, credential: Credential, offline: bool) -> Authorization:
    reason = error_reason(response.body) or f"status {response.status}"
    if response.status in (400, 401, 403):
        who = "your credentials" if credential else "anonymous access"
        credential_hint = "check the user name and password" if offline else "log in again with 'hythe login'"
        hint = credential_hint if credential else "log in with 'hythe login'"
        raise AccessDenied(f"the token server refused {who}: {reason}", hint)
    if not 200 <= response.status < 300:
        raise RegistryError(
            f"the token server returned status {response.status}: {reason}",
            status=response.status,
            retry_after=response.retry_after,
        )
    try:
        reply = ReceivedToken.parse(response.body)
    except InvalidTokenReply as error:
        raise RegistryError(
            f"invalid response from the token server: {error}", "contact the registry's administrator"
        ) from error
    return Authorization(f"Bearer {reply.token}", reply.seconds, reply.refresh_token)
