"""Access decisions: the registry's port as the hub implements it, and the hub's own checks."""

import msgspec
import pytest
from tests.unit.hub.services import Services

from hythe.hub.access.access_context import AccessContext
from hythe.hub.access.actions import HubAction
from hythe.hub.access.rules import allowed
from hythe.hub.accounts.namespaces import NamespaceKind
from hythe.hub.accounts.user import Visibility
from hythe.hub.actor import ANONYMOUS, BuildLease, HubActor, Right
from hythe.hub.errors import NotFound, Refused, SignInNeeded
from hythe.hub.repositories.repositories import NewRepository
from hythe.oci.challenge import parse_challenges
from hythe.oci.errors import ErrorCode, WireError
from hythe.oci.scope import Scope
from hythe.registry.access import Action

USER, CURATED = NamespaceKind.USER, NamespaceKind.CURATED
PUBLIC, PRIVATE = Visibility.PUBLIC, Visibility.PRIVATE
ALL = frozenset(Action)
PULL = frozenset({Action.PULL})


@pytest.mark.parametrize(
    ("kind", "visibility", "owner", "user", "admin", "may"),
    [
        (None, None, None, 1, True, frozenset()),
        (USER, None, 1, 1, False, ALL),
        (USER, PUBLIC, 1, 1, False, ALL),
        (USER, PRIVATE, 1, 1, False, ALL),
        (USER, None, 1, 2, False, frozenset()),
        (USER, PUBLIC, 1, 2, False, PULL),
        (USER, PRIVATE, 1, 2, False, frozenset()),
        (USER, PUBLIC, 1, 2, True, PULL),
        (USER, PRIVATE, 1, 2, True, frozenset()),
        (USER, None, 1, None, False, frozenset()),
        (USER, PUBLIC, 1, None, False, PULL),
        (USER, PRIVATE, 1, None, False, frozenset()),
        (CURATED, None, None, 1, True, ALL),
        (CURATED, PUBLIC, None, 1, True, ALL),
        (CURATED, None, None, 1, False, frozenset()),
        (CURATED, PUBLIC, None, 1, False, PULL),
        (CURATED, PUBLIC, None, None, False, PULL),
        (CURATED, None, None, None, False, frozenset()),
    ],
)
def test_the_table(
    kind: NamespaceKind | None,
    visibility: Visibility | None,
    owner: int | None,
    user: int | None,
    admin: bool,
    may: frozenset[Action],
) -> None:
    """Owners may do everything, everyone may read public repositories, curators push top-level ones."""
    there = None if visibility is None else 7
    context = AccessContext(kind, None if kind is None else 3, owner, there, visibility, user, admin)

    assert allowed(context) == may


def refusal(services: Services, actor: HubActor, repository: str, action: Action) -> WireError:
    """Return the error that the registry gets."""
    with pytest.raises(WireError) as caught:
        services.run(services.hub.access.require(actor, repository, action))
    return caught.value


def answer(error: WireError, repository: str) -> tuple[object, ...]:
    """Return everything of a response that a client sees, without the requested name."""
    text = (error.code, error.status, error.message, str(error.detail), str(error.headers))
    return tuple(str(part).replace(repository, "NAME") for part in text)


def test_private_answers_like_absent(services: Services, ann: HubActor, ben: HubActor, curator: HubActor) -> None:
    """All users except the owner get the same error for every action; the owner is allowed."""
    services.run(services.hub.repositories.create(ann, NewRepository("ann", "secret", PRIVATE)))

    for actor in (ben, curator, ANONYMOUS):
        for action in Action:
            hidden = refusal(services, actor, "ann/secret", action)
            absent = refusal(services, actor, "ann/absent", action)
            assert answer(hidden, "ann/secret") == answer(absent, "ann/absent")
    for action in Action:
        services.run(services.hub.access.require(ann, "ann/secret", action))
        services.run(services.hub.access.require(ann, "ann/absent", action))


def test_refused_pull_asks_for_a_wider_token(services: Services, ann: HubActor) -> None:
    """A 401 names the scope, so engines try once more and then print "may require 'docker login'"."""
    error = refusal(services, ANONYMOUS, "ann/absent", Action.PULL)

    (challenge,) = parse_challenges(error.headers["WWW-Authenticate"])
    assert error.code is ErrorCode.UNAUTHORIZED
    assert challenge.parameters["scope"] == "repository:ann/absent:pull"
    assert challenge.parameters["error"] == "insufficient_scope"


