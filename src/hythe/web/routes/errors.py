"""Error pages for every exception that a handler raises."""

import logging
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from urllib.parse import quote

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from hythe.database import InvalidValueError, QueryTimeout, UnavailableError
from hythe.database.maintenance import RETRY_AFTER, UnderMaintenance
from hythe.hub.errors import ConfirmationNeeded, HubError, Moved, SignInNeeded, TooManyAttempts
from hythe.hub.routes.moved import moved_location
from hythe.oci.errors import WireError
from hythe.web.formatting import sentence
from hythe.web.routes.form import BadForm
from hythe.web.routes.page_request import CsrfError, PageRequest
from hythe.web.routes.site import Site

ErrorHandler = Callable[[Request, Exception], Awaitable[Response]]

TITLES = {
    400: "Bad request",
    403: "Access denied",
    404: "Page not found",
    405: "Method not allowed",
    409: "Conflict",
    422: "Invalid input",
    429: "Too many attempts",
    500: "Something went wrong",
    503: "Temporarily unavailable",
}

TEXTS = {
    404: "This page does not exist, or you do not have access to it.",
    405: "This page does not accept that kind of request.",
    500: "An internal error occurred and has been logged. Try again in a moment.",
    503: "The hub cannot reach its database. Try again in a minute.",
}

TOO_SLOW = "The database takes too long for this page at the moment. Try again in a minute."

CSRF_FAILED = "The form has expired or was submitted from another site. Go back, reload the page and try again."

INVALID_VALUE = "the request contains a value that is too long, too large or not valid text"

log = logging.getLogger(__name__)


def handlers(site: Site) -> dict[type[Exception] | int, ErrorHandler]:
    """Return the handler of each kind of exception."""

    async def failed(request: Request, error: Exception) -> Response:
        if isinstance(error, Moved) and (location := moved_location(request, error)):
            return RedirectResponse(location, error.status, {"Cache-Control": "no-store"})
        return _error_page(_page_request(site, request), error)

    async def crashed(request: Request, _: Exception) -> Response:
        return _render(PageRequest(site, request), 500)

    handlers_by_kind: dict[type[Exception] | int, ErrorHandler] = {Exception: crashed}
    others = (WireError, HTTPException, BadForm, CsrfError, InvalidValueError, QueryTimeout, UnavailableError)
    for kind in (HubError, *others):
        handlers_by_kind[kind] = failed
    return handlers_by_kind


def _page_request(site: Site, request: Request) -> PageRequest:
    page = getattr(request.state, "page", None)
    return page if isinstance(page, PageRequest) else PageRequest(site, request)


def _error_page(page: PageRequest, error: Exception) -> Response:
    match error:
        case ConfirmationNeeded():
            return page.redirect(f"/account/confirm?next={quote(_after_confirmation(page), safe='/')}")
        case SignInNeeded():
            return page.redirect(page.sign_in_address)
        case TooManyAttempts():
            return _later(page, str(error), error.retry_after, error.status)
        case HubError():
            return _render(page, error.status, str(error))
        case WireError():
            # A page must not reveal whether a private repository exists, so 401 becomes 404.
            return _render(page, 404 if error.status in {401, 404} else error.status, str(error))
        case HTTPException():
            return _render(page, error.status_code)
        case BadForm() | InvalidValueError():
            return _render(page, 400, str(error) if isinstance(error, BadForm) else INVALID_VALUE)
        case UnderMaintenance():
            return _later(page, str(error), RETRY_AFTER)
        case UnavailableError() | QueryTimeout():
            log.error("page failed, database unavailable: %s", error)
            return _later(page, TOO_SLOW if isinstance(error, QueryTimeout) else "", 5)
    return _render(page, 403, CSRF_FAILED)


def _later(page: PageRequest, text: str, seconds: int, status: int = 503) -> Response:
    """Return an error page that says after how many seconds a new attempt makes sense."""
    response = _render(page, status, text)
    response.headers["Retry-After"] = str(seconds)
    return response


def _after_confirmation(page: PageRequest) -> str:
    """Return the page to show after a confirmation: a form has to be sent again from its own page."""
    path = page.request.url.path
    if page.request.method in ("GET", "HEAD"):
        return path
    if path.startswith("/admin/repositories/"):
        # /admin/repositories/ann/app of /admin/repositories/ann/app/-/open
        return path.partition("/-/")[0]
    # /account/identities of /account/identities/1/unlink, /admin/accounts/ann of /admin/accounts/ann/role
    return "/".join(path.split("/")[: 4 if path.startswith("/admin/") else 3])


def _render(page: PageRequest, status: int, text: str = "") -> Response:
    title = TITLES.get(status) or HTTPStatus(status).phrase
    # One text for every 404, so that a private repository looks like one that does not exist.
    message = TEXTS[404] if status == 404 else sentence(text) or TEXTS.get(status, "")
    return page.render("error.html", status, title=title, text=message)
