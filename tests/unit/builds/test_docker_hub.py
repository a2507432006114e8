"""Settings of Docker Hub's automated builds become set-ups that do the same."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from hythe.builds.docker_hub import DockerHubSettings, from_docker_hub
from hythe.builds.errors import InvalidBuildConfiguration
from hythe.builds.rules import check_rule, preview
from hythe.forges.source_ref import SourceRef, SourceType

OLD: dict[str, Any] = {
    "provider": "Github",
    "owner": "nmstate",
    "repository": "nmstate",
    "image": "nmstate/fedora-nmstate-dev",
    "channel": "Stable",
    "autotests": "SOURCE_ONLY",
    "repo_links": True,
    "envvars": [{"name": "COLOUR", "value": "blue"}],
    "build_settings": [
        {"source_type": "Branch", "source_name": "base", "tag": "latest", "dockerfile": "Dockerfile.dev",
         "build_context": "/packaging", "autobuild": True, "nocache": True},
        {"source_type": "Tag", "source_name": "/^v([0-9.]+)$/", "tag": "{sourceref},{\\1}", "dockerfile": "/",
         "build_context": "/", "autobuild": False, "nocache": False},
    ],
}  # fmt: skip


def test_all_settings_are_imported() -> None:
    """Source, rules, autotest, repository links and variables are imported; unknown fields are ignored."""
    new = from_docker_hub(msgspec.convert(OLD, DockerHubSettings), linked_account_id=7)

    assert new.source.url == "https://github.com/nmstate/nmstate.git"
    assert (new.source.forge, new.source.forge_repository) == ("github", "nmstate/nmstate")
    assert (new.source.linked_account_id, new.source.default_branch) == (7, "base")
    assert (new.options.autotest, new.options.base_link) == (True, True)
    branch, tag = (check_rule(rule) for rule in new.rules)
    assert (branch.context, branch.dockerfile, branch.cache, branch.autobuild) == (
        "packaging",
        "Dockerfile.dev",
        False,
        True,
    )
    assert (tag.context, tag.dockerfile, tag.cache, tag.autobuild) == ("/", "Dockerfile", True, False)
    assert (branch.arguments, new.secrets) == ({}, {"COLOUR": "blue"})
    [line] = preview([tag], [SourceRef(SourceType.TAG, "v1.2")])
    assert line.tags == ("v1.2", "1.2")


def test_settings_without_a_source_are_refused() -> None:
    """The error says that the source is missing."""
    with pytest.raises(InvalidBuildConfiguration, match="do not name a source"):
        from_docker_hub(msgspec.convert(OLD | {"provider": "svn"}, DockerHubSettings))
