"""Validation of source URLs."""

import pytest

from hythe.builds.configuration import BuildSource
from hythe.builds.configurations import validated_source
from hythe.builds.errors import InvalidBuildConfiguration


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ext::sh -c id",
        "--upload-pack=id",
        "ssh://-oProxyCommand=id/team/app",
        "ssh://-oProxyCommand=id@git.example.com/team/app",
        "git@-oProxyCommand=id:team/app",
        "git://git.example.com/app\nbuild succeeded",
        "https://git.example.com/\u202eppa",
        "https://git.example.com/a b",
        "https://user:secret@git.example.com/a",
    ],
)
def test_dangerous_urls_are_refused(url: str) -> None:
    """Refused: what git or ssh would run, read from disk or take for an option, and what could forge a log line."""
    with pytest.raises(InvalidBuildConfiguration):
        validated_source(BuildSource(url=url))


@pytest.mark.parametrize(
    "url", ["https://git.example.com/team/app.git", "git@git.example.com:team/app", "https://bücher.example/a-b/c"]
)
def test_valid_urls_are_accepted(url: str) -> None:
    """Accepted: https URLs, scp's short form, and international host names."""
    assert validated_source(BuildSource(url=url)).url.endswith(url.rpartition("/")[2])
