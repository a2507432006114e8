"""The table of actions and roles: which role each action needs, and which right of a token.

Access decisions, ``docs/roles.md`` and the tests that try every route as every kind of actor are made from it.
"""

from typing import TypeAlias

import msgspec

from hythe.hub.access.actions import HubAction
from hythe.hub.actor import Right
from hythe.hub.roles import Everyone, HubRole, OrganizationRole, RepositoryRole
from hythe.registry.access import Action

Needed: TypeAlias = RepositoryRole | OrganizationRole | HubRole | Everyone


class ActionRule(msgspec.Struct, frozen=True):
    """What an action needs: a role, and a right of the credential if that has only some.

    ``changes``: the action changes something, and so leaves an entry in the audit log. ``also``: accounts with this
    role on the hub may do it everywhere.
    """

    needs: Needed
    right: Right
    changes: bool
    meaning: str
    also: HubRole | None = None


_READS, _CHANGES = False, True

TABLE: dict[HubAction, ActionRule] = {
    HubAction.VIEW_REPOSITORY: ActionRule(
        RepositoryRole.READ, Right.READ, _READS, "See a repository, its tags and builds"
    ),
    HubAction.PULL: ActionRule(RepositoryRole.READ, Right.READ, _READS, "Pull images"),
    HubAction.PUSH: ActionRule(RepositoryRole.WRITE, Right.WRITE, _READS, "Push images"),
    HubAction.MOVE_TAG: ActionRule(
        RepositoryRole.WRITE, Right.WRITE, _CHANGES, "Set a tag, by a push or to an earlier image"
    ),
    HubAction.DELETE_CONTENT: ActionRule(
        RepositoryRole.WRITE, Right.DELETE, _CHANGES, "Delete manifests and layers through the registry"
    ),
    HubAction.DELETE_TAG: ActionRule(RepositoryRole.WRITE, Right.DELETE, _CHANGES, "Delete a tag"),
    HubAction.PROTECT_TAGS: ActionRule(RepositoryRole.ADMIN, Right.ADMIN, _CHANGES, "Choose which tags are immutable"),
    HubAction.DESCRIBE_REPOSITORY: ActionRule(RepositoryRole.WRITE, Right.WRITE, _CHANGES, "Change the descriptions"),
    HubAction.SET_VISIBILITY: ActionRule(
        RepositoryRole.ADMIN, Right.ADMIN, _CHANGES, "Change who may see a repository"
    ),
    HubAction.DELETE_REPOSITORY: ActionRule(RepositoryRole.ADMIN, Right.DELETE, _CHANGES, "Delete a repository"),
    HubAction.RENAME_REPOSITORY: ActionRule(RepositoryRole.ADMIN, Right.ADMIN, _CHANGES, "Rename a repository"),
    HubAction.TRANSFER_REPOSITORY: ActionRule(
        OrganizationRole.OWNER, Right.ADMIN, _CHANGES, "Transfer a repository to another owner"
    ),
    HubAction.OFFER_REPOSITORY: ActionRule(
        OrganizationRole.OWNER, Right.ADMIN, _CHANGES, "Offer a repository to another owner, who may accept it"
    ),
    HubAction.VIEW_TRANSFERS: ActionRule(OrganizationRole.OWNER, Right.ADMIN, _READS, "See the offers of a repository"),
    HubAction.WITHDRAW_TRANSFER: ActionRule(
        OrganizationRole.OWNER, Right.ADMIN, _CHANGES, "Withdraw the offer of a repository"
    ),
    HubAction.VIEW_BUILD_VALUES: ActionRule(
        RepositoryRole.WRITE, Right.BUILDS, _READS, "See the values of build arguments"
    ),
    HubAction.START_BUILD: ActionRule(RepositoryRole.WRITE, Right.BUILDS, _CHANGES, "Start a build"),
    HubAction.CANCEL_BUILD: ActionRule(RepositoryRole.WRITE, Right.BUILDS, _CHANGES, "Cancel a build"),
    HubAction.VIEW_BUILD_SETTINGS: ActionRule(
        RepositoryRole.ADMIN, Right.BUILDS, _READS, "See the trigger URL, calls and secrets' names of Trusted Builds"
    ),
    HubAction.CONFIGURE_BUILDS: ActionRule(RepositoryRole.ADMIN, Right.BUILDS, _CHANGES, "Set up Trusted Builds"),
    HubAction.VIEW_WEBHOOKS: ActionRule(RepositoryRole.ADMIN, Right.ADMIN, _READS, "See webhooks and their deliveries"),
    HubAction.CONFIGURE_WEBHOOKS: ActionRule(
        RepositoryRole.ADMIN, Right.ADMIN, _CHANGES, "Add, change and remove webhooks"
    ),
    HubAction.CREATE_REPOSITORY: ActionRule(OrganizationRole.MEMBER, Right.WRITE, _CHANGES, "Create a repository"),
    HubAction.VIEW_COLLABORATORS: ActionRule(
        RepositoryRole.ADMIN, Right.ADMIN, _READS, "See collaborators and invitations"
    ),
    HubAction.INVITE_COLLABORATOR: ActionRule(
        RepositoryRole.ADMIN, Right.ADMIN, _CHANGES, "Add a member of the organization, or invite another user"
    ),
    HubAction.CHANGE_COLLABORATOR: ActionRule(
        RepositoryRole.ADMIN, Right.ADMIN, _CHANGES, "Change a collaborator's role"
    ),
    HubAction.REMOVE_COLLABORATOR: ActionRule(RepositoryRole.ADMIN, Right.ADMIN, _CHANGES, "Remove a collaborator"),
    HubAction.LEAVE_REPOSITORY: ActionRule(Everyone.ACCOUNT, Right.ACCOUNT, _CHANGES, "Stop being a collaborator"),
    HubAction.RENAME_ACCOUNT: ActionRule(
        OrganizationRole.OWNER, Right.ACCOUNT, _CHANGES, "Rename one's own account, or an organization"
    ),
    HubAction.VIEW_REDIRECTS: ActionRule(OrganizationRole.OWNER, Right.ADMIN, _READS, "See former names"),
    HubAction.END_REDIRECT: ActionRule(
        OrganizationRole.OWNER, Right.ADMIN, _CHANGES, "End the redirect of a former name"
    ),
    HubAction.VIEW_OFFERS: ActionRule(
        OrganizationRole.OWNER, Right.ADMIN, _READS, "See which repositories are offered"
    ),
    HubAction.ACCEPT_TRANSFER: ActionRule(
        OrganizationRole.OWNER, Right.ADMIN, _CHANGES, "Accept an offered repository"
    ),
    HubAction.DECLINE_TRANSFER: ActionRule(
        OrganizationRole.OWNER, Right.ADMIN, _CHANGES, "Decline an offered repository"
    ),
    HubAction.VIEW_OWN_ORGANIZATIONS: ActionRule(Everyone.ACCOUNT, Right.READ, _READS, "See one's own organizations"),
    HubAction.CREATE_ORGANIZATION: ActionRule(
        Everyone.ACCOUNT, Right.ACCOUNT, _CHANGES, "Create an organization, if the setting organizations_by allows"
    ),
    HubAction.CONVERT_ACCOUNT: ActionRule(
        Everyone.ACCOUNT, Right.ACCOUNT, _CHANGES, "Turn one's own account into an organization"
    ),
    HubAction.VIEW_ORGANIZATION: ActionRule(Everyone.ANYONE, Right.READ, _READS, "See that an organization exists"),
    HubAction.VIEW_ORGANIZATION_SETTINGS: ActionRule(
        OrganizationRole.MEMBER, Right.READ, _READS, "See the settings of an organization", HubRole.ADMINISTRATOR
    ),
    HubAction.CHANGE_ORGANIZATION: ActionRule(
        OrganizationRole.OWNER, Right.ACCOUNT, _CHANGES, "Change the settings of an organization"
    ),
    HubAction.DELETE_ORGANIZATION: ActionRule(
        OrganizationRole.OWNER, Right.ACCOUNT, _CHANGES, "Delete an organization"
    ),
    HubAction.VIEW_MEMBERS: ActionRule(
        OrganizationRole.MEMBER, Right.READ, _READS, "See members", HubRole.ADMINISTRATOR
    ),
    HubAction.CHANGE_MEMBER: ActionRule(OrganizationRole.OWNER, Right.ACCOUNT, _CHANGES, "Change a member's role"),
    HubAction.REMOVE_MEMBER: ActionRule(OrganizationRole.OWNER, Right.ACCOUNT, _CHANGES, "Remove a member"),
    HubAction.LEAVE_ORGANIZATION: ActionRule(Everyone.ACCOUNT, Right.ACCOUNT, _CHANGES, "Leave an organization"),
    HubAction.VIEW_INVITATIONS: ActionRule(OrganizationRole.OWNER, Right.ACCOUNT, _READS, "See pending invitations"),
    HubAction.INVITE_MEMBER: ActionRule(OrganizationRole.OWNER, Right.ACCOUNT, _CHANGES, "Invite to an organization"),
    HubAction.CANCEL_INVITATION: ActionRule(OrganizationRole.OWNER, Right.ACCOUNT, _CHANGES, "Cancel an invitation"),
    HubAction.VIEW_INVITATION: ActionRule(
        Everyone.ANYONE, Right.ACCOUNT, _READS, "See an invitation by the link from an e-mail"
    ),
    HubAction.VIEW_OWN_INVITATIONS: ActionRule(Everyone.ACCOUNT, Right.ACCOUNT, _READS, "See one's own invitations"),
    HubAction.ACCEPT_INVITATION: ActionRule(Everyone.ACCOUNT, Right.ACCOUNT, _CHANGES, "Accept an invitation"),
    HubAction.DECLINE_INVITATION: ActionRule(Everyone.ACCOUNT, Right.ACCOUNT, _CHANGES, "Decline an invitation"),
    HubAction.VIEW_TEAMS: ActionRule(OrganizationRole.MEMBER, Right.READ, _READS, "See teams"),
    HubAction.CREATE_TEAM: ActionRule(OrganizationRole.OWNER, Right.ACCOUNT, _CHANGES, "Create a team"),
    HubAction.CHANGE_TEAM: ActionRule(OrganizationRole.OWNER, Right.ACCOUNT, _CHANGES, "Rename or describe a team"),
    HubAction.DELETE_TEAM: ActionRule(OrganizationRole.OWNER, Right.ACCOUNT, _CHANGES, "Delete a team"),
    HubAction.ADD_TEAM_MEMBER: ActionRule(OrganizationRole.OWNER, Right.ACCOUNT, _CHANGES, "Add a member to a team"),
    HubAction.REMOVE_TEAM_MEMBER: ActionRule(
        OrganizationRole.OWNER, Right.ACCOUNT, _CHANGES, "Remove a member from a team"
    ),
    HubAction.GRANT_TEAM: ActionRule(
        OrganizationRole.OWNER, Right.ACCOUNT, _CHANGES, "Give a team a role on repositories"
    ),
    HubAction.REVOKE_TEAM_GRANT: ActionRule(OrganizationRole.OWNER, Right.ACCOUNT, _CHANGES, "Take a role from a team"),
    HubAction.VIEW_OWN_REPOSITORIES: ActionRule(
        Everyone.ACCOUNT, Right.READ, _READS, "List the repositories that one has a role on"
    ),
    HubAction.VIEW_ROBOTS: ActionRule(OrganizationRole.OWNER, Right.ACCOUNT, _READS, "See robots"),
    HubAction.CREATE_ROBOT: ActionRule(OrganizationRole.OWNER, Right.ACCOUNT, _CHANGES, "Create a robot"),
    HubAction.CHANGE_ROBOT: ActionRule(OrganizationRole.OWNER, Right.ACCOUNT, _CHANGES, "Change the limits of a robot"),
    HubAction.ROTATE_ROBOT: ActionRule(OrganizationRole.OWNER, Right.ACCOUNT, _CHANGES, "Give a robot a new secret"),
    HubAction.DELETE_ROBOT: ActionRule(OrganizationRole.OWNER, Right.ACCOUNT, _CHANGES, "Delete a robot"),
    HubAction.VIEW_TRUST_RULES: ActionRule(OrganizationRole.OWNER, Right.ACCOUNT, _READS, "See trust rules"),
    HubAction.CREATE_TRUST_RULE: ActionRule(OrganizationRole.OWNER, Right.ACCOUNT, _CHANGES, "Create a trust rule"),
    HubAction.CHANGE_TRUST_RULE: ActionRule(OrganizationRole.OWNER, Right.ACCOUNT, _CHANGES, "Change a trust rule"),
    HubAction.DELETE_TRUST_RULE: ActionRule(OrganizationRole.OWNER, Right.ACCOUNT, _CHANGES, "Delete a trust rule"),
    HubAction.SIGN_UP: ActionRule(Everyone.ANYONE, Right.ACCOUNT, _CHANGES, "Create an account"),
    HubAction.SIGN_IN: ActionRule(Everyone.ANYONE, Right.ACCOUNT, _CHANGES, "Sign in"),
    HubAction.SIGN_OUT: ActionRule(Everyone.ACCOUNT, Right.ACCOUNT, _CHANGES, "End one's own sessions"),
    HubAction.VIEW_ACCOUNT: ActionRule(Everyone.ACCOUNT, Right.READ, _READS, "See one's own account"),
    HubAction.VIEW_EMAIL: ActionRule(Everyone.ACCOUNT, Right.ACCOUNT, _READS, "See one's own e-mail address"),
    HubAction.CHANGE_ACCOUNT: ActionRule(Everyone.ACCOUNT, Right.ACCOUNT, _CHANGES, "Change one's own account"),
    HubAction.SET_PASSWORD: ActionRule(Everyone.ACCOUNT, Right.ACCOUNT, _CHANGES, "Change one's own password"),
    HubAction.REQUEST_PASSWORD_RESET: ActionRule(
        Everyone.ANYONE, Right.ACCOUNT, _READS, "Ask for a link that sets a new password"
    ),
    HubAction.RESET_FORGOTTEN_PASSWORD: ActionRule(
        Everyone.ANYONE, Right.ACCOUNT, _CHANGES, "Set a new password with the link from an e-mail"
    ),
    HubAction.REQUEST_CONFIRMATION: ActionRule(
        Everyone.ACCOUNT, Right.ACCOUNT, _READS, "Get the e-mail again that confirms one's own address"
    ),
    HubAction.REQUEST_EMAIL_CHANGE: ActionRule(
        Everyone.ACCOUNT, Right.ACCOUNT, _CHANGES, "Ask for another e-mail address, which then has to be confirmed"
    ),
    HubAction.CONFIRM_EMAIL: ActionRule(
        Everyone.ANYONE, Right.ACCOUNT, _CHANGES, "Confirm an e-mail address with the link from an e-mail"
    ),
    HubAction.RESTORE_EMAIL: ActionRule(
        Everyone.ANYONE, Right.ACCOUNT, _CHANGES, "Restore the e-mail address with the link from an e-mail"
    ),
    HubAction.VIEW_SESSIONS: ActionRule(Everyone.ACCOUNT, Right.ACCOUNT, _READS, "See one's own sessions"),
    HubAction.VIEW_TOKENS: ActionRule(Everyone.ACCOUNT, Right.ACCOUNT, _READS, "See one's own tokens"),
    HubAction.CREATE_TOKEN: ActionRule(Everyone.ACCOUNT, Right.ACCOUNT, _CHANGES, "Create a token"),
    HubAction.CHANGE_TOKEN: ActionRule(Everyone.ACCOUNT, Right.ACCOUNT, _CHANGES, "Change the limits of a token"),
    HubAction.ROTATE_TOKEN: ActionRule(Everyone.ACCOUNT, Right.ACCOUNT, _CHANGES, "Give a token a new secret"),
    HubAction.REVOKE_TOKEN: ActionRule(Everyone.ACCOUNT, Right.ACCOUNT, _CHANGES, "Revoke a token"),
    HubAction.REPORT_TOKEN: ActionRule(Everyone.ANYONE, Right.ACCOUNT, _CHANGES, "Revoke a leaked token by its secret"),
    HubAction.EXCHANGE_ID_TOKEN: ActionRule(
        Everyone.ANYONE, Right.ACCOUNT, _CHANGES, "Exchange an ID token of a CI job for a token, by a trust rule"
    ),
    HubAction.VIEW_IDENTITIES: ActionRule(Everyone.ACCOUNT, Right.ACCOUNT, _READS, "See one's own linked identities"),
    HubAction.LINK_IDENTITY: ActionRule(Everyone.ACCOUNT, Right.ACCOUNT, _CHANGES, "Link an identity to sign in with"),
    HubAction.UNLINK_IDENTITY: ActionRule(Everyone.ACCOUNT, Right.ACCOUNT, _CHANGES, "Unlink an identity"),
    HubAction.MAP_ADMINISTRATOR: ActionRule(
        Everyone.ANYONE, Right.ACCOUNT, _CHANGES, "Become an administrator, or not, by a group of an identity provider"
    ),
    HubAction.VIEW_LINKED_ACCOUNTS: ActionRule(
        Everyone.ACCOUNT, Right.ACCOUNT, _READS, "See one's own linked accounts"
    ),
    HubAction.LINK_ACCOUNT: ActionRule(Everyone.ACCOUNT, Right.ACCOUNT, _CHANGES, "Link an account at a forge"),
    HubAction.UNLINK_ACCOUNT: ActionRule(Everyone.ACCOUNT, Right.ACCOUNT, _CHANGES, "Unlink an account at a forge"),
    HubAction.CONFIRM_SESSION: ActionRule(Everyone.ACCOUNT, Right.ACCOUNT, _CHANGES, "Confirm one's own session"),
    HubAction.VIEW_SECOND_FACTORS: ActionRule(Everyone.ACCOUNT, Right.ACCOUNT, _READS, "See one's own second factors"),
    HubAction.ADD_SECOND_FACTOR: ActionRule(Everyone.ACCOUNT, Right.ACCOUNT, _CHANGES, "Add a second factor"),
    HubAction.RENAME_SECOND_FACTOR: ActionRule(Everyone.ACCOUNT, Right.ACCOUNT, _CHANGES, "Rename a passkey"),
    HubAction.REMOVE_SECOND_FACTOR: ActionRule(Everyone.ACCOUNT, Right.ACCOUNT, _CHANGES, "Remove a second factor"),
    HubAction.REPLACE_RECOVERY_CODES: ActionRule(Everyone.ACCOUNT, Right.ACCOUNT, _CHANGES, "Replace recovery codes"),
    HubAction.BROWSE: ActionRule(Everyone.ANYONE, Right.READ, _READS, "Search and browse public repositories"),
    HubAction.VIEW_USERS: ActionRule(HubRole.ADMINISTRATOR, Right.ACCOUNT, _READS, "List all accounts"),
    HubAction.CREATE_USER: ActionRule(
        HubRole.ADMINISTRATOR, Right.ACCOUNT, _CHANGES, "Create an account for another user"
    ),
    HubAction.USE_RESERVED_NAME: ActionRule(
        HubRole.ADMINISTRATOR, Right.ACCOUNT, _READS, "Give an account a reserved name, or that of a deleted account"
    ),
    HubAction.CREATE_RESTRICTED_ORGANIZATION: ActionRule(
        HubRole.ADMINISTRATOR, Right.ACCOUNT, _READS, "Create an organization where organizations_by refuses others"
    ),
    HubAction.VIEW_MAIL: ActionRule(
        HubRole.ADMINISTRATOR, Right.ACCOUNT, _READS, "See messages that the hub sends or could not send"
    ),
    HubAction.VIEW_AUDIT_LOG: ActionRule(HubRole.ADMINISTRATOR, Right.ACCOUNT, _READS, "See the audit log of the hub"),
    HubAction.VIEW_NAMESPACE_AUDIT_LOG: ActionRule(
        OrganizationRole.OWNER, Right.ACCOUNT, _READS, "See the audit log of a namespace", HubRole.ADMINISTRATOR
    ),
    HubAction.SET_PLAN: ActionRule(HubRole.ADMINISTRATOR, Right.ACCOUNT, _CHANGES, "Change an account's plan"),
    HubAction.SET_EMAIL: ActionRule(
        HubRole.ADMINISTRATOR, Right.ACCOUNT, _CHANGES, "Set or confirm another account's e-mail address"
    ),
    HubAction.BLOCK_USER: ActionRule(HubRole.ADMINISTRATOR, Right.ACCOUNT, _CHANGES, "Block an account"),
    HubAction.UNBLOCK_USER: ActionRule(HubRole.ADMINISTRATOR, Right.ACCOUNT, _CHANGES, "Unblock an account"),
    HubAction.DELETE_USER: ActionRule(HubRole.ADMINISTRATOR, Right.ACCOUNT, _CHANGES, "Delete an account"),
    HubAction.RESET_SECOND_FACTORS: ActionRule(
        HubRole.ADMINISTRATOR, Right.ACCOUNT, _CHANGES, "Remove the second factors of an account"
    ),
    HubAction.RESET_PASSWORD: ActionRule(
        HubRole.ADMINISTRATOR, Right.ACCOUNT, _CHANGES, "Set another account's password"
    ),
    HubAction.REPORT_REPOSITORY: ActionRule(Everyone.ACCOUNT, Right.ACCOUNT, _CHANGES, "Report a repository for abuse"),
    HubAction.SIGN_OUT_USER: ActionRule(
        HubRole.ADMINISTRATOR, Right.ACCOUNT, _CHANGES, "End every session and login of an account"
    ),
    HubAction.SET_HUB_ROLE: ActionRule(
        HubRole.ADMINISTRATOR, Right.ACCOUNT, _CHANGES, "Make an account a curator or an administrator, or end that"
    ),
    HubAction.APPOINT_OWNER: ActionRule(
        HubRole.ADMINISTRATOR, Right.ACCOUNT, _CHANGES, "Make a user an owner of an organization of others"
    ),
    HubAction.OPEN_REPOSITORY: ActionRule(
        HubRole.ADMINISTRATOR, Right.ACCOUNT, _CHANGES, "Read a private repository of others for an hour"
    ),
    HubAction.VIEW_OVERVIEW: ActionRule(
        HubRole.ADMINISTRATOR, Right.ACCOUNT, _READS, "See how many accounts, repositories and reports there are"
    ),
    HubAction.VIEW_ALL_REPOSITORIES: ActionRule(
        HubRole.ADMINISTRATOR, Right.ACCOUNT, _READS, "Find any repository by its name, but not see what is in it"
    ),
    HubAction.VIEW_TAKEN_DOWN: ActionRule(
        HubRole.ADMINISTRATOR, Right.ACCOUNT, _READS, "See which repositories are taken down"
    ),
    HubAction.TAKE_DOWN_REPOSITORY: ActionRule(
        HubRole.ADMINISTRATOR, Right.ACCOUNT, _CHANGES, "Take a repository down"
    ),
    HubAction.RESTORE_REPOSITORY: ActionRule(
        HubRole.ADMINISTRATOR, Right.ACCOUNT, _CHANGES, "Restore a repository that was taken down"
    ),
    HubAction.REMOVE_REPOSITORY: ActionRule(
        HubRole.ADMINISTRATOR, Right.ACCOUNT, _CHANGES, "Delete a repository of others"
    ),
    HubAction.HAND_OVER_REPOSITORY: ActionRule(
        HubRole.ADMINISTRATOR, Right.ACCOUNT, _CHANGES, "Give a repository of others to another owner"
    ),
    HubAction.SET_OFFICIAL: ActionRule(
        HubRole.ADMINISTRATOR, Right.ACCOUNT, _CHANGES, "Mark a repository as official, or end that"
    ),
    HubAction.VIEW_REPORTS: ActionRule(HubRole.ADMINISTRATOR, Right.ACCOUNT, _READS, "See reports of abuse"),
    HubAction.CLOSE_REPORT: ActionRule(
        HubRole.ADMINISTRATOR, Right.ACCOUNT, _CHANGES, "Resolve or dismiss a report of abuse"
    ),
    HubAction.VIEW_BLOCKED: ActionRule(HubRole.ADMINISTRATOR, Right.ACCOUNT, _READS, "See blocked names and digests"),
    HubAction.BLOCK_NAME: ActionRule(
        HubRole.ADMINISTRATOR, Right.ACCOUNT, _CHANGES, "Block names of new accounts and repositories"
    ),
    HubAction.UNBLOCK_NAME: ActionRule(HubRole.ADMINISTRATOR, Right.ACCOUNT, _CHANGES, "Unblock names"),
    HubAction.BLOCK_DIGEST: ActionRule(
        HubRole.ADMINISTRATOR, Right.ACCOUNT, _CHANGES, "Block a manifest or blob, and delete it everywhere"
    ),
    HubAction.UNBLOCK_DIGEST: ActionRule(HubRole.ADMINISTRATOR, Right.ACCOUNT, _CHANGES, "Unblock a manifest or blob"),
    HubAction.VIEW_STORAGE: ActionRule(
        HubRole.ADMINISTRATOR, Right.ACCOUNT, _READS, "See how much storage each namespace uses"
    ),
    HubAction.VIEW_SETTINGS: ActionRule(HubRole.ADMINISTRATOR, Right.ACCOUNT, _READS, "See the settings in force"),
    HubAction.VIEW_GARBAGE: ActionRule(
        HubRole.ADMINISTRATOR, Right.ACCOUNT, _READS, "See what garbage collection freed, and what is due"
    ),
    HubAction.COLLECT_GARBAGE: ActionRule(HubRole.ADMINISTRATOR, Right.ACCOUNT, _CHANGES, "Start a garbage collection"),
    HubAction.VIEW_REPLICATION: ActionRule(
        HubRole.ADMINISTRATOR, Right.ACCOUNT, _READS, "See replication rules, and what is behind"
    ),
    HubAction.ADD_REPLICATION: ActionRule(
        HubRole.ADMINISTRATOR, Right.ACCOUNT, _CHANGES, "Keep repositories in step with another registry"
    ),
    HubAction.CHANGE_REPLICATION: ActionRule(
        HubRole.ADMINISTRATOR, Right.ACCOUNT, _CHANGES, "Change, disable or enable a replication rule"
    ),
    HubAction.REMOVE_REPLICATION: ActionRule(
        HubRole.ADMINISTRATOR, Right.ACCOUNT, _CHANGES, "Remove a replication rule"
    ),
    HubAction.RUN_REPLICATION: ActionRule(
        HubRole.ADMINISTRATOR, Right.ACCOUNT, _CHANGES, "Compare both sides of a replication rule now"
    ),
    HubAction.VIEW_BUILD_QUEUE: ActionRule(
        HubRole.ADMINISTRATOR, Right.ACCOUNT, _READS, "See the builds of all repositories that wait or run"
    ),
    HubAction.CANCEL_QUEUED_BUILD: ActionRule(
        HubRole.ADMINISTRATOR, Right.ACCOUNT, _CHANGES, "Cancel a build of others"
    ),
    HubAction.VIEW_WORKERS: ActionRule(
        HubRole.ADMINISTRATOR, Right.ACCOUNT, _READS, "See the workers and their builds"
    ),
    HubAction.DRAIN_WORKER: ActionRule(
        HubRole.ADMINISTRATOR, Right.ACCOUNT, _CHANGES, "Give a worker no more builds, or builds again"
    ),
    HubAction.REMOVE_WORKER: ActionRule(
        HubRole.ADMINISTRATOR, Right.ACCOUNT, _CHANGES, "Remove a worker that has stopped from the list"
    ),
}

OF_ROBOTS = frozenset(
    {
        HubAction.CREATE_REPOSITORY,
        *(action for action, rule in TABLE.items() if isinstance(rule.needs, RepositoryRole)),
        *(action for action, rule in TABLE.items() if rule.needs is Everyone.ANYONE),
    }
)
"""What robots and CI jobs may do, as far as their rights go: they belong to a namespace, whose repositories they use,
and have no part in running it. They have no account of their own, either.
"""

OF_REGISTRY = {
    Action.PULL: HubAction.PULL,
    Action.PUSH: HubAction.PUSH,
    Action.DELETE: HubAction.DELETE_CONTENT,
}
"""The hub's actions behind those of the registry protocol."""


def _registry_actions(role: RepositoryRole) -> frozenset[Action]:
    return frozenset(
        action
        for action, hub_action in OF_REGISTRY.items()
        if isinstance(needed := TABLE[hub_action].needs, RepositoryRole) and needed <= role
    )


REGISTRY_ACTIONS = {role: _registry_actions(role) for role in RepositoryRole}
"""What each role allows in the registry protocol."""
