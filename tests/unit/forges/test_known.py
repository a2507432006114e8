"""The setting that names forges, and telling by the headers which forge sends."""

from __future__ import annotations

import pytest

from hythe.builds.configuration import Forge
from hythe.forges.known import OAuthClient, hooks_of, parse_forges
from hythe.settings import Settings, SettingsError


def test_several_forges_of_a_kind() -> None:
    """GitHub and GitHub Enterprise stand beside each other; the client's secret may hold anything, percent-encoded."""
    github, enterprise = parse_forges("github+https://github.com github+https://id:se%40cret@git.example.com/")

    assert (github.url, github.client) == ("https://github.com", OAuthClient())
    assert (enterprise.url, enterprise.client) == ("https://git.example.com", OAuthClient("id", "se@cret"))


def test_the_default_setting_is_good() -> None:
    """Four public forges, none of which knows this hub."""
    named = parse_forges(Settings().forges)

    assert [each.kind for each in named] == ["github", "bitbucket", "gitlab", "gitea"]
    assert {each.client for each in named} == {OAuthClient()}


@pytest.mark.parametrize("word", ["github.com", "svn+https://x.example", "github+ftp://x", "github+https://"])
def test_bad_words(word: str) -> None:
    """The error says what would be right."""
    with pytest.raises(SettingsError, match="KIND"):
        parse_forges(word)


def test_an_error_shows_no_secret() -> None:
    """A bad word with a client in it is not repeated."""
    with pytest.raises(SettingsError) as raised:
        parse_forges("svn+https://id:hush@x.example")

    assert "hush" not in str(raised.value)


@pytest.mark.parametrize(
    ("names", "forge"),
    [
        (("x-github-event",), Forge.GITHUB),
        (("x-github-event", "x-gogs-event", "x-gitea-event"), Forge.GITEA),
        (("x-github-event", "x-gitea-event", "x-forgejo-event"), Forge.GITEA),
        (("x-gitlab-event",), Forge.GITLAB),
        (("x-event-key",), Forge.BITBUCKET),
    ],
)
def test_who_sends(names: tuple[str, ...], forge: Forge) -> None:
    """Gitea and Forgejo send GitHub's headers, too, and are found first."""
    found = hooks_of(dict.fromkeys(names, "push"))

    assert found is not None
    assert found[0] is forge


def test_a_stranger() -> None:
    """Headers of no forge."""
    assert hooks_of({"content-type": "application/json"}) is None
