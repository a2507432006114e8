"""``api``: send a request to a hub's JSON API with the stored credentials, as ``gh api`` does."""

import contextlib
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any

from hythe.cli.command import Command, CommandFailed
from hythe.cli.connection import add_connection_flags, connected, hub_host

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD")

NOT_MODIFIED = 304
"""The response to a matching If-None-Match."""


def _configure(parser: ArgumentParser) -> None:
    parser.add_argument("path", metavar="PATH", help="path in the API, such as /api/v1/users/me, or users/me")
    parser.add_argument("--host", default="", help="hub to send it to (default: the default registry)")
    parser.add_argument(
        "-X", "--method", default="", choices=METHODS, help="method (default: GET, or POST if there are fields)"
    )
    parser.add_argument(
        "-f",
        "--raw-field",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="add a text to the body, or to the query of a GET",
    )
    parser.add_argument(
        "-F",
        "--field",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="add a JSON value to the body: a number, true, null, a list; another text is sent as text",
    )
    parser.add_argument("-H", "--header", action="append", default=[], metavar="KEY:VALUE", help="add a header")
    parser.add_argument("--input", default="", metavar="FILE", help="send a file as the body; -: standard input")
    parser.add_argument("-i", "--include", action="store_true", help="print the status and headers, too")
    parser.add_argument("--paginate", action="store_true", help="print the items of all pages, one JSON value a line")
    add_connection_flags(parser)


def _run(arguments: Namespace) -> int:
    from hythe.client.hub_api import JSONAPI, api_error

    fields = _fields(arguments)
    content = _file(arguments.input)
    method = arguments.method or ("GET" if content is None and not fields else "POST")
    path, body = _path(arguments.path), content
    if method in ("GET", "HEAD"):
        path = _with_query(path, fields)
    elif fields:
        import msgspec

        body = msgspec.json.encode(fields)
    headers = dict(map(_header, arguments.header))
    with connected(arguments) as client:
        api = JSONAPI(client, hub_host(client, arguments.host))
        if arguments.paginate:
            return _print_items(api, path)
        response = api.send(method, path, body, headers)
        if arguments.include:
            print(f"HTTP/1.1 {response.status}")
            for name, value in response.headers.items():
                print(f"{name}: {value}")
            print(flush=True)
        _print_body(response.body)
        if response.status >= 300 and response.status != NOT_MODIFIED:
            raise api_error(response, api.host)
    return 0


def _path(typed: str) -> str:
    """Return the path to request, with characters escaped that no path has. It never names another server."""
    from urllib.parse import quote

    path = typed.lstrip("/") if typed.startswith("/") else f"api/v1/{typed}"
    return quote(f"/{path}", safe="/%?&=:@!$'()*+,;~")


def _with_query(path: str, fields: dict[str, Any]) -> str:
    import msgspec

    if not fields:
        return path
    from urllib.parse import urlencode

    texts = {name: text if isinstance(text, str) else msgspec.json.encode(text) for name, text in fields.items()}
    return f"{path}{'&' if '?' in path else '?'}{urlencode(texts)}"


def _print_items(api: Any, path: str) -> int:
    from urllib.parse import parse_qsl

    import msgspec

    bare, _, query = path.partition("?")
    for item in api.items(bare, **dict(parse_qsl(query, keep_blank_values=True))):
        print(msgspec.json.encode(item).decode())
    return 0


def _fields(arguments: Namespace) -> dict[str, Any]:
    """Return the fields that the flags give. Raises CommandFailed."""
    import msgspec

    fields: dict[str, Any] = dict(map(_pair, arguments.raw_field))
    for name, text in map(_pair, arguments.field):
        try:
            fields[name] = msgspec.json.decode(text)
        except msgspec.MsgspecError:
            fields[name] = text
    if arguments.input and fields:
        raise CommandFailed("--input and fields cannot be combined", "put the fields into the file", 2)
    return fields


def _file(name: str) -> bytes | None:
    if name == "-":
        return sys.stdin.buffer.read()
    return Path(name).read_bytes() if name else None


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise CommandFailed(f"invalid field {text!r}", "use KEY=VALUE", 2)
    return name, value


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not name or not colon:
        raise CommandFailed(f"invalid header {text!r}", "use KEY:VALUE", 2)
    return name.strip(), value.strip()


def _print_body(content: bytes) -> None:
    """Print a body: indented on a terminal, elsewhere as it is."""
    if not sys.stdout.isatty():
        sys.stdout.buffer.write(content)
        sys.stdout.flush()
        return
    import msgspec

    text = content.decode(errors="replace")
    with contextlib.suppress(msgspec.MsgspecError):
        text = msgspec.json.format(text, indent=2)
    if text:
        print(text.removesuffix("\n"))


command = Command(
    _configure,
    _run,
    """
hythe api users/me
hythe api --host hub.example.org repositories/ann/app -X PATCH -f description='Our app'
hythe api repositories/ann --paginate
hythe api search -X GET -f q='web server'
hythe api repositories/ann/app -X DELETE
""",
)
