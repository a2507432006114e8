"""What all pages share: the services, the templates, and where the hub is reached."""

from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.requests import Request

from hythe.builds.service import BuildsServices
from hythe.builds.sources import Sources
from hythe.hub.service import Hub
from hythe.notifications.service import NotificationServices
from hythe.web.assets import Assets
from hythe.web.templates import Templates

SESSION = "hythe_session"
VISITOR = "hythe_visitor"
"""The cookie that forms are bound to as long as nobody is signed in."""

NOTICE = "hythe_notice"


@dataclass(frozen=True, slots=True)
class Site:
    """One hub's pages."""

    hub: Hub
    builds: BuildsServices
    notifications: NotificationServices
    sources: Sources
    assets: Assets
    templates: Templates

    @property
    def public_host(self) -> str:
        """HOST[:PORT] under which users reach the hub; empty: what the request was sent to."""
        return urlsplit(self.hub.settings.public_url).netloc

    def host(self, request: Request) -> str:
        """Return HOST[:PORT] as images' names begin here."""
        return self.public_host or request.url.netloc

    def url(self, request: Request) -> str:
        """Return how users, and forges, reach the hub: without a slash at the end."""
        return self.hub.settings.public_url.rstrip("/") or f"{request.url.scheme}://{request.url.netloc}"

    def hosts(self, request: Request) -> frozenset[str]:
        """Return every HOST[:PORT] that is ours as far as this request goes."""
        return frozenset(filter(None, (self.public_host, request.url.netloc)))

    def secure(self, request: Request) -> bool:
        """Whether browsers reach us encrypted (here, or at a proxy before us)."""
        return request.url.scheme == "https" or self.hub.settings.public_url.startswith("https://")

    def cookie_name(self, name: str, request: Request) -> str:
        """Return the name of a cookie; the prefix keeps other hosts of the domain from setting it."""
        return f"__Host-{name}" if self.secure(request) else name
