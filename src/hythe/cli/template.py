"""Go's text/template, as far as docker's users need it in ``--format``.

Supports fields (``.Config.Env``), ``range``, ``if``, ``with``, ``else``, variables, pipelines and docker's functions.
Lists, maps and missing values print as in Go.
"""

import html
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import quote_plus

from hythe.cli.command import CommandFailed

_ACTION = re.compile(r"\s*\{\{-\s+(.*?)\s+-\}\}\s*|\s*\{\{-\s+(.*?)\}\}|\{\{(.*?)\s+-\}\}\s*|\{\{(.*?)\}\}", re.DOTALL)
_TOKEN = re.compile(
    r"""\s*(?:(?P<string>"(?:[^"\\]|\\.)*"|`[^`]*`)|(?P<number>-?\d+(?:\.\d+)?)|(?P<field>(?:\$\w*)?(?:\.\w+)+|\.|\$\w*)"""
    r"""|(?P<name>\w+)|(?P<sign>:=|[()|,]))"""
)
_ESCAPES = {r"\t": "\t", r"\n": "\n"}

Scope = dict[str, Any]


class InvalidTemplate(CommandFailed):
    """The value of ``--format`` is not a valid template."""

    def __init__(self, message: str) -> None:
        super().__init__(f"--format: {message}", "use a Go template, such as '{{.Repository}}:{{.Tag}}', or 'json'", 2)


class TemplateToken(NamedTuple):
    """One token of an action: its kind (string, number, field, name, sign) and its text."""

    kind: str
    text: str


class Text(NamedTuple):
    """Literal text outside of actions."""

    text: str


class TemplateAction(NamedTuple):
    """``{{pipeline}}``."""

    pipeline: tuple[TemplateToken, ...]


class Block(NamedTuple):
    """``{{if}}``, ``{{range}}`` or ``{{with}}``, up to its ``{{end}}``."""

    keyword: str
    pipeline: tuple[TemplateToken, ...]
    body: "tuple[Node, ...]"
    else_body: "tuple[Node, ...]"


Node = Text | TemplateAction | Block


class Template:
    """A parsed template for values of maps, lists and scalars."""

    def __init__(self, source: str) -> None:
        for escape, character in _ESCAPES.items():
            source = source.replace(escape, character)
        nodes = _tokens(source)
        self._nodes, end = _parse(nodes)
        if end is not None:
            raise InvalidTemplate(f"unexpected {{{{{end[0].text}}}}}")

    def render(self, value: Any) -> str:
        """Return the output for ``value``. Raises InvalidTemplate if the template does not fit the value."""
        return "".join(_render(self._nodes, value, {"$": value}))


def _tokens(source: str) -> Iterator[Text | TemplateAction]:
    position = 0
    for match in _ACTION.finditer(source):
        if match.start() > position:
            yield Text(source[position : match.start()])
        tokens = tuple(_tokenize(next(group for group in match.groups() if group is not None)))
        if tokens:
            yield TemplateAction(tokens)
        position = match.end()
    if "{{" in source[position:]:
        raise InvalidTemplate("'{{' without '}}'")
    if position < len(source):
        yield Text(source[position:])


def _tokenize(text: str) -> Iterator[TemplateToken]:
    position = 0
    if text.strip().startswith("/*"):
        return
    while text[position:].strip():
        match = _TOKEN.match(text, position)
        if match is None or match.lastgroup is None:
            raise InvalidTemplate(f"cannot read {text[position:].strip()!r}")
        yield TemplateToken(match.lastgroup, match[match.lastgroup])
        position = match.end()


def _parse(tokens: Iterator[Text | TemplateAction]) -> tuple[tuple[Node, ...], tuple[TemplateToken, ...] | None]:
    """Return the nodes up to ``{{end}}`` or ``{{else ..}}``, and the tokens of that action (None at the end)."""
    nodes: list[Node] = []
    for token in tokens:
        first = token.pipeline[0].text if isinstance(token, TemplateAction) else ""
        if isinstance(token, Text):
            nodes.append(token)
        elif first in ("end", "else"):
            return tuple(nodes), token.pipeline
        elif first in ("if", "range", "with"):
            nodes.append(_block(first, token.pipeline[1:], tokens))
        else:
            nodes.append(token)
    return tuple(nodes), None


