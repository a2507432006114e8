"""The table of actions: which role each one needs, and which right of a token.

Access decisions, ``docs/roles.md`` and the tests that try every route as every kind of actor are made from it.
"""

from enum import Enum
from typing import TypeAlias

import msgspec

from hythe.hub.actor import Right
from hythe.hub.roles import Everyone, HubRole, OrganizationRole, RepositoryRole
from hythe.registry.access import Action


class HubAction(Enum):
    """What an actor can do; the value is its name in the audit log."""

    # With a repository
    VIEW_REPOSITORY = "repository.view"
    PULL = "repository.pull"
    PUSH = "repository.push"
    DELETE_CONTENT = "repository.delete-content"
    MOVE_TAG = "tag.move"
    DELETE_TAG = "tag.delete"
    RESTORE_TAG = "tag.restore"
    PROTECT_TAGS = "tag.protect"
    DESCRIBE_REPOSITORY = "repository.describe"
    SET_VISIBILITY = "repository.set-visibility"
    DELETE_REPOSITORY = "repository.delete"
    VIEW_BUILD_VALUES = "build.view-values"
    START_BUILD = "build.start"
    CANCEL_BUILD = "build.cancel"
    VIEW_BUILD_SETTINGS = "build-configuration.view"
    CONFIGURE_BUILDS = "build-configuration.change"
    VIEW_WEBHOOKS = "webhook.view"
    CONFIGURE_WEBHOOKS = "webhook.change"
    # In a namespace
    CREATE_REPOSITORY = "repository.create"
    # With one's own account
    SIGN_UP = "account.create"
    SIGN_IN = "session.start"
    SIGN_OUT = "session.end"
    VIEW_ACCOUNT = "account.view"
    CHANGE_ACCOUNT = "account.change"
    SET_PASSWORD = "account.set-password"  # noqa: S105 (an action)
    VIEW_TOKENS = "token.view"
    CREATE_TOKEN = "token.create"  # noqa: S105 (an action)
    REVOKE_TOKEN = "token.revoke"  # noqa: S105 (an action)
    VIEW_LINKED_ACCOUNTS = "linked-account.view"
    LINK_ACCOUNT = "linked-account.link"
    UNLINK_ACCOUNT = "linked-account.unlink"
    # With the hub
    BROWSE = "hub.browse"
    VIEW_USERS = "user.view"
    CREATE_USER = "user.create"
    SET_PLAN = "user.set-plan"
    VIEW_MAIL = "mail.view"
    BLOCK_USER = "user.block"
    UNBLOCK_USER = "user.unblock"
    DELETE_USER = "user.delete"
    RESET_PASSWORD = "user.set-password"  # noqa: S105 (an action)


Needed: TypeAlias = RepositoryRole | OrganizationRole | HubRole | Everyone


class Rule(msgspec.Struct, frozen=True):
    """What an action needs: a role, and a right of the credential if that has only some.

    ``changes``: the action changes something, and so leaves an entry in the audit log.
    """

    needs: Needed
    right: Right
    changes: bool
    meaning: str


_READS, _CHANGES = False, True

