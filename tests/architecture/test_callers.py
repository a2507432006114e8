"""No dead code: every function and class is used."""

import ast
import re
from collections import Counter
from pathlib import Path

from tests.architecture.source import SOURCE, modules
from tests.parts.process import ROOT

WORD = re.compile(r"\w+")
CALLED_BY_LIBRARIES = {"capture_signals", "process_bind_param", "process_result_value"}


def test_every_function_and_class_is_named_somewhere() -> None:
    """The product, its templates or the tests mention every function and class apart from its definition."""
    texts = [module.text for module in modules()]
    others = {*SOURCE.rglob("*.html"), *(ROOT / "tests").rglob("*.py")} - {Path(__file__)}
    texts += [path.read_text() for path in others]
    named = Counter(word for text in texts for word in WORD.findall(text))
    unused = {
        f"{module.name}:{node.name}"
        for module in modules()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        and named[node.name] == 1
        and node.name not in CALLED_BY_LIBRARIES
        and not node.name.startswith("__")
    }

    assert unused == set()