def _block(keyword: str, pipeline: tuple[TemplateToken, ...], tokens: Iterator[Text | TemplateAction]) -> Block:
    body, end = _parse(tokens)
    else_body: tuple[Node, ...] = ()
    if end is not None and end[0].text == "else":
        if len(end) > 1:
            else_body = (_block(end[1].text, end[2:], tokens),)
            return Block(keyword, pipeline, body, else_body)
        else_body, end = _parse(tokens)
    if end is None:
        raise InvalidTemplate(f"{{{{{keyword}}}}} without {{{{end}}}}")
    return Block(keyword, pipeline, body, else_body)


def _render(nodes: Sequence[Node], dot: Any, scope: Scope) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, Text):
            yield node.text
        elif isinstance(node, Block):
            yield from _RENDERERS[node.keyword](node, dot, scope)
        else:
            names, tokens = _split_assignment(node.pipeline)
            value = _pipeline(tokens, dot, scope)
            if names:
                scope[names[-1]] = value
            else:
                yield (
                    _UNSET_FIELDS.get(tokens[-1].text.rpartition(".")[2], go_text(None))
                    if value is None
                    else go_text(value)
                )


def _render_if(block: Block, dot: Any, scope: Scope) -> Iterator[str]:
    condition = _pipeline(block.pipeline, dot, scope)
    return _render(block.body if condition else block.else_body, dot, scope)


def _render_with(block: Block, dot: Any, scope: Scope) -> Iterator[str]:
    names, tokens = _split_assignment(block.pipeline)
    value = _pipeline(tokens, dot, scope)
    inner = {**scope, **({names[-1]: value} if names else {})}
    return _render(block.body, value, inner) if value else _render(block.else_body, dot, scope)


def _render_range(block: Block, dot: Any, scope: Scope) -> Iterator[str]:
    names, tokens = _split_assignment(block.pipeline)
    value = _pipeline(tokens, dot, scope) or ()
    pairs = sorted(value.items()) if isinstance(value, Mapping) else list(enumerate(value))
    for key, item in pairs:
        own = dict(zip(names, (key, item) if len(names) > 1 else (item,), strict=False))
        yield from _render(block.body, item, {**scope, **own})
    if not pairs:
        yield from _render(block.else_body, dot, scope)


_RENDERERS: dict[str, Callable[[Block, Any, Scope], Iterator[str]]] = {
    "if": _render_if,
    "with": _render_with,
    "range": _render_range,
}


def _split_assignment(tokens: Sequence[TemplateToken]) -> tuple[tuple[str, ...], Sequence[TemplateToken]]:
    """Split ``$k, $v := pipeline`` into the variables and the pipeline."""
    for number, token in enumerate(tokens):
        if token.text == ":=":
            return tuple(w.text for w in tokens[:number] if w.kind == "field"), tokens[number + 1 :]
    return (), tokens


def _pipeline(tokens: Sequence[TemplateToken], dot: Any, scope: Scope) -> Any:
    """Evaluate commands joined by ``|``: the value of each is the last argument of the next."""
    value: list[Any] = []
    for command in _split(tokens):
        value = [_command(command, dot, scope, value)]
    if not value:
        raise InvalidTemplate("empty action")
    return value[0]


def _split(tokens: Sequence[TemplateToken]) -> Iterator[list[TemplateToken]]:
    depth = 0
    command: list[TemplateToken] = []
    for token in tokens:
        depth += {"(": 1, ")": -1}.get(token.text, 0) if token.kind == "sign" else 0
        if token == TemplateToken("sign", "|") and depth == 0:
            yield command
            command = []
        else:
            command.append(token)
    if command:
        yield command


def _command(tokens: Sequence[TemplateToken], dot: Any, scope: Scope, piped: list[Any]) -> Any:
    if tokens and tokens[0].kind == "name" and tokens[0].text not in ("true", "false", "nil"):
        function = FUNCTIONS.get(tokens[0].text)
        if function is None:
            raise InvalidTemplate(f"unknown function {tokens[0].text!r}: use {', '.join(FUNCTIONS)}")
        arguments = [*_operands(tokens[1:], dot, scope), *piped]
        try:
            return function(*arguments)
        except (TypeError, ValueError, KeyError, IndexError) as error:
            raise InvalidTemplate(f"{tokens[0].text}: {error}") from error
    return next(_operands(tokens, dot, scope))


def _operands(tokens: Sequence[TemplateToken], dot: Any, scope: Scope) -> Iterator[Any]:
    position = 0
    while position < len(tokens):
        token = tokens[position]
        if token.text == "(" and token.kind == "sign":
            end = _find_closing(tokens, position)
            yield _pipeline(tokens[position + 1 : end], dot, scope)
            position = end
        else:
            yield _operand(token, dot, scope)
        position += 1


