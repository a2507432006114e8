"""Splits Dockerfile lines: quotes, backslashes, variables (Dockerfile reference, "Environment replacement")."""

import re
from collections.abc import Mapping

_WORD = re.compile(r"""(?:\\.|'[^']*'?|"(?:\\.|[^"\\])*"?|[^\s\\'"]|\\$)+""", re.DOTALL)
_PIECE = re.compile(
    r"""\\(?P<escaped>.)|'(?P<single>[^']*)'?|"(?P<double>(?:\\.|[^"\\])*)"?|(?P<variable>\$\{[^}]*\}|\$\w+)|(?P<plain>.)""",
    re.DOTALL,
)
_QUOTED_PIECE = re.compile(r"""\\(?P<escaped>["\\$])|(?P<variable>\$\{[^}]*\}|\$\w+)|(?P<plain>.)""", re.DOTALL)
_VARIABLE = re.compile(r"\$\{?(?P<name>\w+)(?:(?P<operator>:?[-+])(?P<other>.*))?\}?", re.DOTALL)


def split_words(text: str) -> list[str]:
    """Return the words of a line, with their quotes and backslashes."""
    return _WORD.findall(text)


def expand(word: str, variables: Mapping[str, str]) -> str:
    """Return ``word`` without quotes and backslashes, with variables replaced except in single quotes."""
    return "".join(_expanded(piece, variables) for piece in _PIECE.finditer(word))


def _expanded(piece: re.Match[str], variables: Mapping[str, str]) -> str:
    kind = piece.lastgroup or ""
    text = piece[kind]
    if kind == "double":
        return "".join(_expanded(inner, variables) for inner in _QUOTED_PIECE.finditer(text))
    return _value(text, variables) if kind == "variable" else text


def _value(text: str, variables: Mapping[str, str]) -> str:
    """Return the value of ``$NAME``, ``${NAME}``, ``${NAME:-other}``, ``${NAME:+other}`` or a form without colon."""
    match = _VARIABLE.fullmatch(text.removesuffix("}") if text.startswith("${") else text)
    if match is None:
        return text
    value = variables.get(match["name"])
    operator = match["operator"] or ""
    counts = bool(value) if operator.startswith(":") else value is not None
    if operator.endswith("-"):
        return (value or "") if counts else expand(match["other"], variables)
    if operator.endswith("+"):
        return expand(match["other"], variables) if counts else ""
    return value or ""
