"""Why access is refused: messages that engines print, and the registry's form of refused credentials."""

from hythe.hub.access.access_context import AccessContext
from hythe.hub.access.actions import HubAction
from hythe.hub.access.table import TABLE
from hythe.hub.accounts.namespaces import NamespaceKind, namespace_of, short_name
from hythe.hub.errors import HubError, SignInNeeded, TooManyAttempts
from hythe.hub.roles import OrganizationRole, RepositoryRole
from hythe.oci.errors import ErrorCode, WireError


def write_refusal(context: AccessContext, repository: str) -> str:
    """Explain why an account may not push or delete. Reveals nothing that is not public."""
    namespace, _, _ = repository.partition("/")
    match context.namespace:
        case None:
            return f"namespace {namespace!r} does not exist: push to YOUR-NAME/.."
        case NamespaceKind.MIRROR:
            return f"{namespace} mirrors another registry: push to that registry"
        case NamespaceKind.CURATED:
            return f"{short_name(repository)!r} is a top-level repository: only curators may push to it"
        case NamespaceKind.ORGANIZATION if context.needs_second_factor:
            return (
                f"{namespace} requires two-factor authentication: set it up on your account page, "
                "then log in with a personal access token"
            )
        case NamespaceKind.ORGANIZATION if context.member is None:
            return f"you are not a member of {namespace}: ask one of its owners to invite you"
        case NamespaceKind.ORGANIZATION if context.repository_id is None:
            return f"only owners of {namespace} may create repositories in it: ask one of them"
        case NamespaceKind.ORGANIZATION:
            return f"you may not push to {repository}: ask an owner of {namespace} for the role 'write'"
    return f"only {namespace} and collaborators may push to {namespace}/.."


def taken_down_refusal(repository: str, context: AccessContext) -> str:
    """Explain to the owners of a repository why they cannot use it."""
    return f"an administrator took {short_name(repository)} down: {context.taken_down}"


def built_refusal(repository: str) -> str:
    """Explain why users may not push to a repository with Trusted Builds."""
    return (
        f"{short_name(repository)} has Trusted Builds: only its builds may push to it. "
        "Push to the source repository instead, or delete the build configuration"
    )


UNCONFIRMED = (
    "confirm your e-mail address first: open the link that we sent to it, or get another one on your account page"
)


def refusal(context: AccessContext, repository: str, action: HubAction) -> str:
    """Explain why the account's roles do not allow an action. Reveals nothing that is not public."""
    needed, namespace = TABLE[action].needs, namespace_of(repository)
    if isinstance(needed, RepositoryRole):
        organization = context.namespace is NamespaceKind.ORGANIZATION and context.member is not None
        if needed is RepositoryRole.ADMIN and (organization or context.repository_role is not None):
            asked = f"an owner of {namespace}" if organization else namespace
            return f"this needs the role 'admin' on {repository}: ask {asked}"
    elif isinstance(needed, OrganizationRole) and not context.needs_second_factor:
        if needed is OrganizationRole.OWNER:
            people = f"owners of {namespace}" if context.namespace is NamespaceKind.ORGANIZATION else namespace
            return f"only {people} may do this"
        if action is not HubAction.CREATE_REPOSITORY:
            return f"only members of {namespace} may do this"
    return write_refusal(context, repository)


def with_small_letter(meaning: str) -> str:
    """Return the meaning of an action for the middle of a sentence."""
    return meaning[:1].lower() + meaning[1:]


def wire_error(error: HubError) -> WireError:
    """Return the registry's form of a refused credential."""
    match error:
        case TooManyAttempts():
            headers = {"Retry-After": str(error.retry_after)}
            return WireError(ErrorCode.TOOMANYREQUESTS, str(error), headers=headers)
        case SignInNeeded():
            return WireError(ErrorCode.UNAUTHORIZED, str(error))
    return WireError(ErrorCode.DENIED, str(error))
