"""Fixtures and options of all tests, and how the tests are spread over the workers of pytest-xdist."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

if os.environ.pop("PYTHONDONTWRITEBYTECODE", ""):
    # The tests start `hythe` hundreds of times: without bytecode each start takes two to three times as long.
    os.environ.setdefault("PYTHONPYCACHEPREFIX", str(Path(__file__).parents[1] / ".cache/bytecode"))
    sys.pycache_prefix, sys.dont_write_bytecode = os.environ["PYTHONPYCACHEPREFIX"], False

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
"""Fixtures of a session that take seconds to start: all tests that use the same one run on one worker."""

MARKS = {
    "postgresql": {"postgresql"},
    "object_store": {"s3", "azurite"},
    "browser": {"browser"},
    "clients": {"docker", "dockerd", "start_dockerd", "podman", "podman_configuration", "buildah", "skopeo"},
}
"""The fixtures, also as parameters of other fixtures, that give a test its mark."""


def pytest_configure() -> None:
    """Run the teardown of fixtures when SIGTERM ends the tests."""
    signal.signal(signal.SIGTERM, lambda *_: pytest.exit("ended by SIGTERM", returncode=143))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests by the programs they need, and run a file's tests, or those of an expensive fixture, on one worker."""
    for item in items:
        names = getattr(item, "fixturenames", ())
        part = next((name for name in EXPENSIVE if name in names), None)
        item.add_marker(pytest.mark.xdist_group(part or item.nodeid.split("::")[0]))
        used = {*names, *_words_of_parameters(item)}
        for mark, fixtures in MARKS.items():
            if used & fixtures:
                item.add_marker(mark)


def _words_of_parameters(item: pytest.Item) -> list[str]:
    """Return the parameters that are words: ``postgresql``, for example, makes a fixture start PostgreSQL."""
    parameters = (
        item.callspec.params.values() if isinstance(item, pytest.Function) and hasattr(item, "callspec") else ()
    )
    return [value for value in parameters if isinstance(value, str)]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--all-rounds`, which `make faults` passes."""
    parser.addoption("--all-rounds", action="store_true", help="repeat the fault tests as often as `make faults` does")


@pytest.fixture
def rounds(request: pytest.FixtureRequest) -> Callable[[int, int], int]:
    """`rounds(few, all)` is how often to repeat: `few` times in `make test`, `all` times in `make faults`."""
    every = bool(request.config.getoption("--all-rounds"))
    return lambda few, all_: all_ if every else few
