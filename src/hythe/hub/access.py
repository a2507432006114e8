"""Who may do what: the one module that decides, for the registry's protocol and for every service of the hub.

Each decision is made of the present state of the database (one query, ``AccessContext``) and of what the actor's
credential reaches. What an actor may not know of looks like what does not exist.
"""

from collections.abc import Collection, Mapping

from hythe.database import Database, Session
from hythe.database.read_cache import ReadCache
from hythe.hub.access_context import AccessContext
from hythe.hub.actor import HubActor, Right
from hythe.hub.credentials import CredentialService
from hythe.hub.errors import NotFound, Refused, SignInNeeded, TooManyAttempts
from hythe.hub.namespaces import NamespaceKind, canonical_name, short_name
from hythe.hub.sql import access_context as store
from hythe.hub.user import Visibility
from hythe.oci.challenge import Challenge
from hythe.oci.errors import ErrorCode, WireError
from hythe.oci.reference import is_name
from hythe.oci.scope import Scope
from hythe.registry.access import Action, Actor

EVERYTHING = frozenset(Action)
NOTHING: frozenset[Action] = frozenset()

REMEMBERED = 4 * 1024 * 1024
"""Bytes of standings that are kept until the next commit; each takes about ``STANDING_SIZE``."""

STANDING_SIZE = 600

TOKEN_PATH = "/token"  # noqa: S105 (a path)


def allowed(standing: AccessContext) -> frozenset[Action]:
    """Return what an account of this standing may do with the repository, whether it exists or not."""
    if standing.namespace is None:
        return NOTHING
    if _may_write(standing):
        return EVERYTHING
    if standing.visibility is Visibility.PUBLIC:
        return frozenset({Action.PULL})
    return NOTHING


def reached(actor: HubActor, repository: str, standing: AccessContext) -> frozenset[Action]:
    """Return what the actor may do with the credential that was shown; what is public needs none."""
    if actor.operating:
        return EVERYTHING
    if actor.build is not None:
        # The hub itself wrote into the token what the build may do, and the registry's listener asks whether the build
        # still holds its lease whenever a tag moves.
        return frozenset(action for action in Action if actor.credential_allows(repository, action))
    through = frozenset(action for action in allowed(standing) if actor.credential_allows(repository, action))
    return through | {Action.PULL} if standing.visibility is Visibility.PUBLIC else through


def _may_write(standing: AccessContext) -> bool:
    if standing.user_id is None:
        return False
    if standing.namespace is NamespaceKind.CURATED:
        return standing.admin
    return standing.owner_id == standing.user_id


def write_refusal(standing: AccessContext, repository: str) -> str:
    """Say why an account of this standing may not push or delete; tells nothing that is not public."""
    namespace, _, _ = repository.partition("/")
    if standing.namespace is None:
        return f"there is no namespace {namespace!r} here: push to YOUR-NAME/.."
    if standing.namespace is NamespaceKind.MIRROR:
        return f"{namespace} is a mirror of another registry: push there"
    if standing.namespace is NamespaceKind.CURATED:
        return f"{short_name(repository)!r} is a top-level repository: these are curated, only administrators may push"
    return f"only {namespace} may push to {namespace}/.."


def built_refusal(repository: str) -> str:
    """Say why nobody pushes by hand to a repository with Trusted Builds."""
    return (
        f"{short_name(repository)} has Trusted Builds: only its builds push to it. "
        "Push to the source instead, or delete its build set-up"
    )


