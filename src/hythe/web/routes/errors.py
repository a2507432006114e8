"""Whatever a page raises, in the form of a page."""

import logging
from collections.abc import Awaitable, Callable
from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from hythe.database import InvalidValueError, UnavailableError
from hythe.hub.errors import HubError, SignInNeeded, TooManyAttempts
from hythe.oci.errors import WireError
from hythe.web.formatting import sentence
from hythe.web.routes.form import BadForm
from hythe.web.routes.page_request import Forged, PageRequest
from hythe.web.routes.site import Site

ErrorHandler = Callable[[Request, Exception], Awaitable[Response]]

TITLES = {
    400: "That did not make sense",
    403: "You may not do this",
    404: "Nothing lies here",
    405: "That cannot be done here",
    409: "That is taken",
    422: "That cannot be taken",
    429: "Too many tries",
    500: "Something went wrong",
    503: "The hub is out of breath",
}

TEXTS = {
    404: "There is no such page, or it is private and you are not signed in as somebody who may see it.",
    405: "This page does not take what was sent to it: begin at the start page.",
    500: "This is our fault, not yours. The hub's log says what happened; try again in a moment.",
    503: "The hub cannot reach its storage at the moment. Try again in a minute.",
}

FORGED = "This form was not sent from a page of yours, or that page is too old. Go back, reload it, and send it again."

log = logging.getLogger(__name__)


def handlers(site: Site) -> dict[type[Exception] | int, ErrorHandler]:
    """Return what answers each kind of exception."""

    async def refused(request: Request, error: Exception) -> Response:
        return _refused(_visit(site, request), error)

    async def broken(request: Request, _: Exception) -> Response:
        return _page(PageRequest(site, request), 500)

    answers: dict[type[Exception] | int, ErrorHandler] = {Exception: broken}
    for kind in (HubError, WireError, HTTPException, BadForm, Forged, InvalidValueError, UnavailableError):
        answers[kind] = refused
    return answers


def _visit(site: Site, request: Request) -> PageRequest:
    found = getattr(request.state, "visit", None)
    return found if isinstance(found, PageRequest) else PageRequest(site, request)


def _refused(visit: PageRequest, error: Exception) -> Response:
    match error:
        case SignInNeeded():
            return visit.redirect(visit.sign_in_address)
        case TooManyAttempts():
            response = _page(visit, error.status, str(error))
            response.headers["Retry-After"] = str(error.retry_after)
            return response
        case HubError():
            return _page(visit, error.status, str(error))
        case WireError():
            # What the registry hides by 401 and what is not there look the same here.
            return _page(visit, 404 if error.status in {401, 404} else error.status, str(error))
        case HTTPException():
            return _page(visit, error.status_code)
        case BadForm():
            return _page(visit, 400, str(error))
        case InvalidValueError():
            return _page(visit, 400, "what was sent is too long, too large, or holds what is no character")
        case UnavailableError():
            log.error("a page needed the database: %s", error)
            return _page(visit, 503)
    return _page(visit, 403, FORGED)


def _page(visit: PageRequest, status: int, text: str = "") -> Response:
    title = TITLES.get(status) or HTTPStatus(status).phrase
    # One text for everything that is not there, so that a private repository looks like none at all.
    said = TEXTS[404] if status == 404 else sentence(text) or TEXTS.get(status, "")
    return visit.page("error.html", status, title=title, text=said)
