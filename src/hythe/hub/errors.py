"""What the hub refuses, for people: each says what is wrong, and ends in a hint where there is one.

HubError                        root; ``status`` is what HTTP says
├── NotFound                    404; also the answer for what the actor may not know of
├── SignInNeeded                401; no credentials, or wrong ones
├── Refused                     403; known who, and may not
├── Taken                       409; somebody has that name already
├── Invalid                     422; names each bad field
└── TooManyAttempts             429; after ``retry_after`` seconds again
"""

from collections.abc import Mapping
from http import HTTPStatus


class HubError(Exception):
    """Root of what the hub's services raise."""

    status = HTTPStatus.INTERNAL_SERVER_ERROR

    def __init__(self, message: str, hint: str = "") -> None:
        self.message = message
        self.hint = hint
        super().__init__(f"{message} ({hint})" if hint else message)


class NotFound(HubError):
    """There is no such thing, as far as the actor may know."""

    status = HTTPStatus.NOT_FOUND


class SignInNeeded(HubError):
    """Nobody, or not who they say they are."""

    status = HTTPStatus.UNAUTHORIZED


class Refused(HubError):
    """The actor may not do this."""

    status = HTTPStatus.FORBIDDEN


class Taken(HubError):
    """The name is in use; ``fields`` names which of what was sent."""

    status = HTTPStatus.CONFLICT

    def __init__(self, message: str, fields: Mapping[str, str], hint: str = "") -> None:
        self.fields = dict(fields)
        super().__init__(message, hint)


class Invalid(HubError):
    """What was sent cannot be taken; ``fields`` says for each bad field what would be right."""

    status = HTTPStatus.UNPROCESSABLE_ENTITY

    def __init__(self, fields: Mapping[str, str]) -> None:
        self.fields = dict(fields)
        super().__init__("; ".join(f"{name}: {problem}" for name, problem in fields.items()))


class TooManyAttempts(HubError):
    """Too many failed sign-ins; try again after ``retry_after`` seconds."""

    status = HTTPStatus.TOO_MANY_REQUESTS

    def __init__(self, retry_after: int) -> None:
        self.retry_after = retry_after
        super().__init__("too many failed sign-ins", f"try again in {retry_after} seconds")
