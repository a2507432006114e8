"""Imports point one way, and each process loads only what it needs."""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path

from tests.architecture.source import modules
from tests.parts.hub import HYTHE, HytheServer
from tests.parts.process import ROOT

LINT_IMPORTS = Path(sys.executable).parent / "lint-imports"
HEAVY = ("httpx2", "starlette", "sqlalchemy", "asyncpg", "jinja2", "aiohttp", "uvicorn", "cryptography")
SERVER_PARTS = ("hub", "builds", "web")
OPTIONAL = {"rich", "pygments"}  # structlog imports them if they are installed
IMPORT_TIME_LINE = re.compile(r"^import time:.*\|\s+([\w.]+)$", re.MULTILINE)


def test_layers() -> None:
    """Every contract in .importlinter holds. import-linter configures logging, so it runs in a separate process."""
    done = subprocess.run([LINT_IMPORTS, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr


def test_oci_depends_on_the_standard_library_and_msgspec() -> None:
    """`oci` does no I/O and has no dependency except msgspec."""
    allowed = sys.stdlib_module_names | {"msgspec", "hythe"}
    others = {
        (module.name, name)
        for module in modules()
        if module.name.startswith("oci/")
        for name in module.imported()
        if name.split(".")[0] not in allowed or name in ("socket", "subprocess", "asyncio")
    }

    assert others == set()


def test_only_sql_modules_write_sql() -> None:
    """Only `database` and files or folders named `sql` build statements; others import types and exceptions."""
    outside = {
        (module.name, name)
        for module in modules()
        for name in module.imported_from("sqlalchemy")
        if not name[0].isupper()
        and not module.name.startswith("database/")
        and not {"sql", "sql.py"} & set(module.name.split("/"))
    }

    assert outside == set()


def test_only_routes_import_starlette() -> None:
    """Only routes, pages and the server import Starlette; services never see a request object."""
    inside = {
        module.name
        for module in modules()
        for name in module.imported()
        if name.split(".")[0] == "starlette"
        and module.name.split("/")[0] not in ("server", "web")
        and not {"routes", "routes.py"} & set(module.name.split("/"))
    }

    assert inside == set()


def test_the_command_starts_without_the_server() -> None:
    """`hythe --help` loads no server, database or HTTP library, so it starts quickly."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", HYTHE, "--help"], capture_output=True, text=True, check=True
    )
    loaded = set(IMPORT_TIME_LINE.findall(done.stderr))

    assert "hythe.cli" in loaded
    assert {name for name in loaded if name.split(".")[0] in HEAVY} == set()


def test_the_private_registry_stands_alone(start_private_registry: Callable[..., HytheServer]) -> None:
    """`hythe registry serve` never loads hub, builds or web, not even to answer a request."""
    registry = start_private_registry(env={"PYTHONPROFILEIMPORTTIME": "1"})
    with urllib.request.urlopen(f"{registry.url}/v2/_catalog") as response:
        assert response.status == 200
    loaded = set(IMPORT_TIME_LINE.findall(registry.log))

    assert "hythe.registry" in loaded
    assert {name for name in loaded if name.startswith(tuple(f"hythe.{part}" for part in SERVER_PARTS))} == set()


def test_a_hub_needs_only_what_serving_installs(start_hub: Callable[..., HytheServer]) -> None:
    """A running hub loads only packages that `make serve` installs, none that only the development tools install."""
    hub = start_hub(env={"PYTHONPROFILEIMPORTTIME": "1"})
    loaded = {name.split(".")[0] for name in IMPORT_TIME_LINE.findall(hub.log)}
    locked = set(re.findall(r"^([\w.-]+)==", (ROOT / "requirements/serve.lock").read_text(), re.MULTILINE))

    installed = importlib.metadata.packages_distributions()  # reads the files of every package
    owners = {owner for name in loaded for owner in installed.get(name, ())}

    assert {re.sub(r"[-_.]+", "-", owner.lower()) for owner in owners} - locked - {"hythe"} - OPTIONAL == set()
