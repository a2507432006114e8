"""Fixtures and options of all tests, and how the tests are spread over the workers of pytest-xdist."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Callable, Generator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

ROOT = Path(__file__).parents[1]

if os.environ.pop("PYTHONDONTWRITEBYTECODE", ""):
    # The tests start `hythe` hundreds of times: without bytecode each start takes two to three times as long.
    os.environ.setdefault("PYTHONPYCACHEPREFIX", str(ROOT / ".cache/bytecode"))
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
    "tests.parts.postgresql",
    "tests.parts.database",
    "tests.parts.hub",
    "tests.parts.hythe_client",
    "tests.parts.hythe_containers",
    "tests.parts.ldap_server",
    "tests.parts.oidc_provider",
    "tests.parts.otlp_receiver",
    "tests.parts.s3",
    "tests.parts.ssh_server",
]

SLOW_FOLDERS = ("builds", "web", "clients", "faults", "security")
"""Folders with long files: pytest-xdist starts them first, so that no worker runs one alone at the end."""

WORKER_FIXTURES = ("object_store", "roles_hub")
"""What takes long to start, and is started once for all files that need it."""

MARKS = {
    "postgresql": {"postgresql"},
    "object_store": {"s3", "azurite"},
    "browser": {"browser"},
    "clients": {"docker", "dockerd", "start_dockerd", "podman", "podman_configuration", "buildah", "skopeo"},
}
"""The fixtures, also as parameters of other fixtures, that give a test its mark."""


class FileScheduling(LoadScopeScheduling):  # type: ignore[misc]
    """Runs a file's tests on one worker, so that the fixtures of a module are set up once, and long files first.

    All files that need the same of WORKER_FIXTURES share one worker. (The mark ``xdist_group`` has no effect with
    pytest 9.2 and pytest-xdist 3.8.)
    """

    def _split_scope(self, nodeid: str) -> str:
        path = nodeid.split("::")[0]
        return _worker_fixture(path) or path


@cache
def _worker_fixture(path: str) -> str | None:
    """Return which of WORKER_FIXTURES the tests of a file need."""
    text = (ROOT / path).read_text()
    return next((name for name in WORKER_FIXTURES if name in text), None)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> FileScheduling:
    """Distribute tests by file."""
    config.option.loadscopereorder = False
    return FileScheduling(config, log)


def pytest_configure() -> None:
    """Run the teardown of fixtures when SIGTERM ends the tests."""
    signal.signal(signal.SIGTERM, lambda *_: pytest.exit("ended by SIGTERM", returncode=143))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark tests by the programs they need; leave out long ones; with pytest-xdist, put slow folders first."""
    if not config.getoption("--all-rounds"):
        config.hook.pytest_deselected(items=[item for item in items if item.get_closest_marker("long")])
        items[:] = [item for item in items if not item.get_closest_marker("long")]
    for item in items:
        used = {*getattr(item, "fixturenames", ()), *_words_of_parameters(item)}
        for mark, fixtures in MARKS.items():
            if used & fixtures:
                item.add_marker(mark)
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: item.nodeid.split("/")[1] not in SLOW_FOLDERS)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Keep the garbage collector off what collection creates, which lasts as long as the tests.

    Otherwise each full collection walks thousands of test items and modules: a third of the CPU time of some tests.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()


def _words_of_parameters(item: pytest.Item) -> list[str]:
    """Return the parameters that are words: ``postgresql``, for example, makes a fixture start PostgreSQL."""
    parameters = (
        item.callspec.params.values() if isinstance(item, pytest.Function) and hasattr(item, "callspec") else ()
    )
    return [value for value in parameters if isinstance(value, str)]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--all-rounds`, which `make faults` and `make test-packages` pass."""
    text = "repeat tests as often as `make faults` does, and run the long ones"
    parser.addoption("--all-rounds", action="store_true", help=text)


@pytest.fixture
def rounds(request: pytest.FixtureRequest) -> Callable[[int, int], int]:
    """`rounds(few, all)` is how often to repeat: `few` times in `make test`, `all` times in `make faults`."""
    every = bool(request.config.getoption("--all-rounds"))
    return lambda few, all_: all_ if every else few
