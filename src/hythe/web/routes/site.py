"""What all pages share: services, templates, and the hub's address."""

from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.requests import Request

from hythe.builds.forge_integration.service import ForgeServices
from hythe.builds.service import BuildsServices
from hythe.hub.service import HubServices
from hythe.notifications.service import NotificationServices
from hythe.replication.service import ReplicationServices
from hythe.web.assets import Assets
from hythe.web.templates import Templates

SESSION_COOKIE = "hythe_session"
ANONYMOUS_COOKIE = "hythe_visitor"
"""The cookie to which CSRF tokens are bound before signing in."""

IDENTITY_COOKIE = "hythe_identity"
"""The cookie of a sign-in at an identity provider that is under way, sealed."""

UNNAMED_COOKIE = "hythe_unnamed"
"""The cookie of a provider's user who has to choose a name, sealed."""

FLASH_COOKIE = "hythe_flash"

PENDING_COOKIE = "hythe_pending"
"""The cookie with the state of a sign-in that waits for a second factor."""


@dataclass(frozen=True, slots=True)
class Site:
    """The services and templates behind the pages of one hub."""

    hub: HubServices
    builds: BuildsServices
    notifications: NotificationServices
    forges: ForgeServices
    replication: ReplicationServices
    assets: Assets
    templates: Templates

    @property
    def public_host(self) -> str:
        """HOST[:PORT] of the setting ``public_url``; empty if it is not set."""
        return urlsplit(self.hub.settings.public_url).netloc

    def host(self, request: Request) -> str:
        """Return HOST[:PORT] with which image names of this hub begin."""
        return self.public_host or request.url.netloc

    def url(self, request: Request) -> str:
        """Return the URL at which users and forges reach the hub, without a trailing slash."""
        return self.hub.settings.public_url.rstrip("/") or f"{request.url.scheme}://{request.url.netloc}"

    def hosts(self, request: Request) -> frozenset[str]:
        """Return every HOST[:PORT] that is this hub for this request."""
        return frozenset(filter(None, (self.public_host, request.url.netloc)))

    def secure(self, request: Request) -> bool:
        """Whether browsers use HTTPS, directly or through a proxy."""
        return request.url.scheme == "https" or self.hub.settings.public_url.startswith("https://")

    def cookie_name(self, name: str, request: Request) -> str:
        """Return the name of a cookie; the prefix ``__Host-`` keeps other hosts of the domain from setting it."""
        return f"__Host-{name}" if self.secure(request) else name
