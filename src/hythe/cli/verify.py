"""``hythe verify``: prints the commit that an image was built from, after checking its signatures.

With ``--log`` it checks the moves of a tag in the hub's log instead, which images need no build for.
"""

from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from hythe.cli.command import Command, CommandFailed
from hythe.cli.connection import add_connection_flags, connected
from hythe.cli.output import add_json_flag, print_json
from hythe.client.client import Client
from hythe.control_characters import escape_line
from hythe.oci.reference import Reference

if TYPE_CHECKING:
    from hythe.provenance.verification import ImageOrigin

UNTRUSTED = 6
"""Exit code: the content failed verification (docs/exit-codes.md)."""

EXAMPLES = """\
hythe verify hub.example.org/alice/app
hythe verify --key hub.pem hub.example.org/alice/app:1.2
hythe verify --log hub.example.org/alice/app:1.2
hythe verify --log --checkpoint friend.txt hub.example.org/alice/app:1.2
hythe pull --trusted hub.example.org/alice/app"""


def _configure(parser: ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME[:TAG|@DIGEST]", help="the image to check")
    parser.add_argument("--key", type=Path, metavar="FILE", help="the hub's public key (default: fetched from the hub)")
    parser.add_argument("--log", action="store_true", help="check the tag's history in the hub's log of tag moves")
    parser.add_argument(
        "--checkpoint",
        default="",
        metavar="FILE|URL",
        help="with --log: also compare with a checkpoint that someone else saw",
    )
    parser.add_argument(
        "--whole-log", action="store_true", help="with --log: read all entries, and look for moves that were left out"
    )
    add_json_flag(parser)
    add_connection_flags(parser)


def _run(arguments: Namespace) -> int:
    if arguments.log:
        return _run_log(arguments)
    if arguments.checkpoint or arguments.whole_log:
        raise CommandFailed("--checkpoint and --whole-log belong to --log", "add --log", 2)
    return _run_origin(arguments)


def _run_log(arguments: Namespace) -> int:
    from hythe.cli.verify_log import print_verdict, verify_log

    with connected(arguments) as client:
        reference = client.reference(arguments.name)
        if reference.digest is None:
            reference = reference.with_default_tag()
        verdict = verify_log(client, reference, arguments.checkpoint, complete=arguments.whole_log)
    print_verdict(verdict, as_json=arguments.json)
    return 0


def _run_origin(arguments: Namespace) -> int:
    import msgspec

    from hythe.provenance.statement import NO_CACHE

    with connected(arguments) as client:
        origin = verify(client, client.reference(arguments.name).with_default_tag(), arguments.key)
    if arguments.json:
        print_json(msgspec.to_builtins(origin))
    else:
        built = f"{origin.source} {origin.commit} ({origin.ref}, {origin.dockerfile})"
        print(escape_line(f"{origin.image}@{origin.digest} <- {built}"))
        if origin.cache not in ("", NO_CACHE):
            print(f"used a cache: {origin.cache}")
        if origin.hooks:
            print(f"ran hooks: {', '.join(origin.hooks)}")
    return 0


def verify(client: Client, reference: Reference, key: Path | None = None) -> "ImageOrigin":
    """Return where an image comes from. Raises CommandFailed if verification fails, and the client's errors.

    Only this function imports what checks signatures: the client alone does not install it.
    """
    try:
        from hythe.provenance.envelope import Untrusted
        from hythe.provenance.verification import fetch_keys, parse_keys, verify_origin
    except ImportError as error:
        raise CommandFailed(
            "verifying signatures needs the package cryptography", "pip install cryptography"
        ) from error
    repository = client.repository(reference)
    try:
        keys = parse_keys(key.read_bytes()) if key else fetch_keys(_fetcher(client, reference))
        return verify_origin(repository, reference.target, keys)
    except Untrusted as error:
        hint = "do not use this image; ask its owner how it was built"
        raise CommandFailed(f"{reference} does not verify: {error}", hint, UNTRUSTED) from error


def _fetcher(client: Client, reference: Reference) -> Callable[[str], bytes]:
    session = client.session(reference.host)

    def fetch(path: str) -> bytes:
        response = session.request("GET", path)
        return response.body if response.status == 200 else b""

    return fetch


command = Command(_configure, _run, EXAMPLES)
"""``hythe verify``."""
