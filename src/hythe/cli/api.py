"""``api``: send a request to a hub's JSON API with the stored credentials, as ``gh api`` does."""

import contextlib
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any

from hythe.cli.command import Command, CommandFailed
from hythe.cli.connection import add_connection_flags, connected, hub_host

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD")


def _configure(parser: ArgumentParser) -> None:
    parser.add_argument("path", metavar="PATH", help="path in the API, such as /api/v1/users/me, or users/me")
    parser.add_argument("--host", default="", help="hub to send it to (default: the default registry)")
    parser.add_argument(
        "-X", "--method", default="", choices=METHODS, help="method (default: GET, or POST if there are fields)"
    )
    parser.add_argument(
        "-f", "--raw-field", action="append", default=[], metavar="KEY=VALUE", help="add a text to the body"
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

    body = _body(arguments)
    method = arguments.method or ("GET" if body is None else "POST")
    path = arguments.path if arguments.path.startswith("/") else f"/api/v1/{arguments.path}"
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
            print()
        sys.stdout.write(_formatted(response.body))
        if response.status >= 400:
            raise api_error(response, api.host)
    return 0


def _print_items(api: Any, path: str) -> int:
    import msgspec

    from hythe.client.errors import ClientError

    bare, _, query = path.partition("?")
    parameters = dict(part.split("=", 1) for part in query.split("&") if "=" in part)
    try:
        for item in api.items(bare, **parameters):
            print(msgspec.json.encode(item).decode())
    except KeyError as error:
        raise ClientError(f"{path} is not a list", "omit --paginate") from error
    return 0


def _body(arguments: Namespace) -> bytes | None:
    """Return the body that the flags give; None: none. Raises CommandFailed."""
    import msgspec

    fields: dict[str, Any] = dict(map(_pair, arguments.raw_field))
    for name, text in map(_pair, arguments.field):
        try:
            fields[name] = msgspec.json.decode(text)
        except msgspec.MsgspecError:
            fields[name] = text
    if arguments.input and fields:
        raise CommandFailed("--input and fields cannot be combined", "put the fields into the file", 2)
    if arguments.input == "-":
        return sys.stdin.buffer.read()
    if arguments.input:
        return Path(arguments.input).read_bytes()
    return msgspec.json.encode(fields) if fields else None


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


def _formatted(content: bytes) -> str:
    import msgspec

    text = content.decode(errors="replace")
    if sys.stdout.isatty():
        with contextlib.suppress(msgspec.MsgspecError):
            text = msgspec.json.format(text, indent=2)
    return text if not text or text.endswith("\n") else f"{text}\n"


command = Command(
    _configure,
    _run,
    """
hythe api users/me
hythe api --host hub.example.org repositories/ann/app -X PATCH -f description='Our app'
hythe api repositories/ann --paginate
hythe api repositories/ann/app -X DELETE
""",
)
