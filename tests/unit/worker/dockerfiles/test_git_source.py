"""Addresses of git repositories in ADD."""

import pytest

from hythe.worker.dockerfiles.git_source import GitSource, clone_url, parse_git_source


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://h/x.git", GitSource("https://h/x.git")),
        ("https://h/x.git#v1", GitSource("https://h/x.git", "v1")),
        ("https://h/x.git#v1:docs/a", GitSource("https://h/x.git", "v1", "docs/a")),
        ("https://h/x.git#:docs", GitSource("https://h/x.git", "", "docs")),
        ("git@h:o/x.git#main", GitSource("git@h:o/x.git", "main")),
        ("ssh://git@h/o/x", GitSource("ssh://git@h/o/x")),
        ("git://h/x", GitSource("git://h/x")),
        ("https://h/x.tar.gz", None),
        ("https://h/x.git/y", None),
        ("x.git", None),
        ("https://[/x.git", None),
    ],
)
def test_addresses(text: str, expected: GitSource | None) -> None:
    """HTTP addresses must end with .git, as for docker; other URLs are files."""
    assert parse_git_source(text) == expected


def test_short_ssh_addresses_become_urls() -> None:
    """git's short form has no scheme."""
    assert clone_url("git@h:o/x.git") == "ssh://git@h/o/x.git"
    assert clone_url("https://h/x.git") == "https://h/x.git"
