"""``tag``: create a new name for an image."""

from argparse import ArgumentParser, Namespace

from hythe.cli.command import Command, CommandFailed
from hythe.cli.output import add_json_flag, print_json
from hythe.client.client import Client


def _configure(parser: ArgumentParser) -> None:
    parser.add_argument("source", metavar="SOURCE", help="name or ID prefix of the image")
    parser.add_argument("target", metavar="TARGET", help="new name: NAME[:TAG]")
    add_json_flag(parser)


def _run(arguments: Namespace) -> int:
    client = Client()
    target = client.reference(arguments.target)
    if target.digest:
        raise CommandFailed("refusing to create a tag with a digest reference", "write NAME:TAG", 2)
    with client.store.writing():
        entry = client.store.put(client.store.resolve(arguments.source).entry.descriptor, target)
    if arguments.json:
        print_json({"names": list(entry.names), "digest": entry.descriptor.digest})
    return 0


command = Command(_configure, _run, "hythe tag busybox registry.example.com/ann/busybox:1\nhythe tag 5f70bf18 ann/app")
