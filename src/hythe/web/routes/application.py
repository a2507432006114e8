"""The pages as one application. It is mounted last: it handles every address that nothing else does."""

from starlette.applications import Starlette
from starlette.routing import BaseRoute, Mount

from hythe.builds.forge_integration.service import ForgeServices
from hythe.builds.service import BuildsServices
from hythe.hub.organizations.invitations import LINK_PATH
from hythe.hub.service import HubServices
from hythe.notifications.service import NotificationServices
from hythe.registry.clock import now
from hythe.web.assets import Assets
from hythe.web.routes import (
    account,
    build_configuration,
    builds,
    collaborators,
    confirmations,
    docker_hub_import,
    email_addresses,
    identities,
    invitations,
    linked_accounts,
    members,
    new_build,
    organizations,
    password_resets,
    pending_sign_ins,
    personal_tokens,
    renames,
    repositories,
    repository_settings,
    robots,
    second_factors,
    sessions,
    sign_in,
    start,
    tags,
    teams,
    trust_rules,
    webhooks,
)
from hythe.web.routes.errors import handlers
from hythe.web.routes.headers import SecurityHeaders
from hythe.web.routes.page_request import Handler, page_route
from hythe.web.routes.site import Site
from hythe.web.routes.static import static_route
from hythe.web.templates import Templates

GET = ("GET",)
FORM = ("GET", "POST")
POST = ("POST",)

