"""The files in `deploy/` agree with the rest of the repository."""

from __future__ import annotations

import tomllib

import pytest
import yaml
from tests.parts.process import ROOT

from hythe.settings.table import Settings

DEPLOY = ROOT / "deploy"


def test_the_chart_has_the_version_of_the_package() -> None:
    """The chart and its image have the version in pyproject.toml."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    chart = yaml.safe_load((DEPLOY / "helm/hythe/Chart.yaml").read_text())

    assert (chart["version"], chart["appVersion"]) == (version, version)


def test_nginx_of_compose_is_that_of_the_documentation() -> None:
    """Only the comment at the beginning and the names of the servers differ."""
    text = (ROOT / "docs/nginx.conf").read_text()
    expected = text.replace("10.0.0.11:", "hythe-1:").replace("10.0.0.12:", "hythe-2:")

    assert (DEPLOY / "compose/nginx.conf").read_text().splitlines()[1:] == expected.splitlines()[1:]


@pytest.mark.parametrize("name", ["one", "scaled"])
def test_compose_sets_existing_settings(name: str) -> None:
    """Each HYTHE_ variable of a server in a compose file is a setting."""
    services = yaml.safe_load((DEPLOY / f"compose/{name}.yaml").read_text())["services"]
    variables = {key for service in services.values() for key in service.get("environment", {}) if "HYTHE_" in key}

    assert variables
    assert {key.removeprefix("HYTHE_").lower() for key in variables} <= set(Settings.__struct_fields__)