def test_refused_push_says_why(services: Services, ann: HubActor, ben: HubActor) -> None:
    """A signed-in user without access learns who may push; an anonymous client learns to log in."""
    services.push(ann, "ann/app")

    assert refusal(services, ben, "ann/app", Action.PUSH).message == "only ann and collaborators may push to ann/.."
    assert refusal(services, ben, "ann/app", Action.PUSH).code is ErrorCode.DENIED
    assert "only curators may push to it" in refusal(services, ben, "library/centos", Action.PUSH).message
    assert "namespace 'ghost' does not exist" in refusal(services, ben, "ghost/app", Action.PUSH).message
    asked = refusal(services, ANONYMOUS, "ann/app", Action.PUSH)
    assert asked.code is ErrorCode.UNAUTHORIZED
    assert "docker login" in asked.headers["WWW-Authenticate"]


def test_tokens_open_what_they_name(services: Services, ann: HubActor) -> None:
    """A token for one repository is not enough for another, unless that is public."""
    services.push(ann, "ann/app")
    for name in ("one", "two"):
        services.run(services.hub.repositories.create(ann, NewRepository("ann", name, PRIVATE)))
    limited = msgspec.structs.replace(ann, granted=(Scope.repository("ann/one", "pull"),))

    services.run(services.hub.access.require(limited, "ann/one", Action.PULL))
    services.run(services.hub.access.require(limited, "ann/app", Action.PULL))
    for repository, action in (
        ("ann/two", Action.PULL),
        ("ann/one", Action.PUSH),
        ("ann/app", Action.DELETE),
    ):
        error = refusal(services, limited, repository, action)
        assert error.code is ErrorCode.UNAUTHORIZED
        assert 'error="insufficient_scope"' in error.headers["WWW-Authenticate"]


def test_decisions_are_of_now(services: Services, ann: HubActor, curator: HubActor) -> None:
    """A valid token does not open what has been closed since."""
    token = msgspec.structs.replace(curator, granted=(Scope.repository("library/centos", "pull", "push"),))
    services.run(services.hub.access.require(token, "library/centos", Action.PUSH))

    gone = msgspec.structs.replace(token, user_id=99999)

    assert refusal(services, gone, "library/centos", Action.PUSH).code is ErrorCode.UNAUTHORIZED


def test_what_a_token_is_granted(services: Services, ann: HubActor, ben: HubActor) -> None:
    """The actor gets the requested actions that they may do; denied and invalid scopes have none."""
    services.push(ann, "ann/app")
    asked = Scope.repository("ann/app", "pull", "push")

    def granted(actor: HubActor, scope: Scope) -> str:
        return str(services.run(services.hub.access.granted(actor, scope)))

    assert granted(ann, asked) == "repository:ann/app:pull,push"
    assert granted(ben, asked) == "repository:ann/app:pull"
    assert granted(ANONYMOUS, asked) == "repository:ann/app:pull"
    assert granted(ANONYMOUS, Scope.repository("centos", "pull")) == "repository:centos:"
    assert granted(ann, Scope.repository("ann/app", "*")) == "repository:ann/app:pull,push,delete"
    assert granted(ann, Scope("registry", "catalog", frozenset({"*"}))) == "registry:catalog:*"
    assert granted(ann, Scope("plugin", "x", frozenset({"pull"}))) == "plugin:x:"
    for name in ("ann/\0", "Ann/App", "ä", "a//b"):
        assert granted(ann, Scope.repository(name, "pull")) == f"repository:{name}:"


def test_a_token_that_may_not_read_lists_nothing_private(services: Services, ann: HubActor) -> None:
    """A personal access token that only writes shows no more after its exchange for a catalog token."""
    catalog = Scope("registry", "catalog", frozenset({"*"}))
    writer = msgspec.structs.replace(ann, rights=frozenset({Right.WRITE}))

    granted = services.run(services.hub.access.granted(writer, catalog))

    assert granted.actions == frozenset()


