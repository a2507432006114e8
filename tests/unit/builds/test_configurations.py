"""Set-ups: what is no address to clone from."""

import pytest

from hythe.builds.configuration import BuildSource
from hythe.builds.configurations import checked_source
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
def test_what_git_would_misread_is_no_address(url: str) -> None:
    """Nothing that git or ssh would run, read from the disk or take for an option, and nothing that forges a line."""
    with pytest.raises(InvalidBuildConfiguration):
        checked_source(BuildSource(url=url))


@pytest.mark.parametrize(
    "url", ["https://git.example.com/team/app.git", "git@git.example.com:team/app", "https://bücher.example/a-b/c"]
)
def test_what_is_an_address(url: str) -> None:
    """Web addresses, scp's short form, and hosts of any alphabet."""
    assert checked_source(BuildSource(url=url)).url.endswith(url.rpartition("/")[2])
