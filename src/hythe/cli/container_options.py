"""The flags of ``run`` and ``create``: those of docker that make sense without a daemon."""

import os
from argparse import REMAINDER, ArgumentParser, Namespace
from pathlib import Path

from hythe.cli import container_isolation
from hythe.cli.failure import message_of
from hythe.containers.errors import InvalidOption
from hythe.containers.lifecycle import CreateOptions


def configure(parser: ArgumentParser) -> None:
    """Add the flags that run and create share."""
    _configure_process(parser)
    container_isolation.configure(parser)
    parser.add_argument("--name", default="", help="name of the container (default: a generated name)")
    parser.add_argument("--platform", default="", metavar="OS/ARCH[/VARIANT]", help="platform of the image")
    parser.add_argument(
        "--pull",
        choices=("missing", "always", "never"),
        default="missing",
        help="when to pull the image (default: missing)",
    )
    parser.add_argument("--rm", action="store_true", help="remove the container when it exits")
    parser.add_argument("-q", "--quiet", action="store_true", help="suppress the pull output")
    parser.add_argument("--cidfile", default="", metavar="FILE", help="write the container ID to a new file")
    parser.add_argument("--runtime", default="", help="OCI runtime: crun, runc or a path (default: $HYTHE_RUNTIME)")
    parser.add_argument("image", metavar="IMAGE", help="image to run; pulled if it is not local")
    words = parser.add_argument(
        "words", metavar="COMMAND", nargs=REMAINDER, help="command and arguments to run instead of the image's command"
    )
    words.required = False


def _configure_process(parser: ArgumentParser) -> None:
    parser.add_argument("-i", "--interactive", action="store_true", help="keep stdin open")
    parser.add_argument("-t", "--tty", action="store_true", help="allocate a pseudo-terminal")
    parser.add_argument(
        "-e", "--env", action="append", default=[], metavar="NAME[=VALUE]", help="set an environment variable"
    )
    parser.add_argument(
        "--env-file", action="append", default=[], metavar="FILE", help="read environment variables from a file"
    )
    parser.add_argument("-u", "--user", default="", metavar="USER[:GROUP]", help="user and group, by name or ID")
    parser.add_argument("-w", "--workdir", default="", metavar="FOLDER", help="working directory in the container")
    parser.add_argument(
        "--entrypoint", default=None, metavar="PROGRAM", help="override the entrypoint of the image; '' for none"
    )
    parser.add_argument("-l", "--label", action="append", default=[], metavar="KEY=VALUE", help="set a label")
    parser.add_argument("--label-file", action="append", default=[], metavar="FILE", help="read labels from a file")
    parser.add_argument("--expose", action="append", default=[], metavar="PORT", help="record a port for commit")
    parser.add_argument("--stop-signal", default="", metavar="SIGNAL", help="signal to stop the container")
    parser.add_argument(
        "--stop-timeout", type=int, default=10, metavar="SECONDS", help="seconds to wait before SIGKILL (default: 10)"
    )
    parser.add_argument("--init", action="store_true", help="run docker-init, tini or catatonit first, to reap orphans")
    parser.add_argument("--restart", default="no", metavar="no", help="only no: restarting containers needs a daemon")


def parse_options(arguments: Namespace) -> CreateOptions:
    """Return the options that the flags set. Raises InvalidOption."""
    entrypoint = arguments.entrypoint
    _check_restart(arguments)
    return CreateOptions(
        image=arguments.image,
        command=tuple(arguments.words),
        name=arguments.name,
        entrypoint=None if entrypoint is None else (entrypoint,) if entrypoint else (),
        env=parse_environment(arguments.env_file, arguments.env),
        labels=dict(_parse_label(text) for text in [*_read_lines(arguments.label_file), *arguments.label]),
        user=arguments.user,
        working_dir=arguments.workdir,
        stop_signal=arguments.stop_signal,
        ports=tuple(arguments.expose),
        host=container_isolation.parse_host_config(arguments),
    )


def _check_restart(arguments: Namespace) -> None:
    if arguments.restart not in ("", "no"):
        raise InvalidOption(
            f"--restart {arguments.restart}: restart policies need a daemon",
            "use a systemd unit that runs 'hythe start -a NAME'",
        )


def _parse_label(text: str) -> tuple[str, str]:
    key, _, value = text.partition("=")
    if not key:
        raise InvalidOption(f"invalid label {text!r}", "write KEY=VALUE")
    return key, value


def parse_environment(files: list[str], variables: list[str]) -> tuple[str, ...]:
    """Return ``NAME=VALUE`` for each variable. A name without a value takes it from hythe's environment."""
    lines = [*_read_lines(files), *variables]
    return tuple(variable for line in lines if (variable := _parse_variable(line)))


def _read_lines(files: list[str]) -> list[str]:
    """Return the lines of the files without comments. Raises InvalidOption if a file cannot be read."""
    try:
        lines = [line.lstrip() for file in files for line in Path(file).read_text().splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidOption(f"cannot read variables or labels: {message_of(error)}", "check the path") from error
    return [line for line in lines if line and not line.startswith("#")]


def _parse_variable(text: str) -> str:
    name, equals, _ = text.partition("=")
    if not name or any(character.isspace() for character in name):
        raise InvalidOption(f"invalid variable {text!r}", "write NAME=VALUE")
    if equals:
        return text
    return f"{name}={os.environ[name]}" if name in os.environ else ""
