"""The setting that names forges, and the headers that select a webhook format."""

from __future__ import annotations

import pytest
from tests.parts.process import ROOT

from hythe.forges.adapters import ADAPTERS, webhook_format
from hythe.forges.configured import forge_hosts, parse_forges
from hythe.forges.port import OAuthClient
from hythe.forges.webhook_format import HeaderWebhookFormat
from hythe.settings import Settings, SettingsError


def test_several_forges_of_a_kind() -> None:
    """GitHub and GitHub Enterprise can be used together; the client secret is percent-encoded."""
    github, enterprise = parse_forges("github+https://github.com github+https://id:se%40cret@git.example.com/")

    assert (github.url, github.client) == ("https://github.com", OAuthClient())
    assert (enterprise.url, enterprise.client) == ("https://git.example.com", OAuthClient("id", "se@cret"))


def test_the_default_setting_is_valid() -> None:
    """It names four public forges, without OAuth clients."""
    forges = parse_forges(Settings().forges)

    assert [forge.kind for forge in forges] == ["github", "bitbucket", "gitlab", "gitea"]
    assert {forge.client for forge in forges} == {OAuthClient()}


def test_hosts_where_sources_are_trusted() -> None:
    """The port of each forge and that of SSH; loopback is another one on each machine."""
    setting = "gitea+http://git.lan:3000 gitlab+https://10.0.0.5 gitea+http://127.0.0.1:80 gitea+http://localhost:80"

    assert forge_hosts(setting) == ("git.lan:3000", "git.lan:22", "10.0.0.5:443", "10.0.0.5:22")


@pytest.mark.parametrize("item", ["github.com", "svn+https://x.example", "github+ftp://x", "github+https://"])
def test_invalid_items(item: str) -> None:
    """The error shows the correct format."""
    with pytest.raises(SettingsError, match="KIND"):
        parse_forges(item)


def test_an_error_shows_no_secret() -> None:
    """The error does not repeat an invalid item that contains a client secret."""
    with pytest.raises(SettingsError) as raised:
        parse_forges("svn+https://id:hush@x.example")

    assert "hush" not in str(raised.value)


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (("x-github-event",), "github"),
        (("x-github-event", "x-gogs-event", "x-gitea-event"), "gitea"),
        (("x-github-event", "x-gitea-event", "x-forgejo-event"), "gitea"),
        (("x-gitlab-event",), "gitlab"),
        (("x-event-key",), "bitbucket"),
    ],
)
def test_the_headers_select_the_format(names: tuple[str, ...], kind: str) -> None:
    """Gitea and Forgejo also send GitHub's headers, and are matched first."""
    found = webhook_format(dict.fromkeys(names, "push"))

    assert found is not None
    assert found[0] == kind


def test_unknown_headers() -> None:
    """Headers of no forge select no format."""
    assert webhook_format({"content-type": "application/json"}) is None


@pytest.mark.parametrize("kind", list(ADAPTERS))
def test_only_adapters_name_webhook_headers(kind: str) -> None:
    """The rest of the hub does not know the headers of a forge."""
    webhooks = ADAPTERS[kind].webhooks
    assert isinstance(webhooks, HeaderWebhookFormat)
    names = (*webhooks.event_headers, *webhooks.delivery_headers)

    files = [path for path in (ROOT / "src/hythe").rglob("*.py") if path.parent.name != "forges"]
    using = [path for path in files if any(name in path.read_text().lower() for name in names)]

    assert files
    assert using == []
