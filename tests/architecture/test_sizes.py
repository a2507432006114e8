"""Files and functions stay small enough to read in one go."""

import ast

from tests.architecture.source import modules

FILE_LINES = 450
FUNCTION_LINES = 50


def test_no_long_file() -> None:
    """No file has more than 450 lines: a longer one holds more than one noun."""
    long = {module.name: lines for module in modules() if (lines := module.text.count("\n")) > FILE_LINES}

    assert long == {}


def test_no_long_function() -> None:
    """No function has more than 50 lines, except in migrations, which list columns."""
    long = {
        f"{module.name}:{function.name}": lines
        for module in modules()
        if not module.name.startswith("database/migrations/")
        for function in module.functions()
        if (lines := (function.end_lineno or 0) - function.lineno + 1) > FUNCTION_LINES
    }

    assert long == {}


def test_no_catch_all_files() -> None:
    """No file is named `utils` or alike: such files collect code that belongs elsewhere."""
    names = {"utils", "util", "helpers", "helper", "common", "misc", "tools", "shared"}
    found = {module.name for module in modules() if names & set(module.name.removesuffix(".py").split("/"))}

    assert found == set()


def test_every_module_has_a_docstring() -> None:
    """Each file that holds code begins with a docstring."""
    undocumented = {module.name for module in modules() if module.text.strip() and not ast.get_docstring(module.tree)}

    assert undocumented == set()
