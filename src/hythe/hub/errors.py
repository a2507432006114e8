"""Errors of the hub's services. Each has a message for the user and, where possible, a hint.

HubError                        root; ``status`` is the HTTP status
├── NotFound                    404; also for what the actor may not see
├── SignInNeeded                401; missing or wrong credentials
│   └── SecondFactorNeeded          the password is right, but it alone does not sign in
├── Refused                     403; the actor is known but may not do this
│   ├── AccountBlocked              an administrator blocked the account
│   └── ConfirmationNeeded          the user has to give a password or second factor again
├── Moved                       308; what was asked for has another name now
├── Taken                       409; the name is in use
├── Invalid                     422; names each invalid field
├── TooManyAttempts             429; retry after ``retry_after`` seconds
└── IssuerUnavailable           502; the keys of an issuer of ID tokens cannot be read
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


class SecondFactorNeeded(SignInNeeded):
    """The password is right, and the account has a second factor. ``state`` continues a sign-in; empty: for programs.

    ``url`` is the hub's; the message is what ``docker login`` prints.
    """

    def __init__(self, url: str = "", state: str = "") -> None:
        self.state = state
        super().__init__(
            "this account has two-factor authentication: log in with a personal access token instead of the password",
            f"create one at {url}/account/tokens",
        )


class Refused(HubError):
    """The actor may not do this."""

    status = HTTPStatus.FORBIDDEN


class AccountBlocked(Refused):
    """The credentials are right, but an administrator blocked the account."""

    def __init__(self, name: str) -> None:
        super().__init__(f"the account {name} is blocked: ask an administrator")


class ConfirmationNeeded(Refused):
    """A session may do this only shortly after the user signed in or confirmed it: it may be stolen."""

    def __init__(self) -> None:
        super().__init__(
            "confirm that it is you first", "send your password or a code to POST /api/v1/users/me/confirmation"
        )


class Moved(HubError):
    """An account or a repository has another name now, under which the same request works."""

    status = HTTPStatus.PERMANENT_REDIRECT

    def __init__(self, former: str, present: str) -> None:
        self.former = former
        self.present = present
        super().__init__(f"{former} is now {present}", f"use {present}")


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


class IssuerUnavailable(HubError):
    """An ID token cannot be checked, because its issuer does not respond as it must."""

    status = HTTPStatus.BAD_GATEWAY


class ProviderDown(HubError):
    """An identity provider or the LDAP directory does not respond, or not as its protocol says."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
