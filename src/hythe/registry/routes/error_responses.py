"""Turns exceptions into error responses of the protocol (specification, "Error Codes"). No other module does."""

import logging
import uuid
from http import HTTPStatus

from sqlalchemy.exc import DBAPIError

from hythe.database import DatabaseError, InvalidValueError, UnavailableError
from hythe.database.maintenance import RETRY_AFTER, UnderMaintenance
from hythe.oci.challenge import Challenge, parse_challenges
from hythe.oci.errors import ErrorCode, InvalidDigest, InvalidReference, OCIError, WireError, encode_errors
from hythe.oci.reference import is_name
from hythe.oci.scope import CATALOG
from hythe.registry.access import Access, Action
from hythe.registry.routes.http import Response, Scope, find_header
from hythe.registry.routes.routing import RegistryRoute, Target
from hythe.registry.storage.port import BlobMissing, StorageError, StorageUnavailable
from hythe.registry.uploads import BodyCut

ACTIONS = {
    "GET": (Action.PULL,),
    "HEAD": (Action.PULL,),
    "DELETE": (Action.DELETE,),
}
PUSHING = (Action.PULL, Action.PUSH)

log = logging.getLogger(__name__)


def error_response(error: Exception, access: Access, scope: Scope, target: Target | None) -> Response:
    """Return the response for an exception of a handler; unexpected ones are logged with a number."""
    known = wire_error(error)
    headers = dict(known.headers)
    if known.code is ErrorCode.UNAUTHORIZED:
        challenge = _challenge(known, access, scope, target)
        if challenge is not None:
            headers["WWW-Authenticate"] = str(challenge)
    encoded = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]
    return Response(int(known.status), [(b"content-type", b"application/json"), *encoded], encode_errors(known))


def wire_error(error: Exception) -> WireError:
    """Return the protocol's error for any exception."""
    if isinstance(error, WireError):
        return error
    if isinstance(error, BodyCut):
        return WireError(ErrorCode.SIZE_INVALID, f"{error}: send the rest, or start again")
    if isinstance(error, OCIError):
        return WireError(_code_of(error), str(error))
    if isinstance(error, BlobMissing):
        log.error("the content of a blob is missing", exc_info=error)
        return WireError(ErrorCode.BLOB_UNKNOWN, "the content of this blob is missing: push it again")
    if isinstance(error, InvalidValueError):
        message = "a value is too long, too large, or contains invalid characters"
        return WireError(ErrorCode.UNSUPPORTED, message, status=HTTPStatus.BAD_REQUEST)
    if isinstance(error, UnderMaintenance):
        return WireError(ErrorCode.UNAVAILABLE, str(error), headers={"Retry-After": str(RETRY_AFTER)})
    number = uuid.uuid4().hex[:12]
    if isinstance(error, (DatabaseError, StorageError)):
        log.error("unavailable (%s): %s", number, error)
        message = f"the registry's {_failed_part(error)} is unavailable: try again later; number {number}"
    else:
        log.error("unexpected error (%s)", number, exc_info=error)
        message = f"internal error: try again, or give the operator the number {number}"
    detail = {"number": number, "database": isinstance(error, (DatabaseError, DBAPIError))}
    return WireError(ErrorCode.UNAVAILABLE, message, detail=detail, headers={"Retry-After": "5"})


def _failed_part(error: Exception) -> str:
    """Describe the error without paths, addresses or details of the database."""
    if isinstance(error, StorageUnavailable):
        return f"storage, {error.cause}"
    if isinstance(error, UnavailableError) and error.cause:
        return f"database, {error.cause}"
    return "database" if isinstance(error, DatabaseError) else "storage"


def _code_of(error: OCIError) -> ErrorCode:
    if isinstance(error, InvalidDigest):
        return ErrorCode.DIGEST_INVALID
    if isinstance(error, InvalidReference):
        return ErrorCode.NAME_INVALID
    return ErrorCode.MANIFEST_INVALID


def method_not_allowed(allowed: list[str]) -> WireError:
    """Return the error for a method that an endpoint does not support."""
    return WireError(ErrorCode.UNSUPPORTED, headers={"Allow": ", ".join(sorted(allowed))})


def unknown_path() -> WireError:
    """Return the error for a path outside the protocol."""
    return WireError(ErrorCode.NAME_UNKNOWN, "no such endpoint below /v2/", status=HTTPStatus.NOT_FOUND)


def _challenge(error: WireError, access: Access, scope: Scope, target: Target | None) -> Challenge | None:
    """Return the challenge of a 401, completed with the address that the client used if Access gave none."""
    given = parse_challenges(error.headers.get("WWW-Authenticate", ""))
    if given:
        challenge: Challenge | None = given[0]
    else:
        # Invalid names must not get into a header.
        repository = access.canonical(target.name) if target is not None and is_name(target.name) else None
        challenge = access.challenge(repository, ACTIONS.get(scope["method"], PUSHING))
        if challenge is not None and challenge.scheme == "bearer" and target == Target(RegistryRoute.CATALOG):
            challenge.parameters["scope"] = str(CATALOG)
    realm = challenge.parameters.get("realm", "") if challenge is not None else ""
    if challenge is None or not realm.startswith("/"):
        return challenge
    host = find_header(scope, b"host") or "localhost"
    parameters = {**challenge.parameters, "realm": f"{scope['scheme']}://{host}{realm}"}
    if not parameters.get("service"):
        parameters["service"] = host
    return Challenge(challenge.scheme, parameters)
