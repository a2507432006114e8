"""``/token``: the token server for docker, podman, skopeo and containerd.

Distribution, "Token Authentication Specification" (GET) and "Docker Registry v2 authentication using OAuth2" (POST).
"""

from collections.abc import Sequence
from http import HTTPStatus
from urllib.parse import parse_qsl

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from hythe.database import DatabaseError
from hythe.hub.actor import ANONYMOUS
from hythe.hub.errors import AccountBlocked, HubError, SecondFactorNeeded, SignInNeeded, TooManyAttempts
from hythe.hub.routes.parsing import read_body
from hythe.hub.routes.problem_details import CHALLENGE, BadRequest, Unforeseen, known_error
from hythe.hub.service import HubServices
from hythe.hub.tokens.tokens import TokenReply, TokenRequest
from hythe.oci.errors import ErrorCode, ErrorEntry, OCIError
from hythe.oci.scope import parse_scopes

MAX_TOKEN_FORM_SIZE = 64 * 1024
"""Bytes; a form of this size takes at most 10 ms to decode."""

_YES = ("true", "1", "offline")


class TokenFailure(msgspec.Struct, frozen=True):
    """An error in all forms that clients read: the registry's, the older token server's, and OAuth2's."""

    errors: tuple[ErrorEntry, ...]
    details: str
    error: str
    error_description: str


async def answer_token(hub: HubServices, request: Request) -> Response:
    """Handle GET with or without Basic credentials, and POST with a form."""
    address = request.client.host if request.client else ""
    try:
        if request.method == "POST":
            form = _pairs((await read_body(request, MAX_TOKEN_FORM_SIZE)).decode("utf-8", "replace"))
            reply = await _by_form(hub, form, address)
        else:
            reply = await _by_query(hub, request, address)
    except SecondFactorNeeded as error:
        # Without the setting public_url, only the request says where the hub is.
        base = hub.settings.public_url or str(request.base_url)
        return _failure(SecondFactorNeeded(base.rstrip("/"), error.state))
    except Exception as error:
        return _failure(known_error(error))
    return _json(reply, HTTPStatus.OK, {"Cache-Control": "no-store"})


async def _by_query(hub: HubServices, request: Request, address: str) -> TokenReply:
    asked = request.query_params
    wanted = _token_request(
        asked.get("service", ""),
        asked.getlist("scope"),
        asked.get("client_id", ""),
        offline=asked.get("offline_token", "").lower() in _YES,
    )
    actor = await hub.credentials.by_header(request.headers.get("authorization"), address)
    return await hub.tokens.issue(actor, wanted)


async def _by_form(hub: HubServices, form: dict[str, list[str]], address: str) -> TokenReply:
    def first(name: str) -> str:
        return form.get(name, [""])[0]

    wanted = _token_request(
        first("service"), form.get("scope", []), first("client_id"), offline=first("access_type").lower() in _YES
    )
    match first("grant_type"):
        case "refresh_token":
            return await hub.tokens.renew(first("refresh_token"), wanted, address)
        case "password":
            actor = await hub.credentials.by_password(first("username"), first("password"), address)
            return await hub.tokens.issue(actor, wanted)
        case "":
            return await hub.tokens.issue(ANONYMOUS, wanted)
    raise BadRequest("unsupported grant_type", "use password or refresh_token")


def _token_request(service: str, scopes: Sequence[str], client: str, *, offline: bool) -> TokenRequest:
    return TokenRequest(service[:255], parse_scopes(scopes), client, offline)


def _pairs(body: str) -> dict[str, list[str]]:
    pairs: dict[str, list[str]] = {}
    try:
        for name, value in parse_qsl(body, keep_blank_values=True, max_num_fields=1000):
            pairs.setdefault(name, []).append(value)
    except ValueError as error:
        raise BadRequest("the form cannot be parsed") from error
    return pairs


def _failure(error: HubError | OCIError | DatabaseError) -> Response:
    match error:
        case SecondFactorNeeded():
            headers = {"WWW-Authenticate": CHALLENGE}
            words = f"{error.message} ({error.hint})"
            return _failure_answer(error.status, ErrorCode.DENIED, words, "second_factor_needed", headers)
        case SignInNeeded():
            headers = {"WWW-Authenticate": CHALLENGE}
            return _failure_answer(error.status, ErrorCode.UNAUTHORIZED, error.message, "invalid_grant", headers)
        case TooManyAttempts():
            headers = {"Retry-After": str(error.retry_after)}
            return _failure_answer(error.status, ErrorCode.TOOMANYREQUESTS, str(error), "slow_down", headers)
        case AccountBlocked():
            # Not 403, of which podman and skopeo show the number only.
            headers = {"WWW-Authenticate": CHALLENGE}
            return _failure_answer(HTTPStatus.UNAUTHORIZED, ErrorCode.DENIED, error.message, "access_denied", headers)
        case Unforeseen():
            return _failure_answer(error.status, ErrorCode.UNAVAILABLE, str(error), "server_error")
        case HubError():
            return _failure_answer(error.status, ErrorCode.UNSUPPORTED, str(error), "invalid_request")
        case OCIError():
            return _failure_answer(HTTPStatus.BAD_REQUEST, ErrorCode.NAME_INVALID, str(error), "invalid_scope")
    headers = {"Retry-After": "5"}
    return _failure_answer(
        HTTPStatus.SERVICE_UNAVAILABLE, ErrorCode.UNAVAILABLE, "try again later", "temporarily_unavailable", headers
    )


def _failure_answer(
    status: HTTPStatus, code: ErrorCode, message: str, error: str, headers: dict[str, str] | None = None
) -> Response:
    return _json(TokenFailure((ErrorEntry(code.name, message),), message, error, message), status, headers or {})


def _json(value: TokenReply | TokenFailure, status: HTTPStatus, headers: dict[str, str]) -> Response:
    return Response(msgspec.json.encode(value), status, headers, "application/json")
