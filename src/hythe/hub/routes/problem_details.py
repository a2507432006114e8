"""Errors as problem details (RFC 9457); the one place of the JSON API that turns errors into responses."""

import logging
import uuid
from http import HTTPStatus

import msgspec
from starlette.responses import Response

from hythe.database import DatabaseError, InvalidValueError
from hythe.hub.errors import HubError, Invalid, SignInNeeded, Taken, TooManyAttempts
from hythe.oci.errors import OCIError, WireError

MEDIA_TYPE = "application/problem+json"

CHALLENGE = 'Basic realm="hythe", charset="UTF-8"'


log = logging.getLogger(__name__)


class FieldProblem(msgspec.Struct, frozen=True):
    """What is wrong with one field of what was sent; ``pointer`` is a JSON pointer to it."""

    field: str
    detail: str
    pointer: str


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """Problem details; ``hint`` says what to do, ``errors`` names each bad field."""

    title: str
    status: int
    detail: str
    type: str = "about:blank"
    hint: str = ""
    errors: tuple[FieldProblem, ...] = ()


class BadRequest(HubError):
    """A request that cannot be read."""

    status = HTTPStatus.BAD_REQUEST


class Unforeseen(HubError):
    """What nobody foresaw; the log has it under the number."""

    def __init__(self, number: str) -> None:
        super().__init__("something unforeseen went wrong", f"try again, or tell the operator the number {number}")


class Unstorable(BadRequest):
    """A value that has its right form and that no database keeps."""

    def __init__(self) -> None:
        super().__init__(
            "something that was sent is too long, too large, or holds what is no character", "send plain, shorter text"
        )


class MethodNotAllowed(HubError):
    """The path exists, and does not do this; ``allowed`` names what it does."""

    status = HTTPStatus.METHOD_NOT_ALLOWED

    def __init__(self, allowed: str) -> None:
        self.allowed = allowed
        super().__init__(f"this address answers {allowed} alone")


def problem_response(error: Exception) -> Response:
    """Return the answer that reports an error, whichever it is."""
    error = known_error(error)
    problem = Problem(
        title=_status(error).phrase,
        status=_status(error).value,
        detail=_detail(error),
        hint=error.hint if isinstance(error, HubError) else "",
        errors=_fields(error),
    )
    # ``type`` is sent although it is the default: clients look for it.
    body = {"type": problem.type, **msgspec.to_builtins(problem)}
    return Response(msgspec.json.encode(body), problem.status, _headers(error), MEDIA_TYPE)


def known_error(error: Exception) -> HubError | OCIError | DatabaseError:
    """Return what clients are told of an error; what nobody foresaw is logged with a number."""
    if isinstance(error, InvalidValueError):
        return Unstorable()
    if isinstance(error, HubError | OCIError | DatabaseError):
        return error
    number = uuid.uuid4().hex[:12]
    log.error("unforeseen error (%s)", number, exc_info=error)
    return Unforeseen(number)


def _status(error: HubError | OCIError | DatabaseError) -> HTTPStatus:
    if isinstance(error, HubError | WireError):
        return error.status
    return HTTPStatus.BAD_REQUEST if isinstance(error, OCIError) else HTTPStatus.SERVICE_UNAVAILABLE


def _detail(error: HubError | OCIError | DatabaseError) -> str:
    if isinstance(error, DatabaseError):
        return "the database cannot be used now: try again later"
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
        case TooManyAttempts():
            return {"Retry-After": str(error.retry_after)}
        case MethodNotAllowed():
            return {"Allow": error.allowed}
        case _:
            return {}
