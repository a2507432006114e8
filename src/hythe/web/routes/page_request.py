"""A request for a page: the user, the session, the form, and the response."""

import secrets
from typing import Any
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from hythe.hub.actor import ANONYMOUS, HubActor
from hythe.hub.sign_in.identities import ProviderOffer
from hythe.hub.sign_in.passkeys import RelyingParty
from hythe.hub.sign_in.sessions import NewSession
from hythe.hub.sign_in.sign_in_states import LIFETIME as PENDING_LIFETIME
from hythe.registry.routes.cross_site import is_cross_site
from hythe.web import csrf
from hythe.web.flashes import Flash, text_of
from hythe.web.redirects import local_target
from hythe.web.routes.form import Form, read_form
from hythe.web.routes.site import ANONYMOUS_COOKIE, FLASH_COOKIE, PENDING_COOKIE, SESSION_COOKIE, Site


class CsrfError(Exception):
    """The form was not submitted from a page of this session."""


class PageRequest:
    """One request and its user, passed to every handler and template."""

    def __init__(self, site: Site, request: Request, actor: HubActor = ANONYMOUS) -> None:
        self.site = site
        self.request = request
        self.actor = actor
        self._anonymous = self._cookie(ANONYMOUS_COOKIE)
        self._new_anonymous = ""

    @classmethod
    async def authenticate(cls, site: Site, request: Request) -> "PageRequest":
        """Return the page request of the session's user."""
        page = cls(site, request)
        if page.session:
            page.actor = await site.hub.sessions.actor(page.session, page.client_address)
        return page

    def _cookie(self, name: str) -> str:
        return self.request.cookies.get(self.site.cookie_name(name, self.request), "")

    # For templates

    @property
    def under_maintenance(self) -> bool:
        """Whether nothing can be changed for now."""
        return self.site.hub.maintenance.read_only

    @property
    def signed_in(self) -> bool:
        """Whether the user is signed in."""
        return self.actor.signed_in

    @property
    def name(self) -> str:
        """The user's name; empty if not signed in."""
        return self.actor.name

    @property
    def host(self) -> str:
        """HOST[:PORT] with which image names of this hub begin."""
        return self.site.host(self.request)

    @property
    def sign_up_open(self) -> bool:
        """Whether anyone can create an account."""
        return self.site.hub.users.sign_up_open

    @property
    def identity_offers(self) -> tuple[ProviderOffer, ...]:
        """The identity providers that users can sign in with."""
        return self.site.hub.identities.offers

    @property
    def flash(self) -> str:
        """The message about the form submitted before; empty if there is none."""
        return text_of(self.request.cookies.get(FLASH_COOKIE, ""))

    @property
    def sign_in_address(self) -> str:
        """The path of the sign-in page, which redirects back to this page."""
        here = self.request.url.path + (f"?{self.request.url.query}" if self.request.url.query else "")
        no_return = here == "/" or here.startswith("/sign-") or self.request.method not in {"GET", "HEAD"}
        return "/sign-in" if no_return else f"/sign-in?next={quote(here, safe='/')}"

    def form_token(self) -> str:
        """Return the CSRF token for the forms on this page."""
        return csrf.form_token(self._csrf_secret or self._start_anonymous())

    # Session and forms

    @property
    def session(self) -> str:
        """The session token that the browser sent; empty if there is none."""
        return self._cookie(SESSION_COOKIE)

    @property
    def _csrf_secret(self) -> str:
        return self.session if self.signed_in else self._anonymous or self._new_anonymous

    def _start_anonymous(self) -> str:
        self._new_anonymous = secrets.token_urlsafe(32)
        return self._new_anonymous

    def browser_secret(self) -> str:
        """Return a secret that only this browser has, to which challenges are bound."""
        return self._csrf_secret or self._start_anonymous()

    @property
    def pending_sign_in(self) -> str:
        """The state of a sign-in that waits for a second factor; empty if there is none."""
        return self._cookie(PENDING_COOKIE)

    @property
    def relying_party(self) -> RelyingParty:
        """The hub as passkeys know it."""
        return RelyingParty.of_url(self.site.url(self.request))

    @property
    def client_address(self) -> str:
        """The client's IP address, used to throttle sign-in attempts."""
        return self.request.client.host if self.request.client else ""

    @property
    def user_agent(self) -> str:
        """How the browser describes itself."""
        return self.request.headers.get("user-agent", "")

    async def form(self) -> Form:
        """Read the submitted form. Raises CsrfError and BadForm."""
        headers = self.request.headers
        hosts = self.site.hosts(self.request)
        if is_cross_site(headers.get("origin"), headers.get("sec-fetch-site"), hosts):
            raise CsrfError
        form = await read_form(self.request)
        if not csrf.token_matches(self._csrf_secret, form["form_token"]):
            raise CsrfError
        return form

    # Responses

    def render(self, template: str, status: int = 200, **values: Any) -> Response:
        """Render a template; a flash message that it shows is not shown again."""
        content = self.site.templates.render(template, {"page": self, "status": status} | values)
        response = HTMLResponse(content, status)
        if self._new_anonymous:
            self._set_cookie(response, self.site.cookie_name(ANONYMOUS_COOKIE, self.request), self._new_anonymous)
        if FLASH_COOKIE in self.request.cookies:
            response.delete_cookie(FLASH_COOKIE)
        return response

    def redirect(self, path: str, flash: Flash | None = None) -> Response:
        """Redirect to another page of this hub, which shows the flash message."""
        response = RedirectResponse(local_target(path), 303)
        if flash is not None:
            self._set_cookie(response, FLASH_COOKIE, flash.name, 60)
        return response

    def start_session(self, response: Response, started: NewSession) -> Response:
        """Set the session cookie and delete the anonymous one."""
        name = self.site.cookie_name(SESSION_COOKIE, self.request)
        self._set_cookie(response, name, started.token, started.lifetime)
        self._delete_cookie(response, ANONYMOUS_COOKIE)
        return response

    def start_pending_sign_in(self, response: Response, state: str) -> Response:
        """Set the cookie of a sign-in that waits for a second factor."""
        name = self.site.cookie_name(PENDING_COOKIE, self.request)
        self._set_cookie(response, name, state, int(PENDING_LIFETIME.total_seconds()))
        return response

    def end_pending_sign_in(self, response: Response) -> Response:
        """Delete the cookie of a sign-in that waits for a second factor."""
        self._delete_cookie(response, PENDING_COOKIE)
        return response

    def secret_cookie(self, name: str) -> str:
        """Return a cookie that ``set_secret_cookie`` set; empty if there is none."""
        return self._cookie(name)

    def set_secret_cookie(self, response: Response, name: str, value: str, seconds: int) -> Response:
        """Set a cookie that no script and no other host of the domain can read."""
        self._set_cookie(response, self.site.cookie_name(name, self.request), value, seconds)
        return response

    def delete_secret_cookie(self, response: Response, name: str) -> Response:
        """Delete a cookie that ``set_secret_cookie`` set."""
        self._delete_cookie(response, name)
        return response

    def end_session(self, response: Response) -> Response:
        """Delete the session cookie."""
        self._delete_cookie(response, SESSION_COOKIE)
        return response

    def _set_cookie(self, response: Response, name: str, value: str, seconds: int | None = None) -> None:
        secure = self.site.secure(self.request)
        response.set_cookie(name, value, seconds, path="/", secure=secure, httponly=True, samesite="lax")

    def _delete_cookie(self, response: Response, name: str) -> None:
        secure = self.site.secure(self.request)
        response.delete_cookie(self.site.cookie_name(name, self.request), secure=secure, httponly=True, samesite="lax")
