"""One request for a page: who asks, and how the answer is made."""

import secrets
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import quote

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from hythe.hub.actor import NOBODY, HubActor
from hythe.hub.errors import SignInNeeded
from hythe.hub.sessions import LIFETIME, NewSession
from hythe.web import csrf as forgery
from hythe.web.notices import Notice, text_of
from hythe.web.redirects import local_target
from hythe.web.routes.form import Form, read_form
from hythe.web.routes.site import NOTICE, SESSION, VISITOR, Site

LARGEST_NUMBER = 2**63 - 1
"""No row of a database has a number beyond."""


class Forged(Exception):
    """A form that did not come from a page of ours under this session."""


class PageRequest:
    """A request with its visitor; it lives as long as the request."""

    def __init__(self, site: Site, request: Request, actor: HubActor = NOBODY) -> None:
        self.site = site
        self.request = request
        self.actor = actor
        self._visitor = self._cookie(VISITOR)
        self._new_visitor = ""

    @classmethod
    async def of(cls, site: Site, request: Request) -> "PageRequest":
        """Find out who asks."""
        visit = cls(site, request)
        if visit.session:
            visit.actor = await site.hub.sessions.actor(visit.session)
        return visit

    def _cookie(self, name: str) -> str:
        return self.request.cookies.get(self.site.cookie_name(name, self.request), "")

    # What templates ask

    @property
    def signed_in(self) -> bool:
        """Whether this is an account."""
        return self.actor.signed_in

    @property
    def name(self) -> str:
        """The account's name; empty for nobody."""
        return self.actor.name

    @property
    def host(self) -> str:
        """HOST[:PORT] as images' names begin here."""
        return self.site.host(self.request)

    @property
    def sign_up_open(self) -> bool:
        """Whether anybody may make an account."""
        return self.site.hub.users.sign_up_open

    @property
    def notice(self) -> str:
        """What to say once about the form that was sent before."""
        return text_of(self.request.cookies.get(NOTICE, ""))

    @property
    def sign_in_address(self) -> str:
        """The path of the sign-in page, from which one comes back here."""
        here = self.request.url.path + (f"?{self.request.url.query}" if self.request.url.query else "")
        away = here == "/" or here.startswith("/sign-") or self.request.method not in {"GET", "HEAD"}
        return "/sign-in" if away else f"/sign-in?next={quote(here, safe='/')}"

    def form_token(self) -> str:
        """Return the token against forgery for a form on this page."""
        return forgery.form_token(self._secret or self._begin_visitor())

    # Session and forms

    @property
    def session(self) -> str:
        """The session's token as the browser sent it; empty when it sent none."""
        return self._cookie(SESSION)

    @property
    def _secret(self) -> str:
        return self.session if self.signed_in else self._visitor or self._new_visitor

    def _begin_visitor(self) -> str:
        self._new_visitor = secrets.token_urlsafe(32)
        return self._new_visitor

    @property
    def address(self) -> str:
        """The client's address, by which failed sign-ins are counted."""
        return self.request.client.host if self.request.client else ""

    def require_account(self) -> None:
        """Return when somebody is signed in. Raises SignInNeeded, which leads to the sign-in page."""
        if not self.signed_in:
            raise SignInNeeded("sign in first")

    async def form(self) -> Form:
        """Read the form that was sent. Raises Forged and BadForm."""
        headers = self.request.headers
        hosts = self.site.hosts(self.request)
        if forgery.comes_from_elsewhere(headers.get("origin"), headers.get("sec-fetch-site"), hosts):
            raise Forged
        form = await read_form(self.request)
        if not forgery.token_matches(self._secret, form["form_token"]):
            raise Forged
        return form

    # Answers

    def page(self, template: str, status: int = 200, **values: Any) -> Response:
        """Return a page; a notice that it shows is not shown again."""
        content = self.site.templates.render(template, {"visit": self, "status": status} | values)
        response = HTMLResponse(content, status)
        if self._new_visitor:
            self._set_cookie(response, self.site.cookie_name(VISITOR, self.request), self._new_visitor)
        if NOTICE in self.request.cookies:
            response.delete_cookie(NOTICE)
        return response

    def redirect(self, path: str, notice: Notice | None = None) -> Response:
        """Return the way to another page of ours, which may say something."""
        response = RedirectResponse(local_target(path), 303)
        if notice is not None:
            self._set_cookie(response, NOTICE, notice.name, 60)
        return response

    def begin(self, response: Response, started: NewSession) -> Response:
        """Give a session's cookie to the browser in the place of what it had."""
        name = self.site.cookie_name(SESSION, self.request)
        self._set_cookie(response, name, started.token, int(LIFETIME.total_seconds()))
        self._forget(response, VISITOR)
        return response

    def end(self, response: Response) -> Response:
        """Take the session's cookie from the browser."""
        self._forget(response, SESSION)
        return response

    def _set_cookie(self, response: Response, name: str, value: str, seconds: int | None = None) -> None:
        secure = self.site.secure(self.request)
        response.set_cookie(name, value, seconds, path="/", secure=secure, httponly=True, samesite="lax")

    def _forget(self, response: Response, name: str) -> None:
        secure = self.site.secure(self.request)
        response.delete_cookie(self.site.cookie_name(name, self.request), secure=secure, httponly=True, samesite="lax")


Handler = Callable[[PageRequest], Awaitable[Response]]


def page_route(site: Site, path: str, handler: Handler, *methods: str) -> Route:
    """Return the route of a page; what its handler raises becomes a page in ``routes/errors.py``."""

    async def endpoint(request: Request) -> Response:
        visit = await PageRequest.of(site, request)
        request.state.visit = visit
        if any(map(_names_nothing, request.path_params.values())):
            raise HTTPException(404)
        return await handler(visit)

    return Route(path, endpoint, methods=list(methods or ("GET",)), name=handler.__name__)


def _names_nothing(part: object) -> bool:
    """Whether this part of an address is what no database keeps."""
    return part > LARGEST_NUMBER if isinstance(part, int) else "\0" in str(part)
