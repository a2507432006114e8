"""Access decisions for the registry protocol and for every service of the hub.

Each decision combines the current state of the database (one query, ``AccessContext``) with the limits of the actor's
credential. A resource that the actor may not see looks as if it did not exist.
"""

from collections.abc import Callable, Collection, Mapping
from datetime import datetime

from hythe.database import Database, Session
from hythe.hub.access.access_context import AccessContext, Reader
from hythe.hub.access.actions import HubAction
from hythe.hub.access.contexts import AccessContexts
from hythe.hub.access.former_names import FormerNames
from hythe.hub.access.refusals import (
    UNCONFIRMED,
    built_refusal,
    refusal,
    taken_down_refusal,
    wire_error,
    with_small_letter,
    write_refusal,
)
from hythe.hub.access.rules import NOTHING, allowed, allows, has_hub_role, hub_role, may_list, present_actor
from hythe.hub.access.table import OF_ROBOTS, TABLE
from hythe.hub.accounts.namespaces import NamespaceKind, canonical_name, short_name
from hythe.hub.accounts.user import Visibility
from hythe.hub.actor import HubActor, Right
from hythe.hub.errors import AccountBlocked, NotFound, Refused, SignInNeeded, TooManyAttempts
from hythe.hub.roles import Everyone, HubRole, OrganizationRole
from hythe.hub.sign_in.credentials import CredentialService
from hythe.hub.sql import access_context as store
from hythe.hub.sql import repository_lists
from hythe.oci.challenge import Challenge
from hythe.oci.errors import ErrorCode, WireError
from hythe.oci.reference import is_name
from hythe.oci.scope import Scope
from hythe.registry.access import EVERYTHING_LISTED, Action, Actor, Limits, Listing

EVERYTHING = frozenset(Action)
READING = frozenset({Action.PULL})

TOKEN_PATH = "/token"  # noqa: S105 (a path)


