"""What Trusted Builds refuse beyond the hub's own errors; each text ends in what to do.

HubError
├── InvalidBuildConfiguration                422; a rule, tag template, schedule or other part of a set-up that cannot be used
├── Conflict                    409; the thing is in a state in which this cannot be done
└── LeaseLost                   409; the build was given to another worker, or is over: stop working on it
"""

from http import HTTPStatus

from hythe.hub.errors import HubError


class InvalidBuildConfiguration(HubError):
    """A part of a set-up that cannot be used."""

    status = HTTPStatus.UNPROCESSABLE_ENTITY


class BuildConflict(HubError):
    """The thing is in a state in which this cannot be done."""

    status = HTTPStatus.CONFLICT


class LeaseLost(BuildConflict):
    """The build belongs to another worker now, or is over."""
