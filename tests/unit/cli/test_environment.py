"""Known and unknown HYTHE_ environment variables."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from tests.architecture.source import SOURCE
from tests.parts.hub import HytheServer

from hythe.cli.environment import KNOWN, unknown_variables


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("HYTHE_SINGUP", "HYTHE_SIGN_UP"),
        ("HYTHE_DATABSE_URL", "HYTHE_DATABASE_URL"),
        ("HYTHE_COLOUR_OF_THE_SEA", ""),
    ],
)
def test_a_mistyped_variable(name: str, near: str) -> None:
    """The warning suggests the closest known variable."""
    assert list(unknown_variables({name: "no", "HYTHE_LISTEN": "[::]:1", "HOME": "/"})) == [(name, near)]


def test_variables_of_kubernetes() -> None:
    """Kubernetes sets variables in every container for a service called hythe; they cause no warning."""
    variables = {
        "SERVICE_HOST": "10.0.0.1",
        "SERVICE_PORT": "5000",
        "SERVICE_PORT_HTTP": "5000",
        "PORT": "tcp://10.0.0.1:5000",
        "PORT_5000_TCP": "tcp://10.0.0.1:5000",
        "PORT_5000_TCP_ADDR": "10.0.0.1",
    }
    own = {f"{service}_{name}": value for name, value in variables.items() for service in ("HYTHE", "HYTHE_HUB")}

    assert list(unknown_variables(own)) == []
    assert [name for name, _ in unknown_variables({"HYTHE_PORT": "5000"})] == ["HYTHE_PORT"]


def test_every_variable_that_is_read_is_known() -> None:
    """Every variable in the messages and settings of hythe is known: those of the server, client and containers."""
    named = {name for path in SOURCE.rglob("*.py") for name in re.findall(r"\bHYTHE_[A-Z_]+\b", path.read_text())}

    assert {name for name in named if not re.search(rf"^{name}", "\n".join(KNOWN), re.MULTILINE)} == set()


@pytest.mark.parametrize("factory", ["start_hub", "start_private_registry"])
def test_a_server_warns_at_its_start(factory: str, request: pytest.FixtureRequest) -> None:
    """`HYTHE_SINGUP=no` leaves sign-up open: the log warns about this variable only."""
    start: Callable[..., HytheServer] = request.getfixturevalue(factory)

    server = start(env={"HYTHE_SINGUP": "no", "HYTHE_DEFAULT_REGISTRY": "hub.example.org"})

    warnings = [line for line in server.log.splitlines() if "environment variable" in line]
    assert len(warnings) == 1
    assert "unknown environment variable HYTHE_SINGUP" in warnings[0]
    assert "did you mean HYTHE_SIGN_UP?" in warnings[0]