TABLE: dict[HubAction, Rule] = {
    HubAction.VIEW_REPOSITORY: Rule(RepositoryRole.READ, Right.READ, _READS, "See a repository, its tags and builds"),
    HubAction.PULL: Rule(RepositoryRole.READ, Right.READ, _READS, "Pull images"),
    HubAction.PUSH: Rule(RepositoryRole.WRITE, Right.WRITE, _READS, "Push images"),
    HubAction.MOVE_TAG: Rule(RepositoryRole.WRITE, Right.WRITE, _CHANGES, "Set a tag by a push"),
    HubAction.DELETE_CONTENT: Rule(
        RepositoryRole.WRITE, Right.DELETE, _CHANGES, "Delete manifests and layers through the registry"
    ),
    HubAction.DELETE_TAG: Rule(RepositoryRole.WRITE, Right.DELETE, _CHANGES, "Delete a tag"),
    HubAction.RESTORE_TAG: Rule(RepositoryRole.WRITE, Right.WRITE, _CHANGES, "Move a tag back"),
    HubAction.PROTECT_TAGS: Rule(RepositoryRole.ADMIN, Right.ADMIN, _CHANGES, "Choose which tags are immutable"),
    HubAction.DESCRIBE_REPOSITORY: Rule(RepositoryRole.WRITE, Right.WRITE, _CHANGES, "Change the descriptions"),
    HubAction.SET_VISIBILITY: Rule(RepositoryRole.ADMIN, Right.ADMIN, _CHANGES, "Change who may see a repository"),
    HubAction.DELETE_REPOSITORY: Rule(RepositoryRole.ADMIN, Right.DELETE, _CHANGES, "Delete a repository"),
    HubAction.VIEW_BUILD_VALUES: Rule(RepositoryRole.WRITE, Right.WRITE, _READS, "See the values of build arguments"),
    HubAction.START_BUILD: Rule(RepositoryRole.WRITE, Right.BUILDS, _CHANGES, "Start a build"),
    HubAction.CANCEL_BUILD: Rule(RepositoryRole.WRITE, Right.BUILDS, _CHANGES, "Cancel a build"),
    HubAction.VIEW_BUILD_SETTINGS: Rule(
        RepositoryRole.ADMIN, Right.BUILDS, _READS, "See the trigger URL, calls and secrets' names of Trusted Builds"
    ),
    HubAction.CONFIGURE_BUILDS: Rule(RepositoryRole.ADMIN, Right.BUILDS, _CHANGES, "Set up Trusted Builds"),
    HubAction.VIEW_WEBHOOKS: Rule(RepositoryRole.ADMIN, Right.ADMIN, _READS, "See webhooks and their deliveries"),
    HubAction.CONFIGURE_WEBHOOKS: Rule(RepositoryRole.ADMIN, Right.ADMIN, _CHANGES, "Add, change and remove webhooks"),
    HubAction.CREATE_REPOSITORY: Rule(OrganizationRole.MEMBER, Right.WRITE, _CHANGES, "Create a repository"),
    HubAction.SIGN_UP: Rule(Everyone.ANYONE, Right.ACCOUNT, _CHANGES, "Create an account"),
    HubAction.SIGN_IN: Rule(Everyone.ANYONE, Right.ACCOUNT, _CHANGES, "Sign in"),
    HubAction.SIGN_OUT: Rule(Everyone.ACCOUNT, Right.ACCOUNT, _CHANGES, "End one's own sessions"),
    HubAction.VIEW_ACCOUNT: Rule(Everyone.ACCOUNT, Right.READ, _READS, "See one's own account"),
    HubAction.CHANGE_ACCOUNT: Rule(Everyone.ACCOUNT, Right.ACCOUNT, _CHANGES, "Change one's own account"),
    HubAction.SET_PASSWORD: Rule(Everyone.ACCOUNT, Right.ACCOUNT, _CHANGES, "Change one's own password"),
    HubAction.VIEW_TOKENS: Rule(Everyone.ACCOUNT, Right.ACCOUNT, _READS, "See one's own tokens"),
    HubAction.CREATE_TOKEN: Rule(Everyone.ACCOUNT, Right.ACCOUNT, _CHANGES, "Create a token"),
    HubAction.REVOKE_TOKEN: Rule(Everyone.ACCOUNT, Right.ACCOUNT, _CHANGES, "Revoke a token"),
    HubAction.VIEW_LINKED_ACCOUNTS: Rule(Everyone.ACCOUNT, Right.ACCOUNT, _READS, "See one's own linked accounts"),
    HubAction.LINK_ACCOUNT: Rule(Everyone.ACCOUNT, Right.ACCOUNT, _CHANGES, "Link an account at a forge"),
    HubAction.UNLINK_ACCOUNT: Rule(Everyone.ACCOUNT, Right.ACCOUNT, _CHANGES, "Unlink an account at a forge"),
    HubAction.BROWSE: Rule(Everyone.ANYONE, Right.READ, _READS, "Search and browse public repositories"),
    HubAction.VIEW_USERS: Rule(HubRole.ADMINISTRATOR, Right.ACCOUNT, _READS, "List all accounts"),
    HubAction.CREATE_USER: Rule(HubRole.ADMINISTRATOR, Right.ACCOUNT, _CHANGES, "Create an account for somebody"),
    HubAction.VIEW_MAIL: Rule(
        HubRole.ADMINISTRATOR, Right.ACCOUNT, _READS, "See messages that the hub sends or could not send"
    ),
    HubAction.SET_PLAN: Rule(HubRole.ADMINISTRATOR, Right.ACCOUNT, _CHANGES, "Change an account's plan"),
    HubAction.BLOCK_USER: Rule(HubRole.ADMINISTRATOR, Right.ACCOUNT, _CHANGES, "Block an account"),
    HubAction.UNBLOCK_USER: Rule(HubRole.ADMINISTRATOR, Right.ACCOUNT, _CHANGES, "Unblock an account"),
    HubAction.DELETE_USER: Rule(HubRole.ADMINISTRATOR, Right.ACCOUNT, _CHANGES, "Delete an account"),
    HubAction.RESET_PASSWORD: Rule(HubRole.ADMINISTRATOR, Right.ACCOUNT, _CHANGES, "Set another account's password"),
}

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
