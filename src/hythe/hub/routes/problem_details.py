"""Errors as problem details (RFC 9457). Only this module turns errors of the JSON API into responses."""

import logging
import uuid
from http import HTTPStatus

import msgspec
from starlette.responses import Response

from hythe.database import DatabaseError, InvalidValueError, UnavailableError
from hythe.database.maintenance import RETRY_AFTER, UnderMaintenance
from hythe.hub.errors import HubError, Invalid, SignInNeeded, Taken, TooManyAttempts
from hythe.hub.routes.request_rates import TooManyRequests
from hythe.oci.errors import OCIError, WireError

MEDIA_TYPE = "application/problem+json"

CHALLENGE = 'Basic realm="hythe", charset="UTF-8"'


log = logging.getLogger(__name__)


class FieldProblem(msgspec.Struct, frozen=True):
    """The problem of one field of the request; ``pointer`` is a JSON pointer to the field."""

    field: str
    detail: str
    pointer: str


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """Problem details; ``hint`` says what to do, ``errors`` names each invalid field."""

    title: str
    status: int
    detail: str
    type: str = "about:blank"
    hint: str = ""
    errors: tuple[FieldProblem, ...] = ()


class BadRequest(HubError):
    """The request cannot be parsed."""

    status = HTTPStatus.BAD_REQUEST


class Unforeseen(HubError):
    """An unexpected error; the log has its details under the number."""

    def __init__(self, number: str) -> None:
        super().__init__("internal error", f"try again, or give the operator the number {number}")


class Unstorable(BadRequest):
    """A valid value that no database can store."""

    def __init__(self) -> None:
        super().__init__("a value is too long, too large, or contains invalid characters", "send shorter, plain text")


class MethodNotAllowed(HubError):
    """The path exists but does not allow the method; ``allowed`` lists those it allows."""

    status = HTTPStatus.METHOD_NOT_ALLOWED

    def __init__(self, allowed: str) -> None:
        self.allowed = allowed
        super().__init__(f"this address allows only {allowed}")


def problem_response(error: Exception) -> Response:
    """Return the response for an error."""
    problem, headers = describe_error(error)
    # Send ``type`` even if it has the default value, because clients look for it.
    body = {"type": problem.type, **msgspec.to_builtins(problem)}
    return Response(msgspec.json.encode(body), problem.status, headers, MEDIA_TYPE)


def describe_error(error: Exception) -> tuple[Problem, dict[str, str]]:
    """Return the problem that describes an error, and the headers of its response; log an unexpected error."""
    error = known_error(error)
    problem = Problem(
        title=_status(error).phrase,
        status=_status(error).value,
        detail=_detail(error),
        hint=error.hint if isinstance(error, HubError) else "",
        errors=_fields(error),
    )
    return problem, _headers(error)


def known_error(error: Exception) -> HubError | OCIError | DatabaseError:
    """Return the problem that clients see; unexpected errors are logged with a number."""
    if isinstance(error, InvalidValueError):
        return Unstorable()
    if isinstance(error, DatabaseError) and not isinstance(error, UnderMaintenance):
        log.error("the database is unavailable: %s", error)
    if isinstance(error, HubError | OCIError | DatabaseError):
        return error
    number = uuid.uuid4().hex[:12]
    log.error("unexpected error (%s)", number, exc_info=error)
    return Unforeseen(number)


def _status(error: HubError | OCIError | DatabaseError) -> HTTPStatus:
    if isinstance(error, HubError | WireError):
        return error.status
    return HTTPStatus.BAD_REQUEST if isinstance(error, OCIError) else HTTPStatus.SERVICE_UNAVAILABLE


def _detail(error: HubError | OCIError | DatabaseError) -> str:
    if isinstance(error, UnderMaintenance):
        return str(error)
    if isinstance(error, DatabaseError):
        cause = error.cause if isinstance(error, UnavailableError) else ""
        return f"the database is temporarily unavailable{': ' if cause else ''}{cause}"
    return error.message if isinstance(error, HubError | WireError) else str(error)


def _fields(error: Exception) -> tuple[FieldProblem, ...]:
    if not isinstance(error, Invalid | Taken):
        return ()
    return tuple(FieldProblem(field, detail, _pointer(field)) for field, detail in error.fields.items())


def _pointer(field: str) -> str:
    return "/" + field.replace("~", "~0").replace("/", "~1")


def _headers(error: Exception) -> dict[str, str]:
    match error:
        case SignInNeeded():
            return {"WWW-Authenticate": CHALLENGE}
        case TooManyRequests():
            return {"Retry-After": str(error.retry_after), **error.headers}
        case TooManyAttempts():
            return {"Retry-After": str(error.retry_after)}
        case UnderMaintenance():
            return {"Retry-After": str(RETRY_AFTER)}
        case DatabaseError():
            return {"Retry-After": "5"}
        case MethodNotAllowed():
            return {"Allow": error.allowed}
        case _:
            return {}
