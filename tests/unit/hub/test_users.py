"""Accounts: sign-up, passwords, what users see of each other."""

import msgspec
import pytest
from tests.unit.hub.services import PASSWORD, Services

from hythe.builds.routes import application as build_routes
from hythe.hub.accounts.email_addresses import EmailChange, email_problem
from hythe.hub.accounts.namespaces import user_name_problem
from hythe.hub.accounts.plan import Plan, PlanUsage
from hythe.hub.accounts.sign_ups import SignUpLimit
from hythe.hub.accounts.user import Visibility
from hythe.hub.accounts.users import NewUser, PlanChange, UserChange, UserService
from hythe.hub.actor import ANONYMOUS, HubActor, Right
from hythe.hub.errors import Invalid, NotFound, Refused, SignInNeeded, Taken, TooManyAttempts
from hythe.hub.page import Paging
from hythe.hub.routes import application as hub_routes
from hythe.hub.sign_in.login_throttle import MAX_FAILURES
from hythe.hub.tokens.personal_tokens import NewPersonalToken
from hythe.hub.tokens.tokens import TokenRequest
from hythe.settings import Settings, load
from hythe.web.routes.application import PAGES


def test_anybody_signs_up(services: Services) -> None:
    """A new account is no administrator, and its e-mail address is stored in lower case."""
    user = services.run(services.hub.users.create(ANONYMOUS, NewUser("ann", "Ann@Example.com", PASSWORD)))

    assert (user.name, user.email, user.admin) == ("ann", "ann@example.com", False)


@pytest.mark.parametrize(
    "name",
    ["a", "-ann", "ann-", "an--n", "Ann", "ann_b", "ann.b", "a" * 40, "library", "v2", "api", "me", "", "a\0b", "änn"],
)
def test_names_that_are_refused(name: str) -> None:
    """2 to 39 of [a-z0-9-], no '-' at the ends or twice in a row, nothing reserved."""
    assert set(NewUser.problems({"username": name})) == {"username"}


@pytest.mark.parametrize("name", ["ab", "a1", "a-b-c", "0day", "a" * 39])
def test_names_that_are_good(name: str) -> None:
    """Valid names at the limits of the rule."""
    assert NewUser.problems({"username": name}) == {}


def test_no_account_gets_the_name_of_an_address() -> None:
    """The first component of every address of the hub is reserved, because a user's page would be hidden."""
    paths = [page.path for page in PAGES] + [path for _, path, *_ in (*hub_routes.PLAIN, *build_routes.PLAIN)]
    words = {path.split("/")[1] for path in paths}

    assert {"search", "new-build", "badge"} <= words
    assert [word for word in words if "{" not in word and user_name_problem(word) is None] == []


@pytest.mark.parametrize(
    "email", ["<ann@x.org>", "ann@x.org>", '"ann"@x.org', "a,b@x.org", "a:b@x;", "a\x7fb@x", "a@b@c"]
)
def test_addresses_that_mean_something_else_in_a_letter(email: str) -> None:
    """Mail goes only to the user who signed up, not to addresses smuggled into theirs."""
    assert email_problem(email) is not None


def test_every_bad_field_is_named(services: Services) -> None:
    """A sign-up with several invalid fields gets all problems at once."""
    with pytest.raises(Invalid) as caught:
        services.run(services.hub.users.create(ANONYMOUS, NewUser("-", "nowhere", "short")))

    assert set(caught.value.fields) == {"username", "email", "password"}


@pytest.mark.parametrize(
    ("name", "email", "fields"),
    [
        ("ann", "other@example.com", {"username"}),
        ("other", "ANN@example.com", {"email"}),
        ("ann", "ann@example.com", {"username", "email"}),
    ],
)
def test_taken(services: Services, ann: HubActor, name: str, email: str, fields: set[str]) -> None:
    """A taken name or address is refused by field, and nothing of the attempt stays."""
    with pytest.raises(Taken) as caught:
        services.run(services.hub.users.create(ANONYMOUS, NewUser(name, email, PASSWORD)))

    assert set(caught.value.fields) == fields
    assert services.run(services.hub.users.list(HubActor.operator(), Paging())).total == 1


def test_closed_sign_up(services: Services, curator: HubActor) -> None:
    """If sign-up is disabled, users get a hint; administrators and the operator can still create accounts."""
    users: UserService = services.hub.users
    users.sign_up_open = False
    with pytest.raises(Refused, match="ask an administrator"):
        services.run(users.create(ANONYMOUS, NewUser("ann", "ann@example.com", PASSWORD)))

    services.run(users.create(curator, NewUser("ben", "ben@example.com", PASSWORD)))
    services.run(users.create(HubActor.operator(), NewUser("eve", "eve@example.com", PASSWORD)))

    assert services.run(users.list(curator, Paging())).total == 3


def test_only_administrators_make_administrators(services: Services, ann: HubActor) -> None:
    """A sign-up cannot make an administrator."""
    with pytest.raises(Refused):
        services.run(services.hub.users.create(ann, NewUser("eve", "eve@example.com", PASSWORD), admin=True))


def test_addresses_are_for_the_user_and_administrators(services: Services, ann: HubActor, ben: HubActor) -> None:
    """Others see the account without its e-mail address."""
    seen = {who.name: services.run(services.hub.users.get(who, "ann")).email for who in (ann, ben, ANONYMOUS)}
    seen["operator"] = services.run(services.hub.users.get(HubActor.operator(), "ann")).email

    assert seen == {"ann": "ann@example.com", "ben": "", "": "", "operator": "ann@example.com"}