class HubAccess:
    """The registry's ``Access`` port, and the access checks of the hub's services."""

    def __init__(
        self,
        database: Database,
        credentials: CredentialService,
        clock: Callable[[], datetime],
        public_url: str = "",
        mirrors: frozenset[str] = frozenset(),
        *,
        closed: bool = False,
    ) -> None:
        """``mirrors`` are namespaces that mirror another registry: everyone may read them, no one may write to them.

        ``closed``: nothing is shown or pulled without signing in.
        """
        self.mirrors = mirrors
        self._database = database
        self._credentials = credentials
        self._public_url = public_url.rstrip("/")
        self.closed = closed
        self.confirmed_only = False
        """Whether accounts push and create only with a confirmed e-mail address."""
        self._contexts = AccessContexts(database, clock, mirrors)
        self.former_names = FormerNames(database, self._contexts, self._may_see)

    async def authenticate(self, authorization: str | None, address: str = "") -> HubActor:
        """See registry.access.Access."""
        try:
            return await self._credentials.by_header(authorization, address, deferred=True)
        except (TooManyAttempts, SignInNeeded, AccountBlocked) as error:
            raise wire_error(error) from error

    def canonical(self, repository: str) -> str:
        """See registry.access.Access."""
        return canonical_name(repository)

    async def enter(self, actor: Actor) -> None:
        """See registry.access.Access. Any token of the token server is accepted, even an anonymous one."""
        hub_user = hub_actor(actor)
        if not (hub_user.signed_in or hub_user.operating or hub_user.second_site) and hub_user.granted is None:
            raise WireError(ErrorCode.UNAUTHORIZED)
        if self.closed and not (
            hub_user.signed_in or hub_user.operating or hub_user.second_site or hub_user.build is not None
        ):
            raise WireError(ErrorCode.UNAUTHORIZED, "this hub shows nothing without signing in")
        if hub_user.signed_in:
            try:
                await self.context(hub_user, "")
            except (SignInNeeded, AccountBlocked) as error:
                raise wire_error(error) from error

    def reached(self, actor: HubActor, repository: str, context: AccessContext) -> frozenset[Action]:
        """Return what the actor may do in the registry with the credential that they presented.

        Reading public repositories needs none, unless the hub is closed.
        """
        if actor.operating:
            return EVERYTHING
        if actor.second_site:
            return READING
        if actor.build is not None:
            # The hub wrote the allowed actions into the build's token. Whenever a tag moves, the registry listener
            # checks that the build still holds its lease.
            through = frozenset(action for action in Action if actor.credential_allows(repository, action))
            through = NOTHING if context.owner_blocked else through
            # A build runs for an account of the hub.
            through |= {Action.PULL} if context.visibility is Visibility.INTERNAL else NOTHING
            through = NOTHING if context.taken_down is not None else through
        elif self.closed and not actor.signed_in:
            through = NOTHING
        else:
            present = present_actor(actor, context)
            through = frozenset(action for action in allowed(context) if present.credential_allows(repository, action))
        return through | {Action.PULL} if self._is_public(actor, context) else through

    def _is_public(self, actor: HubActor, context: AccessContext) -> bool:
        """Return whether the actor may read the repository whatever their roles and credential are."""
        return context.visibility is Visibility.PUBLIC and (
            not self.closed or actor.signed_in or actor.build is not None
        )

    def permits(self, actor: HubActor, repository: str, context: AccessContext, action: HubAction) -> bool:
        """Return whether roles and credential allow the actor this action on a repository or in its namespace."""
        if actor.operating:
            return True
        if context.taken_down is not None and action is not HubAction.VIEW_REPOSITORY and context.opened_until is None:
            return False
        if action in (HubAction.VIEW_REPOSITORY, HubAction.PULL) and not context.withheld:
            return Action.PULL in self.reached(actor, repository, context)
        if actor.build is not None or not allows(context, action) or (actor.robot and action not in OF_ROBOTS):
            return False
        return present_actor(actor, context).credential_covers(repository, TABLE[action].right)

    def _may_see(self, actor: HubActor, repository: str, context: AccessContext) -> bool:
        return self.permits(actor, repository, context, HubAction.VIEW_REPOSITORY)

    async def require(self, actor: Actor, repository: str, action: Action) -> Limits:
        """See registry.access.Access."""
        hub_user = hub_actor(actor)
        try:
            context = await self.context(hub_user, repository)
        except (SignInNeeded, AccountBlocked) as error:
            raise wire_error(error) from error
        if context.withheld and not (hub_user.operating or hub_user.second_site):
            raise WireError(ErrorCode.DENIED, taken_down_refusal(repository, context))
        if context.repository_id is None:
            await self.former_names.require_none(hub_user, repository, context, action)
        if action in self.reached(hub_user, repository, context):
            if action is Action.PUSH and context.built and hub_user.build is None:
                raise WireError(ErrorCode.DENIED, built_refusal(repository))
            if action is Action.PUSH and self._lacks_confirmation(hub_user, context):
                raise WireError(ErrorCode.DENIED, UNCONFIRMED)
            return context.limits
        if action in allowed(context):
            raise self._wider_token_needed(repository, action)
        if not hub_user.signed_in:
            hint = "" if action is Action.PULL else "log in first: docker login"
            raise self._wider_token_needed(repository, action, hint)
        why = write_refusal(context, repository)
        if action is Action.PULL:
            # podman and skopeo check for existing blobs before a push and stop at this error.
            raise self._wider_token_needed(repository, action, f"{ErrorCode.DENIED.message}: {why}")
        raise WireError(ErrorCode.DENIED, why)

    async def visible(self, actor: Actor, repositories: Collection[str]) -> frozenset[str]:
        """See registry.access.Access."""
        hub_user = await self._present(hub_actor(actor))
        names = frozenset(repositories)
        named = frozenset(name for name in names if hub_user.credential_allows(name, Action.PULL))
        async with self._database.reading() as session:
            seen = await store.visible(
                session, self.reader(hub_user), names, everything=hub_user.operating or hub_user.second_site
            )
            return seen | await store.visible(session, self._reads(hub_user), named - seen, everything=False)

    async def listing(self, actor: Actor, after: str, limit: int) -> Listing:
        """See registry.access.Access: public repositories, the actor's own and shared ones, and those of its token."""
        hub_user = await self._present(hub_actor(actor))
        if hub_user.operating or hub_user.second_site:
            return EVERYTHING_LISTED
        named = {scope.name for scope in hub_user.granted or () if scope.type == "repository"}
        names = tuple(sorted(await self.visible(actor, named))) if named else ()
        reader = self.reader(hub_user)
        async with self._database.reading() as session:
            if reader.user_id is not None:
                names += await repository_lists.shared_names(session, reader.user_id, after, limit)
            return Listing(await store.audiences(session, reader), names)

    def challenge(self, repository: str | None, actions: Collection[Action], error: str = "") -> Challenge | None:
        """See registry.access.Access. A relative realm refers to the server that received the request."""
        return self._challenge(repository, actions, {"error": error})

    def _challenge(self, repository: str | None, actions: Collection[Action], more: Mapping[str, str]) -> Challenge:
        parameters = {"realm": f"{self._public_url}{TOKEN_PATH}", "service": self._public_url.partition("://")[2]}
        if repository is not None:
            parameters["scope"] = str(Scope.repository(repository, *(action.value for action in actions)))
        return Challenge("bearer", parameters | {name: value for name, value in more.items() if value})

    def _wider_token_needed(self, repository: str, action: Action, hint: str = "") -> WireError:
        """Respond like Docker Hub to a missing or forbidden repository: engines print "may require 'docker login'"."""
        wanted = [each for each in Action if each in (Action.PULL, action)]
        challenge = self._challenge(repository, wanted, {"error": "insufficient_scope", "error_description": hint})
        detail = [{"Type": "repository", "Class": "", "Name": repository, "Action": each.value} for each in wanted]
        return WireError(ErrorCode.UNAUTHORIZED, detail=detail, headers={"WWW-Authenticate": str(challenge)})

    async def granted(self, actor: HubActor, asked: Scope) -> Scope:
        """Return the part of the ``asked`` scope that the actor gets in an access token; it may be empty."""
        possible: Collection[str] = ()
        wanted = asked.actions
        if asked.type == "registry" and asked.name == "catalog" and may_list(actor):
            possible = ("*", "search")
        elif asked.type == "repository" and is_name(asked.name):
            repository = canonical_name(asked.name)
            context = await self.context(actor, repository)
            reached = self.reached(actor, repository, context)
            if context.repository_id is None:
                successor = await self.former_names.successor(repository, context)
                if successor is not None:
                    renamed = await self.former_names.visible(actor, repository, successor)
                    reached = READING if renamed else NOTHING
            possible = [action.value for action in reached]
            wanted = frozenset(action.value for action in Action) if "*" in asked.actions else asked.actions
        return Scope(asked.type, asked.name, wanted.intersection(possible))

    async def context(self, actor: HubActor, repository: str, session: Session | None = None) -> AccessContext:
        """See AccessContexts.get."""
        return await self._contexts.get(actor, repository, session)

    async def require_repository(
        self, actor: HubActor, repository: str, action: HubAction, session: Session | None = None
    ) -> AccessContext:
        """Check that the actor may do this with an existing repository. Raises NotFound, SignInNeeded, Refused."""
        context = await self.context(actor, repository, session)
        if context.repository_id is None:
            await self.former_names.require_present(actor, repository, context, session)
        if context.repository_id is None or not self._may_see(actor, repository, context):
            raise NotFound(f"repository {short_name(repository)!r} does not exist")
        self._require_able(actor, context, repository, action)
        return context

    async def may(self, actor: HubActor, repository: str, action: HubAction, session: Session | None = None) -> bool:
        """Return whether the actor may do this now and with this credential."""
        return self.permits(actor, repository, await self.context(actor, repository, session), action)

    async def _present(self, actor: HubActor) -> HubActor:
        """Return the actor of an access token with the present limits of the personal token behind it."""
        if actor.granted is None or not actor.personal_token_digest:
            return actor
        return present_actor(actor, await self.context(actor, ""))

    def reader(self, actor: HubActor, namespace: str = "") -> Reader:
        """Return what lists and search may show to the actor; ``namespace``: they show only its repositories.

        With a credential that is limited to some repositories, these are public ones, and all of a namespace that the
        credential has as a whole.
        """
        whole = actor.repositories is None or f"{namespace}/*" in actor.repositories
        if may_list(actor) and whole:
            return self._reads(actor)
        return Reader(nothing=self.closed and not actor.signed_in)

    def _reads(self, actor: HubActor) -> Reader:
        return Reader(actor.user_id, self.closed and not actor.signed_in)

    async def require_creation(self, actor: HubActor, repository: str, session: Session | None = None) -> AccessContext:
        """Check that the actor may create this repository. Raises SignInNeeded, Refused."""
        context = await self.context(actor, repository, session)
        self._require_able(actor, context, repository, HubAction.CREATE_REPOSITORY)
        return context

    async def require_namespace(
        self, actor: HubActor, namespace: str, action: HubAction, session: Session | None = None
    ) -> AccessContext:
        """Check that the actor may do this in an existing namespace. Raises NotFound, SignInNeeded, Refused."""
        context = await self.context(actor, f"{namespace}/", session)
        if context.namespace not in (NamespaceKind.USER, NamespaceKind.ORGANIZATION):
            await self.former_names.require_present_namespace(namespace, context, session)
            raise NotFound(f"{namespace!r} is neither a user nor an organization")
        self._require_able(actor, context, f"{namespace}/", action)
        return context

    async def require_organization(
        self, actor: HubActor, name: str, action: HubAction, session: Session | None = None
    ) -> AccessContext:
        """Check that the actor may do this in an existing organization. Raises NotFound, SignInNeeded, Refused."""
        context = await self.context(actor, f"{name}/", session)
        if context.namespace is not NamespaceKind.ORGANIZATION or context.owner_id is None:
            await self.former_names.require_present_namespace(name, context, session)
            raise NotFound(f"organization {name!r} does not exist")
        self._require_able(actor, context, f"{name}/", action)
        return context

    def _require_able(self, actor: HubActor, context: AccessContext, repository: str, action: HubAction) -> None:
        if actor.build is not None and action not in (HubAction.VIEW_REPOSITORY, HubAction.PULL):
            raise Refused("a build token may only push to the registry")
        if self.permits(actor, repository, context, action):
            if action is HubAction.CREATE_REPOSITORY and self._lacks_confirmation(actor, context):
                raise Refused(UNCONFIRMED)
            return
        if not actor.signed_in:
            raise SignInNeeded("sign in first")
        _refuse_robot(actor, action)
        if context.taken_down is not None:
            raise Refused(taken_down_refusal(repository, context))
        if allows(context, action):
            raise _right_missing(action)
        raise Refused(refusal(context, repository, action))

    def _lacks_confirmation(self, actor: HubActor, context: AccessContext) -> bool:
        """Return whether a person has to confirm their e-mail address first; builds and robots are no persons."""
        person = actor.signed_in and actor.build is None and not actor.robot
        return self.confirmed_only and person and not context.email_confirmed

    async def require_confirmed(self, actor: HubActor) -> None:
        """Check that the actor's e-mail address is confirmed, if the hub requires it. Raises Refused."""
        if self.confirmed_only and self._lacks_confirmation(actor, await self.context(actor, "")):
            raise Refused(UNCONFIRMED)

    def require_signed_in(self, actor: HubActor) -> int:
        """Return the id of the actor's account. Raises SignInNeeded; Refused if the credential is a registry token."""
        if actor.user_id is None:
            raise SignInNeeded("sign in first")
        if actor.robot:
            raise Refused("a robot has no account", "sign in as a user")
        if actor.granted is not None:
            raise Refused(
                "this token works only for the registry", "sign in with your password or a personal access token"
            )
        return actor.user_id

    def require_account(self, actor: HubActor, action: HubAction) -> int:
        """Return the id of the actor's account if the credential allows the action. Raises SignInNeeded, Refused."""
        user_id = self.require_signed_in(actor)
        if TABLE[action].right not in actor.rights:
            raise _right_missing(action)
        return user_id

    async def admit(self, actor: HubActor, action: HubAction) -> None:
        """Check what depends on no repository or namespace, before a route does anything for the actor.

        Raises SignInNeeded if the action needs an account, or the hub shows nothing without signing in and this is no
        way to sign in or up; Refused if the action needs a role on the hub, or is not for robots.
        """
        rule = TABLE[action]
        _refuse_robot(actor, action)
        if isinstance(rule.needs, HubRole):
            await self.require_hub(actor, action)
        if actor.signed_in or actor.operating or actor.build is not None:
            return
        if rule.needs is Everyone.ACCOUNT or isinstance(rule.needs, OrganizationRole):
            raise SignInNeeded("sign in first")
        enters = rule.needs is Everyone.ANYONE and (rule.changes or rule.right is Right.ACCOUNT)
        if self.closed and not enters:
            raise SignInNeeded("this hub shows nothing without signing in")

    async def may_hub(self, actor: HubActor, action: HubAction, session: Session | None = None) -> bool:
        """Return whether the actor has the role on the hub that an action needs, now and with this credential."""
        role = hub_role(action)
        if actor.operating:
            return True
        if actor.user_id is None or actor.robot or TABLE[action].right not in actor.rights or actor.granted is not None:
            return False
        return has_hub_role(await self.context(actor, "", session), role)

    async def require_hub(self, actor: HubActor, action: HubAction, session: Session | None = None) -> None:
        """Check that the actor may do this on the hub. Raises SignInNeeded, Refused."""
        if await self.may_hub(actor, action, session):
            return
        if not actor.signed_in:
            raise SignInNeeded("sign in first")
        raise Refused(f"only {hub_role(action).value}s may do this")


def _right_missing(action: HubAction) -> Refused:
    """Return the error for a token without the right that an action needs."""
    return Refused(
        f"this token may not do this: {with_small_letter(TABLE[action].meaning)}",
        f"use a token with the right {TABLE[action].right.value!r}",
    )


def _refuse_robot(actor: HubActor, action: HubAction) -> None:
    """Raise Refused if the actor is a robot and robots may not do this."""
    if actor.robot and action not in OF_ROBOTS:
        raise Refused("robots and CI jobs may only use repositories", "sign in as a user")


def hub_actor(actor: Actor) -> HubActor:
    """Return the registry's actor as a HubActor, which ``authenticate`` created."""
    if not isinstance(actor, HubActor):
        raise TypeError(f"{actor!r} is not a HubActor")
    return actor
