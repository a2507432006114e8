"""A name means one thing in the whole tree."""

from __future__ import annotations

import ast
from collections import defaultdict

from tests.architecture.source import modules

SHARED: dict[str, str] = {}
"""Public class name -> why several packages have one of that name. Keep it short."""


def public_classes() -> dict[str, set[str]]:
    """Return name -> packages that define a public class of that name, migrations left out."""
    found: dict[str, set[str]] = defaultdict(set)
    for module in modules():
        if "migrations" in module.name:
            continue
        package = module.name.rpartition("/")[0]
        for node in module.tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found[node.name].add(package)
    return found


def test_a_class_name_means_one_thing() -> None:
    """Two public classes in different packages never share a name, apart from those in SHARED."""
    repeated = {name: sorted(packages) for name, packages in public_classes().items() if len(packages) > 1}

    assert {name: packages for name, packages in repeated.items() if name not in SHARED} == {}


def test_the_exceptions_are_still_needed() -> None:
    """SHARED lists no name that only one package uses."""
    classes = public_classes()

    assert {name for name in SHARED if len(classes.get(name, ())) < 2} == set()