def _find_closing(tokens: Sequence[TemplateToken], start: int) -> int:
    depth = 0
    for position in range(start, len(tokens)):
        depth += {"(": 1, ")": -1}.get(tokens[position].text, 0) if tokens[position].kind == "sign" else 0
        if depth == 0:
            return position
    raise InvalidTemplate("'(' without ')'")


def _operand(token: TemplateToken, dot: Any, scope: Scope) -> Any:
    match token.kind:
        case "string":
            return _unquote(token.text)
        case "number":
            return float(token.text) if "." in token.text else int(token.text)
        case "name":
            return {"true": True, "false": False}.get(token.text)
        case _:
            return _look_up(token.text, dot, scope)


def _unquote(text: str) -> str:
    """Return the value of a Go string literal: double quotes allow escapes, backquotes do not."""
    if text[0] != '"':
        return text[1:-1]
    said: str = json.loads(text.replace("\t", "\\t").replace("\n", "\\n"))
    return said


def _look_up(text: str, dot: Any, scope: Scope) -> Any:
    """Return the value of ``.Field`` or ``$variable.Field``."""
    variable, _, path = text.partition(".")
    if variable and variable not in scope:
        raise InvalidTemplate(f"undefined variable {variable}")
    value = scope[variable] if variable else dot
    names = [name for name in path.split(".") if name]
    if names and value is scope["$"] and isinstance(value, Mapping) and names[0] not in value:
        raise InvalidTemplate(f"unknown field .{names[0]}: use {', '.join(value)}")
    for name in names:
        value = _field(value, name)
    return value


def _field(value: Any, name: str) -> Any:
    if isinstance(value, Mapping):
        return value.get(name)
    if value is None:
        return None
    raise InvalidTemplate(f"{go_text(value)[:40]!r} has no field .{name}")


_UNSET_FIELDS = dict.fromkeys(("Cmd", "Entrypoint", "Env", "OnBuild", "Shell"), "[]") | dict.fromkeys(
    ("ExposedPorts", "Labels", "Volumes"), "map[]"
)
"""How docker prints unset fields of an image that are lists or maps."""


def go_text(value: Any) -> str:
    """Return a value as Go prints it."""
    if value is None:
        return "<no value>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        texts = {key: "{}" if item == {} else go_text(item) for key, item in sorted(value.items())}
        return f"map[{' '.join(f'{key}:{text}' for key, text in texts.items())}]"
    if isinstance(value, (list, tuple)):
        return f"[{' '.join(map(go_text, value))}]"
    return str(value)


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        value = value.get(key, "") if isinstance(value, Mapping) else value[key]
    return value


def _printf(pattern: str, *values: Any) -> str:
    tokens = re.sub(r"%(-?\d*(?:\.\d+)?)v", r"%\1s", pattern).replace("%q", '"%s"')
    return tokens % tuple(go_text(value) if isinstance(value, (list, tuple, Mapping)) else value for value in values)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "json": lambda value: json.dumps(value, ensure_ascii=False, separators=(",", ":")),
    "join": lambda values, separator: separator.join(map(str, values or ())),
    "split": lambda text, separator: text.split(separator),
    "lower": lambda text: str(text).lower(),
    "upper": lambda text: str(text).upper(),
    "title": lambda text: str(text).title(),
    "pad": lambda text, left, right: " " * left + str(text) + " " * right if text else "",
    "truncate": lambda text, length: str(text)[:length],
    "println": lambda *values: " ".join(map(go_text, values)) + "\n",
    "print": lambda *values: "".join(map(go_text, values)),
    "printf": _printf,
    "len": lambda value: len(value or ()),
    "index": _index,
    "slice": lambda value, *ends: value[slice(*(ends if len(ends) != 1 else (ends[0], None)))],
    "html": lambda value: html.escape(go_text(value)).replace("&quot;", "&#34;").replace("&#x27;", "&#39;"),
    "urlquery": lambda value: quote_plus(go_text(value)),
    "not": lambda value: not value,
    "and": lambda *values: next((value for value in values if not value), values[-1]),
    "or": lambda *values: next((value for value in values if value), values[-1]),
    "eq": lambda first, *others: first in others,
    "ne": lambda first, other: first != other,
    "lt": lambda first, other: first < other,
    "le": lambda first, other: first <= other,
    "gt": lambda first, other: first > other,
    "ge": lambda first, other: first >= other,
}
"""Go's built-in functions and those that docker adds."""