class HubAccess:
    """The registry's ``Access`` port and the hub's own questions."""

    def __init__(
        self,
        database: Database,
        credentials: CredentialService,
        public_url: str = "",
        mirrors: frozenset[str] = frozenset(),
    ) -> None:
        """``mirrors`` are namespaces behind which another registry stands: anybody reads them, nobody writes."""
        self._mirrors = mirrors
        self._database = database
        self._credentials = credentials
        self._public_url = public_url.rstrip("/")
        self._standings: ReadCache[tuple[int | None, str], AccessContext] = ReadCache(database, REMEMBERED)

    async def authenticate(self, authorization: str | None, address: str = "") -> HubActor:
        """See registry.access.Access."""
        try:
            return await self._credentials.by_header(authorization, address)
        except TooManyAttempts as error:
            headers = {"Retry-After": str(error.retry_after)}
            raise WireError(ErrorCode.TOOMANYREQUESTS, str(error), headers=headers) from error
        except SignInNeeded as error:
            raise WireError(ErrorCode.UNAUTHORIZED, str(error)) from error

    def canonical(self, repository: str) -> str:
        """See registry.access.Access."""
        return canonical_name(repository)

    async def enter(self, actor: Actor) -> None:
        """See registry.access.Access. A token of the token server will do, also an anonymous one."""
        asker = hub_actor(actor)
        if not asker.signed_in and not asker.operating and asker.granted is None:
            raise WireError(ErrorCode.UNAUTHORIZED)

    async def require(self, actor: Actor, repository: str, action: Action) -> None:
        """See registry.access.Access."""
        asker = hub_actor(actor)
        standing = await self.standing(asker, repository)
        if action in reached(asker, repository, standing):
            if action is Action.PUSH and standing.built and asker.build is None:
                raise WireError(ErrorCode.DENIED, built_refusal(repository))
            return
        if action in allowed(standing):
            raise self._wider_token_needed(repository, action)
        if not asker.signed_in:
            hint = "" if action is Action.PULL else "log in first: docker login"
            raise self._wider_token_needed(repository, action, hint)
        why = write_refusal(standing, repository)
        if action is Action.PULL:
            # Before a push podman and skopeo look for what they need not send, and go no further than this.
            raise self._wider_token_needed(repository, action, f"{ErrorCode.DENIED.message}: {why}")
        raise WireError(ErrorCode.DENIED, why)

    async def visible(self, actor: Actor, repositories: Collection[str]) -> frozenset[str]:
        """See registry.access.Access."""
        asker = hub_actor(actor)
        names = frozenset(repositories)
        named = frozenset(name for name in names if asker.credential_allows(name, Action.PULL))
        async with self._database.reading() as session:
            seen = await store.visible(session, self.reader(asker), names, everything=asker.operating)
            return seen | await store.visible(session, asker.user_id, named - seen, everything=False)

    def challenge(self, repository: str | None, actions: Collection[Action], error: str = "") -> Challenge | None:
        """See registry.access.Access. A realm that is only a path is on the server that was asked."""
        return self._challenge(repository, actions, {"error": error})

    def _challenge(self, repository: str | None, actions: Collection[Action], more: Mapping[str, str]) -> Challenge:
        parameters = {"realm": f"{self._public_url}{TOKEN_PATH}", "service": self._public_url.partition("://")[2]}
        if repository is not None:
            parameters["scope"] = str(Scope.repository(repository, *(action.value for action in actions)))
        return Challenge("bearer", parameters | {name: value for name, value in more.items() if value})

    def _wider_token_needed(self, repository: str, action: Action, hint: str = "") -> WireError:
        """The answer of Docker Hub for what is not there or not allowed: engines say "may require 'docker login'"."""
        wanted = [each for each in Action if each in (Action.PULL, action)]
        challenge = self._challenge(repository, wanted, {"error": "insufficient_scope", "error_description": hint})
        detail = [{"Type": "repository", "Class": "", "Name": repository, "Action": each.value} for each in wanted]
        return WireError(ErrorCode.UNAUTHORIZED, detail=detail, headers={"WWW-Authenticate": str(challenge)})

    async def granted(self, actor: HubActor, asked: Scope) -> Scope:
        """Return what of ``asked`` the actor gets in an access token, perhaps nothing."""
        possible: Collection[str] = ()
        wanted = asked.actions
        if asked.type == "registry" and asked.name == "catalog" and may_list(actor):
            possible = ("*", "search")
        elif asked.type == "repository" and is_name(asked.name):
            repository = canonical_name(asked.name)
            possible = [action.value for action in reached(actor, repository, await self.standing(actor, repository))]
            wanted = frozenset(action.value for action in Action) if "*" in asked.actions else asked.actions
        return Scope(asked.type, asked.name, wanted.intersection(possible))

    async def standing(self, actor: HubActor, repository: str, session: Session | None = None) -> AccessContext:
        """Return how the actor stands to the repository of this canonical name, now."""
        namespace, _, name = repository.partition("/")
        if namespace in self._mirrors:
            return AccessContext(NamespaceKind.MIRROR, None, None, None, Visibility.PUBLIC, actor.user_id, actor.admin)
        if session is not None:
            return await store.standing(session, actor.user_id, namespace, name)
        generation = self._standings.generation()
        key = (actor.user_id, repository)
        found = self._standings.get(key)
        if found is None:
            async with self._database.reading() as own:
                found = await store.standing(own, actor.user_id, namespace, name)
            self._standings.keep(generation, key, found, STANDING_SIZE)
        return found

    async def require_repository(
        self, actor: HubActor, repository: str, action: Action, session: Session | None = None
    ) -> AccessContext:
        """Return when the actor may do this with an existing repository. Raises NotFound, SignInNeeded, Refused."""
        standing = await self.standing(actor, repository, session)
        if standing.repository_id is None or Action.PULL not in reached(actor, repository, standing):
            raise NotFound(f"there is no repository {short_name(repository)!r}")
        self._require_able(actor, standing, repository, action)
        return standing

    async def may(self, actor: HubActor, repository: str, action: Action) -> bool:
        """Whether the actor may do this, now and with this credential."""
        return action in reached(actor, repository, await self.standing(actor, repository))

    def reader(self, actor: HubActor) -> int | None:
        """Return whose private repositories lists may show to the actor (an account's number); None: nobody's."""
        return actor.user_id if may_list(actor) else None

    async def require_namespace(
        self, actor: HubActor, repository: str, session: Session | None = None
    ) -> AccessContext:
        """Return when the actor may create this repository. Raises SignInNeeded, Refused."""
        standing = await self.standing(actor, repository, session)
        self._require_able(actor, standing, repository, Action.PUSH)
        return standing

    def _require_able(self, actor: HubActor, standing: AccessContext, repository: str, action: Action) -> None:
        if actor.build is not None and action is not Action.PULL:
            raise Refused("a build's token pushes to the registry, and changes nothing else")
        if action in reached(actor, repository, standing):
            return
        if not actor.signed_in:
            raise SignInNeeded("sign in first")
        if action in allowed(standing):
            raise Refused(f"this token does not allow to {action.value} {short_name(repository)}", "use one that does")
        raise Refused(write_refusal(standing, repository))

    def require_signed_in(self, actor: HubActor) -> int:
        """Return the id of the actor's account. Raises SignInNeeded, Refused to the holder of a registry's token."""
        if actor.user_id is None:
            raise SignInNeeded("sign in first")
        if actor.granted is not None:
            raise Refused("this token is for the registry alone", "sign in with the password or a personal token")
        return actor.user_id

    def require_account(self, actor: HubActor) -> int:
        """Return the id of the actor's account, when the credential may manage it. Raises SignInNeeded, Refused."""
        user_id = self.require_signed_in(actor)
        if Right.ACCOUNT not in actor.rights:
            raise Refused("this token does not allow to manage the account", "sign in with the password")
        return user_id

    async def is_admin(self, actor: HubActor) -> bool:
        """Whether the actor may manage the whole hub, with this credential and now."""
        if actor.operating:
            return True
        if actor.user_id is None or Right.ACCOUNT not in actor.rights or actor.granted is not None:
            return False
        async with self._database.reading() as session:
            return await store.is_admin(session, actor.user_id)

    async def require_admin(self, actor: HubActor) -> None:
        """Return when the actor may manage the whole hub. Raises SignInNeeded, Refused."""
        if await self.is_admin(actor):
            return
        if not actor.signed_in:
            raise SignInNeeded("sign in first")
        raise Refused("this is for administrators alone")


def hub_actor(actor: Actor) -> HubActor:
    """Return the actor as the hub's own; the registry passes on what ``authenticate`` returned."""
    if not isinstance(actor, HubActor):
        raise TypeError(f"{actor!r} did not come from the hub")
    return actor


def may_list(actor: HubActor) -> bool:
    """Whether the credential reaches lists of repositories: catalog and search."""
    return Right.READ in actor.rights and (
        actor.granted is None or any(scope.type == "registry" and scope.actions for scope in actor.granted)
    )
