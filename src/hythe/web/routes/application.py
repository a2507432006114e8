"""The pages as one application. It is mounted last: it handles every address that nothing else does."""

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import BaseRoute, Mount

from hythe.builds.forge_integration.service import ForgeServices
from hythe.builds.service import BuildsServices
from hythe.hub.access.actions import HubAction
from hythe.hub.organizations.invitations import LINK_PATH
from hythe.hub.service import HubServices
from hythe.notifications.service import NotificationServices
from hythe.registry.clock import now
from hythe.replication.service import ReplicationServices
from hythe.web.assets import Assets
from hythe.web.routes import (
    abuse_reports,
    account,
    admin_accounts,
    admin_audit,
    admin_blocked,
    admin_builds,
    admin_replication,
    admin_repositories,
    admin_storage,
    administration,
    audit,
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
from hythe.web.routes.page_route import PageRoute
from hythe.web.routes.site import Site
from hythe.web.routes.static import static_route
from hythe.web.templates import Templates

PAGES: tuple[PageRoute, ...] = (
    PageRoute("/", start.start, get=HubAction.BROWSE),
    PageRoute("/search", start.search, get=HubAction.BROWSE),
    PageRoute("/sign-up", sign_in.sign_up, get=HubAction.SIGN_UP, post=HubAction.SIGN_UP),
    PageRoute("/sign-in", sign_in.sign_in, get=HubAction.SIGN_IN, post=HubAction.SIGN_IN),
    PageRoute("/sign-in/second-factor", pending_sign_ins.second_factor, get=HubAction.SIGN_IN, post=HubAction.SIGN_IN),
    PageRoute("/sign-in/passkey", pending_sign_ins.passkey, post=HubAction.SIGN_IN),
    PageRoute("/sign-in/with/{provider}", identities.begin, get=HubAction.SIGN_IN),
    PageRoute("/sign-in/with/{provider}/authorized", identities.authorized, get=HubAction.SIGN_IN),
    PageRoute("/sign-in/new-account", identities.new_account, get=HubAction.SIGN_UP, post=HubAction.SIGN_UP),
    PageRoute("/sign-out", sign_in.sign_out, post=HubAction.SIGN_OUT),
    PageRoute(
        "/forgot-password",
        password_resets.forgot_password,
        get=HubAction.REQUEST_PASSWORD_RESET,
        post=HubAction.REQUEST_PASSWORD_RESET,
    ),
    PageRoute(
        "/reset-password",
        password_resets.reset_password,
        get=HubAction.RESET_FORGOTTEN_PASSWORD,
        post=HubAction.RESET_FORGOTTEN_PASSWORD,
    ),
    PageRoute("/confirm-email", email_addresses.confirm, get=HubAction.CONFIRM_EMAIL, post=HubAction.CONFIRM_EMAIL),
    PageRoute("/confirm-email/undo", email_addresses.undo, get=HubAction.RESTORE_EMAIL, post=HubAction.RESTORE_EMAIL),
    PageRoute(
        LINK_PATH,
        invitations.link,
        get=HubAction.VIEW_INVITATION,
        post={"": HubAction.ACCEPT_INVITATION, "decline": HubAction.DECLINE_INVITATION},
    ),
    PageRoute("/account", account.account, get=HubAction.VIEW_ACCOUNT, post=HubAction.CHANGE_ACCOUNT),
    PageRoute("/account/email", email_addresses.email, get=HubAction.VIEW_EMAIL, post=HubAction.REQUEST_EMAIL_CHANGE),
    PageRoute("/account/email/confirmation", email_addresses.send_again, post=HubAction.REQUEST_CONFIRMATION),
    PageRoute("/account/sessions", sessions.sessions, get=HubAction.VIEW_SESSIONS),
    PageRoute("/account/sessions/end-others", sessions.end_other_sessions, post=HubAction.SIGN_OUT),
    PageRoute("/account/sessions/{session}/end", sessions.end_session, post=HubAction.SIGN_OUT),
    PageRoute("/account/password", account.password, get=HubAction.SET_PASSWORD, post=HubAction.SET_PASSWORD),
    PageRoute("/account/tokens", personal_tokens.tokens, get=HubAction.VIEW_TOKENS, post=HubAction.CREATE_TOKEN),
    PageRoute("/account/tokens/{token:int}/rotate", personal_tokens.rotate_token, post=HubAction.ROTATE_TOKEN),
    PageRoute("/account/tokens/{token:int}/delete", personal_tokens.delete_token, post=HubAction.REVOKE_TOKEN),
    PageRoute("/account/robots", robots.robots, get=HubAction.VIEW_ROBOTS, post=HubAction.CREATE_ROBOT),
    PageRoute("/account/robots/{robot}/rotate", robots.rotate_robot, post=HubAction.ROTATE_ROBOT),
    PageRoute("/account/robots/{robot}/delete", robots.delete_robot, post=HubAction.DELETE_ROBOT),
    PageRoute(
        "/account/trust-rules",
        trust_rules.trust_rules,
        get=HubAction.VIEW_TRUST_RULES,
        post=HubAction.CREATE_TRUST_RULE,
    ),
    PageRoute("/account/trust-rules/{rule}/delete", trust_rules.delete_trust_rule, post=HubAction.DELETE_TRUST_RULE),
    PageRoute("/account/two-factor", second_factors.second_factors, get=HubAction.VIEW_SECOND_FACTORS),
    PageRoute(
        "/account/two-factor/app", second_factors.app, get=HubAction.ADD_SECOND_FACTOR, post=HubAction.ADD_SECOND_FACTOR
    ),
    PageRoute("/account/two-factor/app/remove", second_factors.remove_app, post=HubAction.REMOVE_SECOND_FACTOR),
    PageRoute(
        "/account/two-factor/recovery-codes", second_factors.recovery_codes, post=HubAction.REPLACE_RECOVERY_CODES
    ),
    PageRoute(
        "/account/two-factor/passkeys/new",
        second_factors.new_passkey,
        get=HubAction.ADD_SECOND_FACTOR,
        post=HubAction.ADD_SECOND_FACTOR,
    ),
    PageRoute(
        "/account/two-factor/passkeys/{passkey:int}",
        second_factors.rename_passkey,
        get=HubAction.RENAME_SECOND_FACTOR,
        post=HubAction.RENAME_SECOND_FACTOR,
    ),
    PageRoute(
        "/account/two-factor/passkeys/{passkey:int}/remove",
        second_factors.remove_passkey,
        post=HubAction.REMOVE_SECOND_FACTOR,
    ),
    PageRoute("/account/confirm", confirmations.confirm, get=HubAction.CONFIRM_SESSION, post=HubAction.CONFIRM_SESSION),
    PageRoute("/account/confirm/with/{provider}", identities.confirm, post=HubAction.CONFIRM_SESSION),
    PageRoute("/account/identities", identities.identities, get=HubAction.VIEW_IDENTITIES),
    PageRoute("/account/identities/{identity:int}/unlink", identities.unlink, post=HubAction.UNLINK_IDENTITY),
    PageRoute("/account/identities/{provider}/link", identities.link, post=HubAction.LINK_IDENTITY),
    PageRoute("/account/organizations", organizations.own_organizations, get=HubAction.VIEW_OWN_ORGANIZATIONS),
    PageRoute(
        "/account/organizations/{organization}/leave",
        organizations.leave_organization,
        post=HubAction.LEAVE_ORGANIZATION,
    ),
    PageRoute(
        "/account/conversion", organizations.convert, get=HubAction.CONVERT_ACCOUNT, post=HubAction.CONVERT_ACCOUNT
    ),
    PageRoute("/account/audit", audit.audit, get=HubAction.VIEW_NAMESPACE_AUDIT_LOG),
    PageRoute("/account/audit/export", audit.export, get=HubAction.VIEW_NAMESPACE_AUDIT_LOG),
    PageRoute("/account/names", renames.names, get=HubAction.VIEW_REDIRECTS, post=HubAction.RENAME_ACCOUNT),
    PageRoute("/account/names/end", renames.end_redirect, post=HubAction.END_REDIRECT),
    PageRoute(
        "/account/names/offers/{offered:int}",
        renames.answer_offer,
        post={"": HubAction.DECLINE_TRANSFER, "accept": HubAction.ACCEPT_TRANSFER},
    ),
    PageRoute("/account/invitations", invitations.own_invitations, get=HubAction.VIEW_OWN_INVITATIONS),
    PageRoute(
        "/account/invitations/{invitation:int}/accept", invitations.accept_invitation, post=HubAction.ACCEPT_INVITATION
    ),
    PageRoute(
        "/account/invitations/{invitation:int}/decline",
        invitations.decline_invitation,
        post=HubAction.DECLINE_INVITATION,
    ),
    PageRoute(
        "/account/linked-accounts",
        linked_accounts.linked_accounts,
        get=HubAction.VIEW_LINKED_ACCOUNTS,
        post=HubAction.LINK_ACCOUNT,
    ),
    PageRoute("/account/linked-accounts/begin", linked_accounts.begin, get=HubAction.LINK_ACCOUNT),
    PageRoute("/account/linked-accounts/authorized", linked_accounts.authorized, get=HubAction.LINK_ACCOUNT),
    PageRoute(
        "/account/linked-accounts/{linked_account:int}/unlink",
        linked_accounts.unlink,
        get=HubAction.UNLINK_ACCOUNT,
        post=HubAction.UNLINK_ACCOUNT,
    ),
    PageRoute("/new-build", new_build.choose_source, get=HubAction.VIEW_LINKED_ACCOUNTS),
    PageRoute(
        "/new-build/rules",
        new_build.choose_rules,
        get=HubAction.VIEW_LINKED_ACCOUNTS,
        post={"": HubAction.VIEW_LINKED_ACCOUNTS, "create": HubAction.CONFIGURE_BUILDS},
    ),
    PageRoute(
        "/new-build/docker-hub",
        docker_hub_import.import_build,
        get=HubAction.VIEW_LINKED_ACCOUNTS,
        post=HubAction.CONFIGURE_BUILDS,
    ),
    PageRoute("/new-build/{linked_account:int}", new_build.choose_repository, get=HubAction.VIEW_LINKED_ACCOUNTS),
    PageRoute(
        "/new", repository_settings.new_repository, get=HubAction.CREATE_REPOSITORY, post=HubAction.CREATE_REPOSITORY
    ),
    PageRoute(
        "/organizations/new",
        organizations.new_organization,
        get=HubAction.CREATE_ORGANIZATION,
        post=HubAction.CREATE_ORGANIZATION,
    ),
    *administration.PAGES,
    *admin_accounts.PAGES,
    *admin_repositories.PAGES,
    *abuse_reports.PAGES,
    *admin_blocked.PAGES,
    *admin_builds.PAGES,
    *admin_replication.PAGES,
    *admin_storage.PAGES,
    *admin_audit.PAGES,
    PageRoute("/{namespace}", repositories.namespace, get=HubAction.BROWSE),
    # No part of a repository name is "-", so these shadow no repository.
    PageRoute("/{namespace}/-/audit", audit.audit, get=HubAction.VIEW_NAMESPACE_AUDIT_LOG),
    PageRoute("/{namespace}/-/audit/export", audit.export, get=HubAction.VIEW_NAMESPACE_AUDIT_LOG),
    PageRoute("/{namespace}/-/people", members.people, get=HubAction.VIEW_MEMBERS),
    PageRoute("/{namespace}/-/people/{member}/role", members.change_member, post=HubAction.CHANGE_MEMBER),
    PageRoute("/{namespace}/-/people/{member}/remove", members.remove_member, post=HubAction.REMOVE_MEMBER),
    PageRoute("/{namespace}/-/teams", teams.teams, get=HubAction.VIEW_TEAMS, post=HubAction.CREATE_TEAM),
    PageRoute("/{namespace}/-/teams/{team}", teams.team, get=HubAction.VIEW_TEAMS, post=HubAction.CHANGE_TEAM),
    PageRoute("/{namespace}/-/teams/{team}/delete", teams.delete_team, post=HubAction.DELETE_TEAM),
    PageRoute("/{namespace}/-/teams/{team}/members", teams.add_team_member, post=HubAction.ADD_TEAM_MEMBER),
    PageRoute(
        "/{namespace}/-/teams/{team}/members/{member}/remove",
        teams.remove_team_member,
        post=HubAction.REMOVE_TEAM_MEMBER,
    ),
    PageRoute("/{namespace}/-/teams/{team}/grants", teams.grant, post=HubAction.GRANT_TEAM),
    PageRoute("/{namespace}/-/teams/{team}/grants/revoke", teams.revoke, post=HubAction.REVOKE_TEAM_GRANT),
    PageRoute(
        "/{namespace}/-/invitations",
        invitations.of_organization,
        get=HubAction.VIEW_INVITATIONS,
        post=HubAction.INVITE_MEMBER,
    ),
    PageRoute(
        "/{namespace}/-/invitations/{invitation:int}/cancel",
        invitations.cancel_invitation,
        post=HubAction.CANCEL_INVITATION,
    ),
    PageRoute("/{namespace}/-/names", renames.names, get=HubAction.VIEW_REDIRECTS, post=HubAction.RENAME_ACCOUNT),
    PageRoute("/{namespace}/-/names/end", renames.end_redirect, post=HubAction.END_REDIRECT),
    PageRoute(
        "/{namespace}/-/names/offers/{offered:int}",
        renames.answer_offer,
        post={"": HubAction.DECLINE_TRANSFER, "accept": HubAction.ACCEPT_TRANSFER},
    ),
    PageRoute(
        "/{namespace}/-/settings",
        organizations.settings,
        get=HubAction.CHANGE_ORGANIZATION,
        post=HubAction.CHANGE_ORGANIZATION,
    ),
    PageRoute("/{namespace}/-/settings/delete", organizations.delete_organization, post=HubAction.DELETE_ORGANIZATION),
    PageRoute("/{repository:path}/-/tags", tags.tags, get=HubAction.VIEW_REPOSITORY),
    PageRoute(
        "/{repository:path}/-/tags/{tag}/delete", tags.delete_tag, get=HubAction.DELETE_TAG, post=HubAction.DELETE_TAG
    ),
    PageRoute("/{repository:path}/-/tags/{tag}/restore", tags.restore_tag, post=HubAction.MOVE_TAG),
    PageRoute(
        "/{repository:path}/-/settings",
        repository_settings.settings,
        get=HubAction.DESCRIBE_REPOSITORY,
        post={"": HubAction.DESCRIBE_REPOSITORY, "tags": HubAction.PROTECT_TAGS},
    ),
    PageRoute(
        "/{repository:path}/-/rename",
        renames.repository,
        get=HubAction.RENAME_REPOSITORY,
        post={"": HubAction.RENAME_REPOSITORY, "transfer": HubAction.TRANSFER_REPOSITORY},
    ),
    PageRoute(
        "/{repository:path}/-/collaborators",
        collaborators.collaborators,
        get=HubAction.VIEW_COLLABORATORS,
        post=HubAction.INVITE_COLLABORATOR,
    ),
    PageRoute(
        "/{repository:path}/-/collaborators/{collaborator}/role",
        collaborators.change_collaborator,
        post=HubAction.CHANGE_COLLABORATOR,
    ),
    PageRoute(
        "/{repository:path}/-/collaborators/{collaborator}/remove",
        collaborators.remove_collaborator,
        post=HubAction.REMOVE_COLLABORATOR,
    ),
    PageRoute(
        "/{repository:path}/-/delete",
        repository_settings.delete,
        get=HubAction.DELETE_REPOSITORY,
        post=HubAction.DELETE_REPOSITORY,
    ),
    PageRoute("/{repository:path}/-/builds", builds.builds, get=HubAction.VIEW_REPOSITORY, post=HubAction.START_BUILD),
    PageRoute(
        "/{repository:path}/-/builds/{number:int}",
        builds.show_build,
        get=HubAction.VIEW_REPOSITORY,
        post={"": HubAction.START_BUILD, "cancel": HubAction.CANCEL_BUILD},
    ),
    PageRoute(
        "/{repository:path}/-/report",
        abuse_reports.report,
        get=HubAction.REPORT_REPOSITORY,
        post=HubAction.REPORT_REPOSITORY,
    ),
    PageRoute("/{repository:path}/-/builds/{number:int}/log", builds.log, get=HubAction.VIEW_REPOSITORY),
    PageRoute("/{repository:path}/-/builds/{number:int}/events", builds.events, get=HubAction.VIEW_REPOSITORY),
    PageRoute(
        "/{repository:path}/-/build-configuration",
        build_configuration.build_configuration,
        get=HubAction.VIEW_BUILD_SETTINGS,
        post=HubAction.CONFIGURE_BUILDS,
    ),
    PageRoute(
        "/{repository:path}/-/build-configuration/preview",
        build_configuration.preview,
        get=HubAction.VIEW_BUILD_SETTINGS,
    ),
    PageRoute(
        "/{repository:path}/-/build-configuration/rules/{rule:int}",
        build_configuration.rule,
        get=HubAction.VIEW_BUILD_SETTINGS,
        post=HubAction.CONFIGURE_BUILDS,
    ),
    PageRoute(
        "/{repository:path}/-/webhooks",
        webhooks.webhooks,
        get=HubAction.VIEW_WEBHOOKS,
        post=HubAction.CONFIGURE_WEBHOOKS,
    ),
    PageRoute(
        "/{repository:path}/-/build-configuration/delete",
        build_configuration.delete_configuration,
        get=HubAction.VIEW_BUILD_SETTINGS,
        post=HubAction.CONFIGURE_BUILDS,
    ),
    # The addresses that Docker Hub uses; no user name is this short.
    PageRoute("/r/{reference:path}", repositories.redirect_docker_hub, get=HubAction.VIEW_REPOSITORY),
    PageRoute("/_/{reference:path}", repositories.redirect_docker_hub, get=HubAction.VIEW_REPOSITORY),
    PageRoute("/{reference:path}", repositories.overview, get=HubAction.VIEW_REPOSITORY),
)
"""Every page, in the order in which addresses are matched.

To add one, write a row with what opening it and submitting its form do; ``PageRoute`` explains them. Users who are not
signed in, or are no administrators, do not reach the handler of a page whose action needs that. The handler calls
services, which decide the rest. ``tests/unit/hub/routes/test_page_roles.py`` opens and submits each page as every kind
of user.
"""


def routes(
    hub: HubServices,
    trusted_builds: BuildsServices,
    notifications: NotificationServices,
    forges: ForgeServices,
    replication: ReplicationServices,
) -> list[BaseRoute]:
    """Return the routes of all pages and static files; mount them last."""
    assets = Assets.read()
    site = Site(hub, trusted_builds, notifications, forges, replication, assets, Templates(assets, now))
    pages = [page.route(site) for page in PAGES]
    application = Starlette(routes=[static_route(assets), *pages], exception_handlers=handlers(site))
    return [Mount("/", application, middleware=[Middleware(SecurityHeaders)])]
