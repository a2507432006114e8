"""What a worker's host needs: the client and the extra ``hythe[worker]``."""

from __future__ import annotations

import importlib.metadata
import json
import re
import subprocess
import sys
import tomllib

from tests.architecture.source import SOURCE
from tests.parts.process import ROOT

HUB_ONLY = (
    *("aiohttp", "alembic", "asyncpg", "bcrypt", "jinja2", "joserfc", "sqlalchemy", "starlette", "uvicorn"),
    *(f"hythe.{part}" for part in ("builds", "database", "hub", "notifications", "registry", "server", "web")),
)
LOAD = """
import importlib, json, sys

blocked, modules = json.load(sys.stdin)

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if any(name == each or name.startswith(each + ".") for each in blocked):
            raise ImportError(f"{name} is blocked")

sys.meta_path.insert(0, Blocker())
for name in modules:
    importlib.import_module(name)
print(json.dumps(sorted({name.split(".")[0] for name in sys.modules})))
"""


def worker_modules() -> list[str]:
    """Return the names of all modules that ``hythe worker`` can load."""
    files = [file for package in ("worker", "provenance") for file in sorted((SOURCE / package).rglob("*.py"))]
    names = [".".join(file.relative_to(SOURCE.parent).with_suffix("").parts) for file in files]
    return ["hythe.cli.main", "hythe.cli.worker", *(name.removesuffix(".__init__") for name in names)]


def normalized(name: str) -> str:
    """Return a distribution's name in the normalized form of package indexes."""
    return re.sub(r"[-_.]+", "-", name.lower())


def installed_with_the_extra() -> set[str]:
    """Return the packages that ``pip install hythe[worker]`` installs, directly or not."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pending = [*project["dependencies"], *project["optional-dependencies"]["worker"]]
    found: set[str] = set()
    while pending:
        requirement = pending.pop()
        name = normalized(re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0])
        if name in found or "extra ==" in requirement:
            continue
        found.add(name)
        try:
            pending += importlib.metadata.requires(name) or ()
        except importlib.metadata.PackageNotFoundError:
            continue  # only needed for other versions of Python
    return found


def test_the_extra_installs_all_that_a_worker_loads() -> None:
    """Every module of the worker loads without the hub's packages, and from no package outside the extra."""
    done = subprocess.run(
        [sys.executable, "-c", LOAD],
        input=json.dumps([HUB_ONLY, worker_modules()]),
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    owners = importlib.metadata.packages_distributions()
    loaded = {normalized(owner) for name in json.loads(done.stdout) for owner in owners.get(name, ())}
    assert {"msgspec", "cryptography", "pyyaml"} <= loaded
    assert loaded - installed_with_the_extra() - {"hythe"} == set()
