"""Errors of Trusted Builds; each has a hint that says what to do.

HubError
├── InvalidBuildConfiguration   422; a rule, tag template, schedule or other part of a build configuration is invalid
└── BuildConflict               409; the build or configuration is in a state that does not allow the request
    └── LeaseLost               409; another worker has the build, or it has finished: stop working on it
"""

from http import HTTPStatus

from hythe.hub.errors import HubError


class InvalidBuildConfiguration(HubError):
    """A part of a build configuration is invalid."""

    status = HTTPStatus.UNPROCESSABLE_ENTITY


class BuildConflict(HubError):
    """The state of the build or configuration does not allow the request."""

    status = HTTPStatus.CONFLICT


class LeaseLost(BuildConflict):
    """Another worker has the build, or it has finished."""
