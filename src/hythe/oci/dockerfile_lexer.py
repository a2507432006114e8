"""Splits Dockerfile lines: quotes, backslashes, variables (Dockerfile reference, "Environment replacement")."""

import re
from collections.abc import Mapping

_WORD = re.compile(r"""(?:\\.|'[^']*'?|"(?:\\.|[^"\\])*"?|[^\s\\'"]|\\$)+""", re.DOTALL)
_NAME = re.compile(r"\w+")
_OPERATOR = re.compile(r":?[-+?]|##?|%%?|//?")


class UnsetVariable(ValueError):
    """``${NAME:?message}`` names a variable without a value."""


def split_words(text: str) -> list[str]:
    """Return the words of a line, with their quotes and backslashes."""
    return _WORD.findall(text)


def expand(word: str, variables: Mapping[str, str]) -> str:
    """Return ``word`` without quotes and backslashes, with variables replaced except in single quotes.

    Raises UnsetVariable.
    """
    parts: list[str] = []
    position = 0
    while position < len(word):
        char = word[position]
        if char == "\\" and position + 1 < len(word):
            parts.append(word[position + 1])
            position += 2
        elif char == "'":
            end = word.find("'", position + 1)
            end = len(word) if end < 0 else end
            parts.append(word[position + 1 : end])
            position = end + 1
        elif char == '"':
            end = _end_of_quotes(word, position)
            parts.append(_expand_quoted(word[position + 1 : end], variables))
            position = end + 1
        else:
            text, position = _next(word, position, variables)
            parts.append(text)
    return "".join(parts)


def replace_variables(text: str, variables: Mapping[str, str]) -> str:
    """Return ``text`` with all variables replaced, and everything else as it is. Raises UnsetVariable."""
    parts: list[str] = []
    position = 0
    while position < len(text):
        part, position = _next(text, position, variables)
        parts.append(part)
    return "".join(parts)


def end_of_variable(text: str, start: int) -> int:
    """Return where the variable ends whose ``$`` is at ``start``; ``start`` if it is none."""
    if text.startswith("${", start):
        end = _end_of_braces(text, start + 1)
        return end + 1 if end > 0 and _NAME.match(text, start + 2) else start
    found = _NAME.match(text, start + 1) if text.startswith("$", start) else None
    return found.end() if found else start


def _next(text: str, position: int, variables: Mapping[str, str]) -> tuple[str, int]:
    """Return the variable's value or the character at ``position``, and the position after it."""
    end = end_of_variable(text, position)
    if end == position:
        return text[position], position + 1
    return _value(text[position:end], variables), end


def _end_of_quotes(word: str, start: int) -> int:
    position = start + 1
    while position < len(word) and word[position] != '"':
        position += 2 if word[position] == "\\" else 1
    return min(position, len(word))


def _end_of_braces(text: str, start: int) -> int:
    """Return the position of the brace that closes the one at ``start``; -1 if there is none."""
    depth = 0
    position = start
    while position < len(text):
        char = text[position]
        if char == "\\":
            position += 1
        elif char == "}":
            depth -= 1
            if not depth:
                return position
        elif char == "{" and (position == start or text[position - 1] == "$"):
            depth += 1
        position += 1
    return -1


def _expand_quoted(text: str, variables: Mapping[str, str]) -> str:
    parts: list[str] = []
    position = 0
    while position < len(text):
        if text[position] == "\\" and text[position + 1 : position + 2] in ('"', "\\", "$"):
            parts.append(text[position + 1])
            position += 2
        else:
            part, position = _next(text, position, variables)
            parts.append(part)
    return "".join(parts)


def _value(text: str, variables: Mapping[str, str]) -> str:
    """Return the value of ``$NAME`` or of any form of ``${NAME..}``."""
    if not text.startswith("${"):
        return variables.get(text[1:], "")
    name = _NAME.match(text, 2)
    if name is None:
        return text
    value = variables.get(name[0])
    operator = _OPERATOR.match(text, name.end())
    if operator is None:
        return value or "" if name.end() == len(text) - 1 else text
    word = text[operator.end() : -1]
    match operator[0]:
        case "#" | "##" | "%" | "%%":
            return _trimmed(value or "", _pattern(expand_pattern(word, variables)), operator[0])
        case "/" | "//":
            return _replaced(value or "", word, variables, every=operator[0] == "//")
    counts = bool(value) if operator[0].startswith(":") else value is not None
    match operator[0][-1]:
        case "-":
            return (value or "") if counts else expand(word, variables)
        case "+":
            return expand(word, variables) if counts else ""
    if not counts:
        raise UnsetVariable(f"{name[0]}: {expand(word, variables) or 'it has no value'}")
    return value or ""


def expand_pattern(word: str, variables: Mapping[str, str]) -> str:
    """Return a pattern with variables replaced, and its backslashes kept."""
    return replace_variables(word.replace('"', "").replace("'", ""), variables)


def _pattern(text: str) -> str:
    """Return the regular expression for a pattern of ``${NAME#pattern}``: ``*``, ``?`` and backslashes."""
    parts: list[str] = []
    position = 0
    while position < len(text):
        char = text[position]
        if char == "\\" and position + 1 < len(text):
            position += 1
            parts.append(re.escape(text[position]))
        else:
            parts.append({"*": ".*", "?": "."}.get(char, re.escape(char)))
        position += 1
    return "".join(parts)


def _trimmed(value: str, pattern: str, operator: str) -> str:
    """Return ``value`` without the shortest (``#``, ``%``) or longest prefix or suffix that the pattern matches."""
    matcher = re.compile(pattern, re.DOTALL)
    lengths = range(len(value) + 1) if len(operator) == 1 else range(len(value), -1, -1)
    for length in lengths:
        if operator.startswith("#") and matcher.fullmatch(value, 0, length):
            return value[length:]
        if operator.startswith("%") and matcher.fullmatch(value, len(value) - length):
            return value[: len(value) - length]
    return value


def _replaced(value: str, word: str, variables: Mapping[str, str], *, every: bool) -> str:
    """Return ``value`` with the first or every match of ``pattern/replacement`` replaced."""
    found = re.match(r"((?:\\.|[^/\\])*)(?:/(.*))?$", word, re.DOTALL)
    if found is None or not found[1]:
        return value
    replacement = expand(found[2] or "", variables)
    pattern = _pattern(expand_pattern(found[1], variables))
    return re.sub(pattern, lambda _: replacement, value, count=0 if every else 1, flags=re.DOTALL)
