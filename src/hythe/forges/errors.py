"""What can fail when the hub calls a forge; ``hint`` says what the user can do.

ForgeError              the forge sent an unusable response
├── ForgeUnavailable    no response, too many requests, or a server error: retry later
├── TokenRefused        the forge does not accept the token any more
├── PermissionDenied    the token is valid, but lacks the permission; or the repository does not exist
├── InvalidURL          not a URL that the hub can query
└── UnknownForge        the hub's settings do not name this forge
"""


class ForgeError(Exception):
    """The forge sent an unusable response."""

    def __init__(self, message: str, hint: str = "") -> None:
        self.message = message
        self.hint = hint
        super().__init__(f"{message} ({hint})" if hint else message)


class ForgeUnavailable(ForgeError):
    """The forge does not respond, or asks to retry later."""


class TokenRefused(ForgeError):
    """The forge does not accept the token."""


class InvalidURL(ForgeError):
    """Not a URL, or not one that the hub can query."""


class PermissionDenied(ForgeError):
    """The token lacks the permission, or the repository does not exist."""


class UnknownForge(ForgeError):
    """The hub's settings do not name a forge at this URL."""
