"""What the table of actions allows to an account, and what is left of it by the credential."""

from hythe.hub.access.access_context import AccessContext
from hythe.hub.access.actions import HubAction
from hythe.hub.access.table import REGISTRY_ACTIONS, TABLE
from hythe.hub.accounts.user import Visibility
from hythe.hub.actor import HubActor, Right
from hythe.hub.roles import Everyone, HubRole, OrganizationRole, RepositoryRole
from hythe.registry.access import Action

NOTHING: frozenset[Action] = frozenset()


def allowed(context: AccessContext) -> frozenset[Action]:
    """Return what an account's roles allow in the registry, whether or not the repository exists."""
    if context.taken_down is not None and context.opened_until is None:
        return NOTHING
    role = role_of(context)
    return REGISTRY_ACTIONS[role] if role is not None else NOTHING


def role_of(context: AccessContext) -> RepositoryRole | None:
    """Return the account's role on the repository; who sees it may read it."""
    role = context.repository_role
    if role is None and (
        context.visibility is Visibility.PUBLIC
        or (context.visibility is Visibility.INTERNAL and context.user_id is not None)
    ):
        return RepositoryRole.READ
    return role


def allows(context: AccessContext, action: HubAction) -> bool:
    """Return whether the table of actions allows this to the account, whatever its credential."""
    rule = TABLE[action]
    if rule.also is not None and has_hub_role(context, rule.also):
        return True
    match rule.needs:
        case RepositoryRole() as needed:
            role = role_of(context)
            return role is not None and role >= needed
        case OrganizationRole() as needed:
            if action is HubAction.CREATE_REPOSITORY:
                return context.may_create
            return context.namespace_role is not None and context.namespace_role >= needed
        case HubRole() as needed:
            return has_hub_role(context, needed)
        case Everyone.ACCOUNT:
            return context.user_id is not None
    return True


def has_hub_role(context: AccessContext, role: HubRole) -> bool:
    """Return whether the account has a role on the hub; administrators have every one."""
    return context.admin or (role is HubRole.CURATOR and context.curator)


def hub_role(action: HubAction) -> HubRole:
    """Return the role on the hub that an action needs. Raises TypeError if it needs none."""
    needed = TABLE[action].needs
    if not isinstance(needed, HubRole):
        raise TypeError(f"{action.value} needs no role on the hub")
    return needed


def present_actor(actor: HubActor, context: AccessContext) -> HubActor:
    """Return the actor with the limits of their credential, as it was issued and as its personal token is now."""
    state = context.credential
    if actor.personal_token_digest and state is not None and state.rights is not None:
        return actor.narrowed(state.rights, state.repositories)
    return actor


def may_list(actor: HubActor) -> bool:
    """Return whether the credential may list repositories (catalog and search)."""
    return Right.READ in actor.rights and (
        actor.granted is None or any(scope.type == "registry" and scope.actions for scope in actor.granted)
    )
