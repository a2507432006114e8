"""Errors of the hub's services. Each has a message for the user and, where possible, a hint.

HubError                        root; ``status`` is the HTTP status
├── NotFound                    404; also for what the actor may not see
├── SignInNeeded                401; missing or wrong credentials
├── Refused                     403; the actor is known but may not do this
│   └── AccountBlocked              an administrator blocked the account
├── Taken                       409; the name is in use
├── Invalid                     422; names each invalid field
└── TooManyAttempts             429; retry after ``retry_after`` seconds
"""

from collections.abc import Mapping
from http import HTTPStatus

from hythe.hub.wording import counted


class HubError(Exception):
    """Root of the errors of the hub's services."""

    status = HTTPStatus.INTERNAL_SERVER_ERROR

    def __init__(self, message: str, hint: str = "") -> None:
        self.message = message
        self.hint = hint
        super().__init__(f"{message} ({hint})" if hint else message)


class NotFound(HubError):
    """The resource does not exist, or the actor may not see it."""

    status = HTTPStatus.NOT_FOUND


class SignInNeeded(HubError):
    """The request has no credentials, or wrong ones."""

    status = HTTPStatus.UNAUTHORIZED


class Refused(HubError):
    """The actor may not do this."""

    status = HTTPStatus.FORBIDDEN


class AccountBlocked(Refused):
    """The credentials are right, but an administrator blocked the account."""

    def __init__(self, name: str) -> None:
        super().__init__(f"the account {name} is blocked: ask an administrator")


class Taken(HubError):
    """The name is in use; ``fields`` says which field of the request it is."""

    status = HTTPStatus.CONFLICT

    def __init__(self, message: str, fields: Mapping[str, str], hint: str = "") -> None:
        self.fields = dict(fields)
        super().__init__(message, hint)


class Invalid(HubError):
    """The request has invalid fields; ``fields`` maps each to a description of valid values."""

    status = HTTPStatus.UNPROCESSABLE_ENTITY

    def __init__(self, fields: Mapping[str, str]) -> None:
        self.fields = dict(fields)
        super().__init__("; ".join(f"{name}: {problem}" for name, problem in fields.items()))


class TooManyAttempts(HubError):
    """Too many attempts, such as failed sign-ins; retry after ``retry_after`` seconds."""

    status = HTTPStatus.TOO_MANY_REQUESTS

    def __init__(self, retry_after: int, message: str = "too many failed sign-ins", hint: str = "") -> None:
        self.retry_after = retry_after
        super().__init__(message, f"try again in {counted(retry_after, 'second')}{', ' if hint else ''}{hint}")
