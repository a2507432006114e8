"""The pages as one application, to be mounted behind everything else that the server answers."""

from starlette.applications import Starlette
from starlette.routing import BaseRoute, Mount

from hythe.builds.service import BuildsServices
from hythe.builds.sources import Sources
from hythe.hub.service import Hub
from hythe.notifications.service import NotificationServices
from hythe.registry.clock import now
from hythe.web.assets import Assets
from hythe.web.routes import account, accounts, builds, docker_hub, new_build, repositories, start, tags
from hythe.web.routes import build_configuration as build_setup
from hythe.web.routes import linked_accounts as links
from hythe.web.routes import repository_settings as changes
from hythe.web.routes import webhooks as webhooks
from hythe.web.routes.errors import handlers
from hythe.web.routes.headers import SecurityHeaders
from hythe.web.routes.page_request import Handler, page_route
from hythe.web.routes.site import Site
from hythe.web.routes.static import static_route
from hythe.web.templates import Templates

LOOK = ("GET",)
FORM = ("GET", "POST")
SEND = ("POST",)

PAGES: tuple[tuple[str, Handler, tuple[str, ...]], ...] = (
    ("/", start.start, LOOK),
    ("/search", start.search, LOOK),
    ("/sign-up", accounts.sign_up, FORM),
    ("/sign-in", accounts.sign_in, FORM),
    ("/sign-out", accounts.sign_out, SEND),
    ("/account", account.account, FORM),
    ("/account/password", account.password, FORM),
    ("/account/tokens", account.tokens, FORM),
    ("/account/tokens/{token:int}/delete", account.delete_token, SEND),
    ("/account/linked-accounts", links.links, FORM),
    ("/account/linked-accounts/begin", links.begin, LOOK),
    ("/account/linked-accounts/authorized", links.authorized, LOOK),
    ("/account/linked-accounts/{link:int}/unlink", links.unlink, FORM),
    ("/new-build", new_build.choose_place, LOOK),
    ("/new-build/rules", new_build.choose_rules, FORM),
    ("/new-build/docker-hub", docker_hub.carry_over, FORM),
    ("/new-build/{link:int}", new_build.choose_repository, LOOK),
    ("/new", changes.new_repository, FORM),
    ("/{namespace}", repositories.namespace, LOOK),
    # A component of a name is never "-", so these hide no repository.
    ("/{repository:path}/-/tags", tags.tags, LOOK),
    ("/{repository:path}/-/tags/{tag}/delete", tags.delete_tag, FORM),
    ("/{repository:path}/-/tags/{tag}/restore", tags.restore_tag, SEND),
    ("/{repository:path}/-/settings", changes.settings, FORM),
    ("/{repository:path}/-/delete", changes.delete, FORM),
    ("/{repository:path}/-/builds", builds.builds, FORM),
    ("/{repository:path}/-/builds/{number:int}", builds.build, FORM),
    ("/{repository:path}/-/builds/{number:int}/log", builds.log, LOOK),
    ("/{repository:path}/-/builds/{number:int}/events", builds.events, LOOK),
    ("/{repository:path}/-/build-configuration", build_setup.build_setup, FORM),
    ("/{repository:path}/-/build-configuration/preview", build_setup.preview, LOOK),
    ("/{repository:path}/-/build-configuration/rules/{rule:int}", build_setup.rule, FORM),
    ("/{repository:path}/-/webhooks", webhooks.notices, FORM),
    ("/{repository:path}/-/build-configuration/delete", build_setup.delete_setup, FORM),
    # As Docker Hub has it; no user name is so short.
    ("/r/{reference:path}", repositories.elsewhere, LOOK),
    ("/_/{reference:path}", repositories.elsewhere, LOOK),
    ("/{reference:path}", repositories.repository, LOOK),
)
"""Every page, in the order in which an address is looked for."""


def routes(
    hub: Hub, trusted_builds: BuildsServices, notifications: NotificationServices, sources: Sources
) -> list[BaseRoute]:
    """Return what answers every address that nothing else answers: mount it last."""
    assets = Assets.read()
    site = Site(hub, trusted_builds, notifications, sources, assets, Templates(assets, now))
    pages = [page_route(site, path, handler, *methods) for path, handler, methods in PAGES]
    application = Starlette(routes=[static_route(assets), *pages], exception_handlers=handlers(site))
    return [Mount("/", SecurityHeaders(application))]
