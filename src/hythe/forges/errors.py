"""What goes wrong with a forge, in words for the user.

HubError
└── ForgeError          502; the forge said something that cannot be used
    ├── ForgeAway       503; no answer, too many questions, or its own fault: try again later
    ├── TokenRefused    409; the link's token is not accepted any more
    ├── RightsLacking   403; the token is good, and does not reach this far
    └── NoAddress       422; what was typed is nothing that can be asked
"""

from http import HTTPStatus

from hythe.hub.errors import HubError


class ForgeError(HubError):
    """The forge said something that cannot be used."""

    status = HTTPStatus.BAD_GATEWAY


class ForgeAway(ForgeError):
    """The forge does not answer now."""

    status = HTTPStatus.SERVICE_UNAVAILABLE


class TokenRefused(ForgeError):
    """The token is not accepted."""

    status = HTTPStatus.CONFLICT


class NoAddress(ForgeError):
    """What was typed is no address, or none that can be looked at."""

    status = HTTPStatus.UNPROCESSABLE_ENTITY


class RightsLacking(ForgeError):
    """The token does not reach this far, or there is no such thing for it."""

    status = HTTPStatus.FORBIDDEN