def test_the_token_of_a_build_pushes_and_changes_nothing_else(services: Services, ann: HubActor) -> None:
    """A malicious build with its token cannot make its repository public or delete tags with the API."""
    services.push(ann, "ann/app")
    scope = Scope.repository("ann/app", *(action.value for action in Action))
    build = HubActor("build 1", granted=(scope,), build=BuildLease(1, 1, "key"))
    services.run(services.hub.access.require(build, "ann/app", Action.PUSH))
    services.run(services.hub.access.require_repository(build, "ann/app", HubAction.PULL))

    for action in set(HubAction) - {HubAction.VIEW_REPOSITORY, HubAction.PULL}:
        with pytest.raises(Refused, match="may only push to the registry"):
            services.run(services.hub.access.require_repository(build, "ann/app", action))
    with pytest.raises(Refused, match="may only push to the registry"):
        services.run(services.hub.access.require_creation(build, "ann/other"))


def test_credentials_with_few_rights(services: Services, ann: HubActor) -> None:
    """A read-only token reads the owner's private repositories, and neither writes nor deletes."""
    services.run(services.hub.repositories.create(ann, NewRepository("ann", "secret", PRIVATE)))
    reader = msgspec.structs.replace(ann, rights=frozenset({Right.READ}))

    services.run(services.hub.access.require(reader, "ann/secret", Action.PULL))
    assert refusal(services, reader, "ann/secret", Action.PUSH).code is ErrorCode.UNAUTHORIZED
    with pytest.raises(Refused, match="this token"):
        services.run(services.hub.repositories.delete(reader, "ann/secret"))


def test_what_is_visible(services: Services, ann: HubActor, ben: HubActor) -> None:
    """Catalog and mounts see public and own repositories; a token for one repository sees that one."""
    services.push(ann, "ann/app")
    for name in ("one", "two"):
        services.run(services.hub.repositories.create(ann, NewRepository("ann", name, PRIVATE)))
    names = ["ann/app", "ann/one", "ann/two", "ann/absent", "library/x"]
    limited = msgspec.structs.replace(ann, granted=(Scope.repository("ann/one", "pull"),))
    writer = msgspec.structs.replace(ann, rights=frozenset({Right.WRITE}))

    def visible(actor: HubActor) -> set[str]:
        return set(services.run(services.hub.access.visible(actor, names)))

    assert visible(ann) == {"ann/app", "ann/one", "ann/two"}
    assert visible(ben) == visible(ANONYMOUS) == visible(writer) == {"ann/app"}
    assert visible(limited) == {"ann/app", "ann/one"}
    assert visible(HubActor.operator()) == {"ann/app", "ann/one", "ann/two"}


def test_entering(services: Services, ann: HubActor) -> None:
    """``GET /v2/`` requires a token, even an anonymous one; without one it says where to get it."""
    token = msgspec.structs.replace(ANONYMOUS, granted=())

    services.run(services.hub.access.enter(ann))
    services.run(services.hub.access.enter(token))
    with pytest.raises(WireError):
        services.run(services.hub.access.enter(ANONYMOUS))
    challenge = services.hub.access.challenge(None, ())
    assert challenge is not None
    assert challenge.parameters["realm"] == "/token"


def test_services_ask_the_same(services: Services, ann: HubActor, ben: HubActor) -> None:
    """Services treat hidden repositories as missing, and refuse changes to visible ones."""
    services.run(services.hub.repositories.create(ann, NewRepository("ann", "secret", PRIVATE)))
    services.run(services.hub.repositories.create(ann, NewRepository("ann", "open", PUBLIC)))

    for actor in (ben, ANONYMOUS):
        for name in ("ann/secret", "ann/absent"):
            with pytest.raises(NotFound):
                services.run(services.hub.access.require_repository(actor, name, HubAction.DELETE_REPOSITORY))
    with pytest.raises(Refused):
        services.run(services.hub.access.require_repository(ben, "ann/open", HubAction.DESCRIBE_REPOSITORY))
    with pytest.raises(SignInNeeded):
        services.run(services.hub.access.require_repository(ANONYMOUS, "ann/open", HubAction.DESCRIBE_REPOSITORY))
