"""``config``: manage the settings of the client."""

from argparse import ArgumentParser, Namespace

import msgspec

from hythe.cli.command import Command
from hythe.cli.output import add_json_flag, print_json, print_table
from hythe.client.configuration import (
    DESCRIPTIONS,
    Configuration,
    configuration_path,
    load_configuration,
    read_configuration_file,
    write_configuration_file,
)
from hythe.client.errors import InvalidConfiguration


def _configure(parser: ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="set|get|unset|list")
    setting = actions.add_parser("set", help="set the value of a key")
    setting.add_argument("key", choices=tuple(DESCRIPTIONS), help="key of the setting")
    setting.add_argument("value", metavar="VALUE", help="new value; a list is separated by commas")
    for name, what in (("get", "print the value of a key"), ("unset", "reset a key to its default")):
        actions.add_parser(name, help=what).add_argument("key", choices=tuple(DESCRIPTIONS), help="key of the setting")
    actions.add_parser("list", help="list all keys with their values and meanings")
    for action in actions.choices.values():
        add_json_flag(action)


def _run(arguments: Namespace) -> int:
    if arguments.action in ("set", "unset"):
        return _change(arguments)
    values = _values(load_configuration())
    if arguments.action == "get":
        value = values[arguments.key]
        if arguments.json:
            print_json({arguments.key: value})
        else:
            print(_text(value))
    elif arguments.json:
        print_json(values)
    else:
        print_table(("KEY", "VALUE", "MEANING"), [(key, _text(values[key]), DESCRIPTIONS[key]) for key in DESCRIPTIONS])
    return 0


def _change(arguments: Namespace) -> int:
    path = configuration_path()
    before = read_configuration_file(path)
    value = arguments.value if arguments.action == "set" else _text(_values(Configuration())[arguments.key])
    if arguments.action == "set" and not value.strip():
        raise InvalidConfiguration(
            f"the value of {arguments.key} is empty", f"'hythe config unset {arguments.key}' resets it"
        )
    after = before.replace(arguments.key, value)
    write_configuration_file(path, after)
    if arguments.json:
        print_json({arguments.key: _values(after)[arguments.key]})
    return 0


def _values(configuration: Configuration) -> dict[str, object]:
    values: dict[str, object] = msgspec.to_builtins(configuration)
    return values


def _text(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


command = Command(
    _configure,
    _run,
    """
hythe config set default-registry registry.example.com
hythe config set plain-http build-host:5000,10.0.0.7:5000
hythe config get default-registry
hythe config list
""",
)