def test_unknown_user(services: Services) -> None:
    """An invalid name is a missing user."""
    for name in ("ghost", "a\0b", "a\udcff", "A", "x" * 500):
        with pytest.raises(NotFound):
            services.run(services.hub.users.get(ANONYMOUS, name))
        with pytest.raises(NotFound):
            services.run(services.hub.users.set_password(HubActor.operator(), name, PASSWORD))


def test_change_of_visibility(services: Services, ann: HubActor) -> None:
    """Fields that are not given stay."""
    changed = services.run(services.hub.users.change_me(ann, UserChange(default_visibility=Visibility.PRIVATE)))
    assert (changed.email, changed.default_visibility) == ("ann@example.com", Visibility.PRIVATE)


def test_a_new_password_ends_everything_else(services: Services, ann: HubActor) -> None:
    """The old password, sessions and refresh tokens stop working at once."""
    session = services.run(services.hub.sessions.sign_in("ann", PASSWORD, "here"))
    login = services.run(services.hub.tokens.issue(ann, TokenRequest(offline=True)))
    services.run(services.hub.users.set_password(ann, "ann", "another horse", PASSWORD))

    with pytest.raises(SignInNeeded):
        services.run(services.hub.tokens.renew(login.refresh_token, TokenRequest()))
    assert services.run(services.hub.sessions.actor(session.token)) == ANONYMOUS
    with pytest.raises(SignInNeeded):
        services.run(services.hub.credentials.by_password("ann", PASSWORD))
    assert services.run(services.hub.credentials.by_password("ann", "another horse")).name == "ann"


def test_a_password_is_changed_by_its_owner(services: Services, ann: HubActor, ben: HubActor) -> None:
    """Users need their current password; administrators change others' without it."""
    with pytest.raises(Invalid):
        services.run(services.hub.users.set_password(ann, "ann", "another horse", "wrong"))
    with pytest.raises(Refused):
        services.run(services.hub.users.set_password(ben, "ann", "another horse"))

    assert services.run(services.hub.credentials.by_password("ann", PASSWORD)).name == "ann"


def test_a_password_is_not_found_out_by_changing_it(services: Services, ann: HubActor) -> None:
    """A stolen session can guess the password no faster than anyone; others can sign in."""
    for _ in range(MAX_FAILURES):
        with pytest.raises(Invalid):
            services.run(services.hub.users.set_password(ann, "ann", "another horse", "wrong"))

    with pytest.raises(TooManyAttempts):
        services.run(services.hub.users.set_password(ann, "ann", "another horse", PASSWORD))
    assert services.run(services.hub.credentials.by_password("ann", PASSWORD)).name == "ann"


def test_a_token_without_the_right_leaves_the_account_alone(services: Services, ann: HubActor) -> None:
    """A personal access token that may push cannot change password or address, or create tokens."""
    new = NewPersonalToken("ci", (Right.READ, Right.WRITE, Right.DELETE))
    secret, _ = services.run(services.hub.personal_tokens.create(ann, new))
    limited = services.run(services.hub.credentials.by_token(secret))

    for attempt in (
        services.hub.users.set_password(limited, "ann", "another horse", PASSWORD),
        services.hub.emails.request_change(limited, EmailChange("x@example.com", PASSWORD)),
        services.hub.sessions.revoke_others(limited),
        services.hub.personal_tokens.create(limited, new),
        services.hub.personal_tokens.list(limited),
    ):
        with pytest.raises(Refused):
            services.run(attempt)


def test_plans_are_for_administrators(services: Services, ann: HubActor, curator: HubActor) -> None:
    """Other users cannot change a plan or see another's; a missing user is reported."""
    with pytest.raises(Refused):
        services.run(services.hub.users.set_plan(ann, "ann", PlanChange(private_limit=None)))
    with pytest.raises(NotFound):
        services.run(services.hub.users.set_plan(curator, "ghost", PlanChange(private_limit=1)))

    changed = services.run(services.hub.users.set_plan(curator, "ann", PlanChange(private_limit=3)))

    assert changed.plan == msgspec.structs.replace(Plan.of(Settings()), private_limit=3)
    assert services.run(services.hub.users.me(ann)).plan.private_limit == 3
    assert services.run(services.hub.users.get(ANONYMOUS, "ann")).plan.private_limit is None


def test_plan_of_new_accounts(services: Services) -> None:
    """New accounts get the plan of the settings."""
    users = UserService(
        services.database,
        services.foundation.access,
        services.foundation.credentials,
        services.hub.emails,
        services.foundation.passwords,
        services.foundation.attempts,
        services.hub.confirmations,
        services.clock,
        sign_up=True,
        sign_up_limit=SignUpLimit(services.database, 0, services.clock),
        plan=Plan.of(load({"private_repositories": "2", "storage_per_account": "5GiB"}, {}).settings),
    )

    made = services.run(users.create(ANONYMOUS, NewUser("ann", "ann@example.com", PASSWORD)))

    assert made.plan == Plan(private_limit=2, repository_limit=1000, storage_limit=5 << 30, upload_limit=100)
    assert made.usage == PlanUsage()
    assert services.run(users.get(HubActor.operator(), "ann")) == made


def test_lists_are_for_administrators(services: Services, ann: HubActor, curator: HubActor) -> None:
    """The list of all accounts, by name."""
    with pytest.raises(Refused):
        services.run(services.hub.users.list(ann, Paging()))

    page = services.run(services.hub.users.list(curator, Paging(page_size=1)))
    assert ([user.name for user in page.items], page.total, page.more) == (["ann"], 2, True)
