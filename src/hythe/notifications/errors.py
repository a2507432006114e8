"""Errors of notifications; each message ends in a hint."""

from http import HTTPStatus

from hythe.hub.errors import HubError


class InvalidWebhook(HubError):
    """A webhook, or the response to one, has an invalid field."""

    status = HTTPStatus.UNPROCESSABLE_ENTITY
