"""What all tests share: the real parts as fixtures, and how their tests are spread over xdist's workers."""

from __future__ import annotations

import signal
from collections.abc import Callable

import pytest

pytest_plugins = [
    "tests.parts.azurite",
    "tests.parts.base_images",
    "tests.parts.chromium",
    "tests.parts.docker_registry",
    "tests.parts.buildkit",
    "tests.parts.engines",
    "tests.parts.faulty_proxy",
    "tests.parts.git_server",
    "tests.parts.forges",
    "tests.parts.hub",
    "tests.parts.hythe_client",
    "tests.parts.hythe_containers",
    "tests.parts.postgresql",
    "tests.parts.database",
    "tests.parts.s3",
    "tests.parts.ssh_server",
]

EXPENSIVE = ("s3", "azurite")
"""Session parts that take seconds to start: all tests of one such part run on one worker."""


def pytest_configure() -> None:
    """Stop the parts, too, when somebody ends the tests by SIGTERM."""
    signal.signal(signal.SIGTERM, lambda *_: pytest.exit("ended by SIGTERM", returncode=143))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep a file's tests together, and the tests that share an expensive part."""
    for item in items:
        names = getattr(item, "fixturenames", ())
        part = next((name for name in EXPENSIVE if name in names), None)
        item.add_marker(pytest.mark.xdist_group(part or item.nodeid.split("::")[0]))


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--all-rounds` is what `make faults` gives."""
    parser.addoption("--all-rounds", action="store_true", help="repeat the fault tests as often as they ever are")


@pytest.fixture
def rounds(request: pytest.FixtureRequest) -> Callable[[int, int], int]:
    """`rounds(few, all)`: how often to repeat, `few` in `make test` and `all` in `make faults`."""
    every = bool(request.config.getoption("--all-rounds"))
    return lambda few, all_: all_ if every else few