PAGES: tuple[tuple[str, Handler, tuple[str, ...]], ...] = (
    ("/", start.start, GET),
    ("/search", start.search, GET),
    ("/sign-up", sign_in.sign_up, FORM),
    ("/sign-in", sign_in.sign_in, FORM),
    ("/sign-in/second-factor", pending_sign_ins.second_factor, FORM),
    ("/sign-in/passkey", pending_sign_ins.passkey, POST),
    ("/sign-in/with/{provider}", identities.begin, GET),
    ("/sign-in/with/{provider}/authorized", identities.authorized, GET),
    ("/sign-in/new-account", identities.new_account, FORM),
    ("/sign-out", sign_in.sign_out, POST),
    ("/forgot-password", password_resets.forgot_password, FORM),
    ("/reset-password", password_resets.reset_password, FORM),
    ("/confirm-email", email_addresses.confirm, FORM),
    ("/confirm-email/undo", email_addresses.undo, FORM),
    (LINK_PATH, invitations.link, FORM),
    ("/account", account.account, FORM),
    ("/account/email", email_addresses.email, FORM),
    ("/account/email/confirmation", email_addresses.send_again, POST),
    ("/account/sessions", sessions.sessions, GET),
    ("/account/sessions/end-others", sessions.end_other_sessions, POST),
    ("/account/sessions/{session}/end", sessions.end_session, POST),
    ("/account/password", account.password, FORM),
    ("/account/tokens", personal_tokens.tokens, FORM),
    ("/account/tokens/{token:int}/rotate", personal_tokens.rotate_token, POST),
    ("/account/tokens/{token:int}/delete", personal_tokens.delete_token, POST),
    ("/account/robots", robots.robots, FORM),
    ("/account/robots/{robot}/rotate", robots.rotate_robot, POST),
    ("/account/robots/{robot}/delete", robots.delete_robot, POST),
    ("/account/trust-rules", trust_rules.trust_rules, FORM),
    ("/account/trust-rules/{rule}/delete", trust_rules.delete_trust_rule, POST),
    ("/account/two-factor", second_factors.second_factors, GET),
    ("/account/two-factor/app", second_factors.app, FORM),
    ("/account/two-factor/app/remove", second_factors.remove_app, POST),
    ("/account/two-factor/recovery-codes", second_factors.recovery_codes, POST),
    ("/account/two-factor/passkeys/new", second_factors.new_passkey, FORM),
    ("/account/two-factor/passkeys/{passkey:int}", second_factors.rename_passkey, FORM),
    ("/account/two-factor/passkeys/{passkey:int}/remove", second_factors.remove_passkey, POST),
    ("/account/confirm", confirmations.confirm, FORM),
    ("/account/identities", identities.identities, GET),
    ("/account/identities/{identity:int}/unlink", identities.unlink, POST),
    ("/account/identities/{provider}/link", identities.link, POST),
    ("/account/organizations", organizations.own_organizations, GET),
    ("/account/organizations/{organization}/leave", organizations.leave_organization, POST),
    ("/account/conversion", organizations.convert, FORM),
    ("/account/names", renames.account, FORM),
    ("/account/names/end", renames.end_redirect, POST),
    ("/account/names/offers/{offered:int}", renames.answer_offer, POST),
    ("/account/invitations", invitations.own_invitations, GET),
    ("/account/invitations/{invitation:int}/accept", invitations.accept_invitation, POST),
    ("/account/invitations/{invitation:int}/decline", invitations.decline_invitation, POST),
    ("/account/linked-accounts", linked_accounts.linked_accounts, FORM),
    ("/account/linked-accounts/begin", linked_accounts.begin, GET),
    ("/account/linked-accounts/authorized", linked_accounts.authorized, GET),
    ("/account/linked-accounts/{linked_account:int}/unlink", linked_accounts.unlink, FORM),
    ("/new-build", new_build.choose_source, GET),
    ("/new-build/rules", new_build.choose_rules, FORM),
    ("/new-build/docker-hub", docker_hub_import.import_build, FORM),
    ("/new-build/{linked_account:int}", new_build.choose_repository, GET),
    ("/new", repository_settings.new_repository, FORM),
    ("/organizations/new", organizations.new_organization, FORM),
    ("/{namespace}", repositories.namespace, GET),
    # No part of a repository name is "-", so these shadow no repository.
    ("/{namespace}/-/people", members.people, GET),
    ("/{namespace}/-/people/{member}/role", members.change_member, POST),
    ("/{namespace}/-/people/{member}/remove", members.remove_member, POST),
    ("/{namespace}/-/teams", teams.teams, FORM),
    ("/{namespace}/-/teams/{team}", teams.team, FORM),
    ("/{namespace}/-/teams/{team}/delete", teams.delete_team, POST),
    ("/{namespace}/-/teams/{team}/members", teams.add_team_member, POST),
    ("/{namespace}/-/teams/{team}/members/{member}/remove", teams.remove_team_member, POST),
    ("/{namespace}/-/teams/{team}/grants", teams.grant, POST),
    ("/{namespace}/-/teams/{team}/grants/revoke", teams.revoke, POST),
    ("/{namespace}/-/invitations", invitations.of_organization, FORM),
    ("/{namespace}/-/invitations/{invitation:int}/cancel", invitations.cancel_invitation, POST),
    ("/{namespace}/-/settings", organizations.settings, FORM),
    ("/{namespace}/-/settings/delete", organizations.delete_organization, POST),
    ("/{repository:path}/-/tags", tags.tags, GET),
    ("/{repository:path}/-/tags/{tag}/delete", tags.delete_tag, FORM),
    ("/{repository:path}/-/tags/{tag}/restore", tags.restore_tag, POST),
    ("/{repository:path}/-/settings", repository_settings.settings, FORM),
    ("/{repository:path}/-/rename", renames.repository, FORM),
    ("/{repository:path}/-/collaborators", collaborators.collaborators, FORM),
    ("/{repository:path}/-/collaborators/{collaborator}/role", collaborators.change_collaborator, POST),
    ("/{repository:path}/-/collaborators/{collaborator}/remove", collaborators.remove_collaborator, POST),
    ("/{repository:path}/-/delete", repository_settings.delete, FORM),
    ("/{repository:path}/-/builds", builds.builds, FORM),
    ("/{repository:path}/-/builds/{number:int}", builds.show_build, FORM),
    ("/{repository:path}/-/builds/{number:int}/log", builds.log, GET),
    ("/{repository:path}/-/builds/{number:int}/events", builds.events, GET),
    ("/{repository:path}/-/build-configuration", build_configuration.build_configuration, FORM),
    ("/{repository:path}/-/build-configuration/preview", build_configuration.preview, GET),
    ("/{repository:path}/-/build-configuration/rules/{rule:int}", build_configuration.rule, FORM),
    ("/{repository:path}/-/webhooks", webhooks.webhooks, FORM),
    ("/{repository:path}/-/build-configuration/delete", build_configuration.delete_configuration, FORM),
    # The addresses that Docker Hub uses; no user name is this short.
    ("/r/{reference:path}", repositories.redirect_docker_hub, GET),
    ("/_/{reference:path}", repositories.redirect_docker_hub, GET),
    ("/{reference:path}", repositories.overview, GET),
)
"""Every page, in the order in which addresses are matched."""


def routes(
    hub: HubServices, trusted_builds: BuildsServices, notifications: NotificationServices, forges: ForgeServices
) -> list[BaseRoute]:
    """Return the routes of all pages and static files; mount them last."""
    assets = Assets.read()
    site = Site(hub, trusted_builds, notifications, forges, assets, Templates(assets, now))
    pages = [page_route(site, path, handler, *methods) for path, handler, methods in PAGES]
    application = Starlette(routes=[static_route(assets), *pages], exception_handlers=handlers(site))
    return [Mount("/", SecurityHeaders(application))]
