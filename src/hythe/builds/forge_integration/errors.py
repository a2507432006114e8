"""Converts errors of forges to errors of the hub, which have an HTTP status."""

from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

from hythe.forges.errors import (
    ForgeError,
    ForgeUnavailable,
    InvalidURL,
    PermissionDenied,
    TokenRefused,
    UnknownForge,
)
from hythe.hub.errors import HubError

_STATUS = {
    ForgeUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    TokenRefused: HTTPStatus.CONFLICT,
    PermissionDenied: HTTPStatus.FORBIDDEN,
    InvalidURL: HTTPStatus.UNPROCESSABLE_ENTITY,
    UnknownForge: HTTPStatus.NOT_FOUND,
}


class ForgeRequestFailed(HubError):
    """A request to a forge failed; ``cause`` says how."""

    def __init__(self, cause: ForgeError) -> None:
        super().__init__(cause.message, cause.hint)
        self.cause = cause
        self.status = _STATUS.get(type(cause), HTTPStatus.BAD_GATEWAY)


@contextmanager
def hub_errors() -> Iterator[None]:
    """Raise ForgeRequestFailed in place of ForgeError."""
    try:
        yield
    except ForgeError as error:
        raise ForgeRequestFailed(error) from error
