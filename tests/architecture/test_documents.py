"""Packages, dependencies, settings and top-level files are documented, and links work."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from tests.architecture.source import SOURCE, packages
from tests.parts.process import ROOT

from hythe.settings import descriptions

TABLE_ROW = re.compile(r"^\| ([^|]+) \|", re.MULTILINE)
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")
REQUIREMENT = re.compile(r"^[A-Za-z0-9.-]+")


def first_column(document: str) -> set[str]:
    """Return the names in the first column of all tables of a document."""
    rows = TABLE_ROW.findall((ROOT / document).read_text())
    return {name.strip("` ") for row in rows for name in row.split(", ")}


def declared_dependencies() -> set[str]:
    """Return the names of all dependencies in pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    lists = [project["project"]["dependencies"], *project["dependency-groups"].values()]
    lists += project["project"]["optional-dependencies"].values()
    found = (REQUIREMENT.match(line) for lines in lists for line in lines)
    return {match[0] for match in found if match}


def system_packages() -> set[str]:
    """Return the names of all packages that scripts/system-packages can install."""
    rows = re.findall(r"^\w+ +\|[^|]+\| (.+)$", (ROOT / "scripts/system-packages").read_text(), re.MULTILINE)
    return {name for row in rows for name in row.split()}


def tracked_files() -> list[str]:
    """Return the paths of all files in git."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    return listed.stdout.splitlines()


@pytest.mark.parametrize("package", packages())
def test_every_package_has_a_readme(package: str) -> None:
    """Each package has a README of about a dozen lines: purpose, data flow, where a change goes."""
    readme = SOURCE / package / "README.md"

    assert readme.exists(), f"src/hythe/{package}/README.md is missing"
    assert len(readme.read_text().splitlines()) >= 5


def test_every_dependency_has_a_reason() -> None:
    """docs/dependencies.md lists exactly the dependencies, each with its purpose and the reason for it."""
    documented = first_column("docs/dependencies.md") - {"package", "---"}

    assert documented == declared_dependencies() | system_packages()


def test_every_setting_is_documented() -> None:
    """docs/settings.md lists exactly the settings, each with its description word for word."""
    text = (ROOT / "docs/settings.md").read_text()
    missing = {name for name, meta in descriptions().items() if f"| {meta.description} |" not in text}

    assert missing == set()
    assert first_column("docs/settings.md") - {"setting", "---"} == set(descriptions())


def test_top_level_files_are_documented() -> None:
    """CONTRIBUTING or README names each top-level folder and file."""
    usual = {".gitignore", ".gitattributes", "README.md", "CONTRIBUTING.md", "CHANGELOG.md", "LICENSE", "SECURITY.md"}
    text = (ROOT / "CONTRIBUTING.md").read_text() + (ROOT / "README.md").read_text()
    top = {path.split("/")[0] for path in tracked_files()} - usual

    assert {name for name in top if name not in text} == set()


def test_every_data_file_is_used() -> None:
    """Another file mentions each non-Python file of the product by its name or by its suffix (`*.css`)."""
    plain = [path for path in SOURCE.rglob("*") if path.suffix in (".py", ".css", ".html", ".js", ".json", ".toml")]
    texts = {path: path.read_text() for path in plain}
    by_convention = {"py.typed", "OFL.txt", "LICENSE", "script.py.mako"}
    data = {path for path in SOURCE.rglob("*") if path.is_file()} - {*SOURCE.rglob("*.py"), *SOURCE.rglob("*.md")}
    orphans = {
        path.name
        for path in data
        if path.name not in by_convention and path.suffix != ".pyc" and not _is_named(path, texts)
    }

    assert orphans == set()


def _is_named(path: Path, texts: dict[Path, str]) -> bool:
    names = (path.name, f'"*{path.suffix}"')
    return any(name in text for name in names for other, text in texts.items() if other != path)


@pytest.mark.parametrize("document", [path for path in tracked_files() if path.endswith(".md")])
def test_links_work(document: str) -> None:
    """Each relative link in a document points to an existing file or folder."""
    path = ROOT / document
    broken = [link for link in LINK.findall(path.read_text()) if not (path.parent / link.strip("<>")).exists()]

    assert broken == []


def test_the_threat_model_names_mechanisms_and_tests_that_exist() -> None:
    """Each row of docs/security.md about a defence names a module and a test."""
    rows = re.findall(
        r"^\| [^|]+ \| [^|]+ \| (`[^|]+) \| (`[^|]+) \|$", (ROOT / "docs/security.md").read_text(), re.MULTILINE
    )
    named = [path for row in rows for cell in row for path in re.findall(r"`([^`]+)`", cell)]

    assert len(rows) > 20
    assert [
        path for path in named if not path.startswith(("src/hythe/", "tests/")) or not (ROOT / path).is_file()
    ] == []
