"""Files and functions stay small enough to be read in one go."""

import ast

from tests.architecture.source import modules

FILE_LINES = 450
FUNCTION_LINES = 50


def test_no_long_file() -> None:
    """A file over 450 lines holds more than one noun."""
    long = {module.name: lines for module in modules() if (lines := module.text.count("\n")) > FILE_LINES}

    assert long == {}


def test_no_long_function() -> None:
    """A function over 50 lines cannot be read at a glance; migrations are lists of columns, which can."""
    long = {
        f"{module.name}:{function.name}": lines
        for module in modules()
        if not module.name.startswith("database/migrations/")
        for function in module.functions()
        if (lines := (function.end_lineno or 0) - function.lineno + 1) > FUNCTION_LINES
    }

    assert long == {}


def test_no_file_without_a_noun() -> None:
    """`utils` and its like are places where things without an owner gather."""
    names = {"utils", "util", "helpers", "helper", "common", "misc", "tools", "shared"}
    found = {module.name for module in modules() if names & set(module.name.removesuffix(".py").split("/"))}

    assert found == set()


def test_every_module_says_what_it_is() -> None:
    """Each file that holds anything begins with a docstring."""
    silent = {module.name for module in modules() if module.text.strip() and not ast.get_docstring(module.tree)}

    assert silent == set()
