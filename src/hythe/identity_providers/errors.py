"""Errors of identity providers. Each has a message for the user and, where possible, a hint.

IdentityProviderError           root
├── ProviderUnavailable         the provider does not respond, or not as its protocol says; try again later
└── IdentityRejected            the provider, or a check of its response, refused this sign-in
    └── IdTokenRejected         an ID token is not genuine, for someone else, or for another time
"""


class IdentityProviderError(Exception):
    """Root of the errors of identity providers."""

    def __init__(self, message: str, hint: str = "") -> None:
        self.message = message
        self.hint = hint
        super().__init__(f"{message} ({hint})" if hint else message)


class ProviderUnavailable(IdentityProviderError):
    """The provider does not respond, or not as its protocol says."""

    def __init__(self, message: str, hint: str = "try again later, or ask an administrator of this hub") -> None:
        super().__init__(message, hint)


class IdentityRejected(IdentityProviderError):
    """The provider, or a check of its response, refused this sign-in."""

    def __init__(self, message: str, hint: str = "sign in again") -> None:
        super().__init__(message, hint)


class IdTokenRejected(IdentityRejected):
    """An ID token is not genuine, for someone else, or for another time."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
