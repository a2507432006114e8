"""The flags of ``run`` and ``create``, and what they mean (docker's, as far as they make sense without a daemon)."""

import os
import re
import sys
from argparse import REMAINDER, ArgumentParser, Namespace
from pathlib import Path

from hythe.containers.bundle import parse_capability
from hythe.containers.container import HostConfig, Limits
from hythe.containers.creation import Request
from hythe.containers.errors import InvalidOption
from hythe.containers.namespace import in_user_namespace
from hythe.containers.volumes import parse_tmpfs, parse_volume

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([bkmgt]?)(?:i?b)?", re.IGNORECASE)
_UNITS = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
LEAST_MEMORY = 6 << 20


def configure(parser: ArgumentParser) -> None:
    """Add the flags that run and create have in common."""
    _configure_process(parser)
    _configure_isolation(parser)
    parser.add_argument("--name", default="", help="name of the container (default: one is made up)")
    parser.add_argument("--platform", default="", help="platform of the image: os/architecture[/variant]")
    parser.add_argument("--pull", choices=("missing", "always", "never"), default="missing", help="when to pull")
    parser.add_argument("--rm", action="store_true", help="remove the container when it has ended")
    parser.add_argument("--runtime", default="", help="OCI runtime: crun, runc or a path (default: $HYTHE_RUNTIME)")
    parser.add_argument("image", metavar="IMAGE", help="image to run; pulled when it is not here")
    parser.add_argument("words", metavar="COMMAND", nargs=REMAINDER, help="what to run instead of the image's command")


def _configure_process(parser: ArgumentParser) -> None:
    parser.add_argument("-i", "--interactive", action="store_true", help="pass standard input on")
    parser.add_argument("-t", "--tty", action="store_true", help="give the container a terminal")
    parser.add_argument("-e", "--env", action="append", default=[], metavar="NAME[=VALUE]", help="set a variable")
    parser.add_argument("--env-file", action="append", default=[], metavar="FILE", help="set the variables of a file")
    parser.add_argument("-u", "--user", default="", metavar="USER[:GROUP]", help="names or numbers")
    parser.add_argument("-w", "--workdir", default="", metavar="FOLDER", help="folder to start in")
    parser.add_argument("--entrypoint", default=None, help="run this instead of the image's entrypoint; '' for none")
    parser.add_argument("-l", "--label", action="append", default=[], metavar="KEY=VALUE", help="set a label")
    parser.add_argument("--stop-signal", default="", help="signal that stops the container")


def _configure_isolation(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--network",
        "--net",
        choices=("host", "none"),
        default="host",
        help="host (the default): the machine's own network; none: no network. There is no bridge without a daemon",
    )
    parser.add_argument("-p", "--publish", action="append", default=[], help="no effect: the network is the host's")
    parser.add_argument("--hostname", default="", help="what the container calls itself")
    parser.add_argument(
        "-v", "--volume", action="append", default=[], metavar="[SOURCE:]TARGET[:ro]", help="mount a folder or volume"
    )
    parser.add_argument("--tmpfs", action="append", default=[], metavar="TARGET[:OPTIONS]", help="mount memory")
    parser.add_argument("--read-only", action="store_true", help="the container cannot write, but to its volumes")
    parser.add_argument("--cap-add", action="append", default=[], metavar="CAPABILITY", help="grant a capability")
    parser.add_argument("--cap-drop", action="append", default=[], metavar="CAPABILITY", help="take a capability")
    parser.add_argument("-m", "--memory", default="", metavar="SIZE", help="most memory, such as 512m (needs root)")
    parser.add_argument("--cpus", type=float, default=0, help="most processors, such as 1.5 (needs root)")
    parser.add_argument("--pids-limit", type=int, default=0, help="most processes (needs root)")


def parse_request(arguments: Namespace) -> Request:
    """Return what the flags ask for; raises InvalidOption."""
    entrypoint = arguments.entrypoint
    return Request(
        image=arguments.image,
        words=tuple(arguments.words),
        name=arguments.name,
        entrypoint=None if entrypoint is None else (entrypoint,) if entrypoint else (),
        env=parse_environment(arguments.env_file, arguments.env),
        labels=dict(_parse_label(text) for text in arguments.label),
        user=arguments.user,
        working_dir=arguments.workdir,
        stop_signal=arguments.stop_signal,
        host=_parse_host(arguments),
    )


def _parse_host(arguments: Namespace) -> HostConfig:
    if arguments.publish and arguments.network == "host":
        print("note: published ports are discarded: the container has the machine's own network", file=sys.stderr)
    volumes = [parse_volume(text) for text in arguments.volume]
    return HostConfig(
        network=arguments.network,
        hostname=arguments.hostname,
        mounts=(*volumes, *(parse_tmpfs(text) for text in arguments.tmpfs)),
        read_only=arguments.read_only,
        cap_add=tuple(parse_capability(text) for text in arguments.cap_add),
        cap_drop=tuple(parse_capability(text) for text in arguments.cap_drop),
        limits=_parse_limits(arguments),
        terminal=arguments.tty,
        interactive=arguments.interactive,
        auto_remove=arguments.rm,
        runtime=arguments.runtime,
    )


def _parse_limits(arguments: Namespace) -> Limits:
    memory = parse_size(arguments.memory) if arguments.memory else 0
    if memory and memory < LEAST_MEMORY:
        raise InvalidOption(f"--memory {arguments.memory} is too little", "allow 6m at least")
    if arguments.cpus < 0 or arguments.pids_limit < 0:
        raise InvalidOption("a limit cannot be negative", "leave it out for no limit")
    limits = Limits(memory, arguments.cpus, arguments.pids_limit)
    if limits != Limits() and in_user_namespace():
        raise InvalidOption("limits need control groups, which need root", "leave out --memory, --cpus, --pids-limit")
    return limits


def parse_size(text: str) -> int:
    """Return the bytes of a size such as ``512m``; raises InvalidOption."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise InvalidOption(f"{text!r} is not a size", "write a number and b, k, m or g, such as 512m")
    return int(float(match[1]) * _UNITS[match[2].lower()])


def _parse_label(text: str) -> tuple[str, str]:
    key, _, value = text.partition("=")
    if not key:
        raise InvalidOption(f"{text!r} is not a label", "write KEY=VALUE")
    return key, value


def parse_environment(files: list[str], variables: list[str]) -> tuple[str, ...]:
    """Return ``NAME=VALUE`` of files and flags; a name alone takes its value from here, if it has one."""
    lines = [line for file in files for line in _read_lines(file)] + variables
    return tuple(variable for line in lines if (variable := _variable(line)))


def _read_lines(file: str) -> list[str]:
    lines = (line.lstrip() for line in Path(file).read_text().splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def _variable(text: str) -> str:
    name, equals, _ = text.partition("=")
    if not name or any(character.isspace() for character in name):
        raise InvalidOption(f"{text!r} is not a variable", "write NAME=VALUE")
    if equals:
        return text
    return f"{name}={os.environ[name]}" if name in os.environ else ""
