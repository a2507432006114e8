"""Scopes of the token protocol."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hythe.oci.scope import InvalidScope, Scope, add_scopes, parse_scopes

SCOPE = st.builds(
    Scope,
    st.sampled_from(("repository", "registry")),
    st.from_regex(r"([a-z0-9.]{1,8}(:[0-9]{2,4})?/)?[a-z0-9/]{1,20}", fullmatch=True),
    st.frozensets(st.sampled_from(("pull", "push", "delete", "*"))),
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("repository:ada/web:pull", Scope("repository", "ada/web", frozenset({"pull"}))),
        ("repository:ada/web:push,pull", Scope("repository", "ada/web", frozenset({"pull", "push"}))),
        ("repository:host:5000/web:pull", Scope("repository", "host:5000/web", frozenset({"pull"}))),
        ("registry:catalog:*", Scope("registry", "catalog", frozenset({"*"}))),
        ("repository(plugin):ada/web:pull", Scope("repository", "ada/web", frozenset({"pull"}))),
        ("repository:ada/web:", Scope("repository", "ada/web", frozenset())),
    ],
)
def test_scopes_are_read(text: str, expected: Scope) -> None:
    """Names may have a port; an old class in parentheses is left out."""
    assert expected == Scope.parse(text)


@pytest.mark.parametrize("text", ["", "repository", "repository:web", "::", "Repository:web:pull", "registry:web:PULL"])
def test_what_is_no_scope_is_refused(text: str) -> None:
    """Each with what would be right."""
    with pytest.raises(InvalidScope, match="type:name:action"):
        Scope.parse(text)


@given(SCOPE)
def test_a_scope_means_itself(scope: Scope) -> None:
    """Printing and reading again changes nothing."""
    assert scope == Scope.parse(str(scope))


def test_pull_is_written_before_push() -> None:
    """The order of the actions is always the same."""
    assert str(Scope.repository("web", "delete", "push", "pull")) == "repository:web:pull,push,delete"


@given(st.lists(SCOPE, max_size=6))
def test_scopes_of_one_resource_are_united(scopes: list[Scope]) -> None:
    """However they come, by words or by spaces, each resource is named once with all its actions."""
    united = parse_scopes([" ".join(map(str, scopes))])

    assert united == parse_scopes(map(str, scopes))
    assert {(scope.type, scope.name) for scope in scopes} == {(scope.type, scope.name) for scope in united}
    assert len(united) == len({(scope.type, scope.name) for scope in united})
    for scope in scopes:
        assert any(scope.name == one.name and scope.type == one.type and scope.actions <= one.actions for one in united)


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ("", ["repository:ann/app:pull"]),
        ("repository:ann/app:pull", ["repository:ann/app:pull"]),
        ("repository:ann/app:push,pull", ["repository:ann/app:pull,push"]),
        ("aws", ["repository:ann/app:pull", "aws"]),
        (" aws  aws\tb:c ", ["repository:ann/app:pull", "aws", "b:c"]),
        ("repository(plugin):ann/app:push", ["repository:ann/app:pull", "repository(plugin):ann/app:push"]),
        ("repository:bob/x:push,pull", ["repository:ann/app:pull", "repository:bob/x:push,pull"]),
        ("https://www.example.com/auth/all", ["repository:ann/app:pull", "https://www.example.com/auth/all"]),
        ("registry:catalog:*", ["repository:ann/app:pull", "registry:catalog:*"]),
    ],
)
def test_a_servers_scope_is_passed_on(more: str, expected: list[str]) -> None:
    """Only actions on the same resource are merged; other words stay as the server wrote them."""
    assert add_scopes([Scope.repository("ann/app", "pull")], more) == tuple(expected)
