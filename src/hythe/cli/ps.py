"""``ps``: list containers."""

import json
import re
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from hythe.cli.command import Command, CommandFailed
from hythe.cli.container_status import describe
from hythe.cli.output import Column, Row, add_list_flags, has_label, parse_filters, print_list
from hythe.cli.units import docker_time, ellipsis, human_age, human_size
from hythe.containers.changes import total_size
from hythe.containers.container import Container, ContainerState, ContainerStatus
from hythe.containers.ports import show_port
from hythe.containers.root import Root
from hythe.containers.store import ContainerStore
from hythe.oci.digest import Digest

COLUMNS = (
    Column("CONTAINER ID", "ID"),
    Column("IMAGE", "Image"),
    Column("COMMAND", "Command"),
    Column("CREATED", "RunningFor"),
    Column("STATUS", "Status"),
    Column("PORTS", "Ports"),
    Column("NAMES", "Names"),
)
_SIZE = Column("SIZE", "Size")
_FILTERS = ("ancestor", "before", "exited", "id", "label", "name", "network", "since", "status", "volume")
_STATES = ("created", "restarting", "running", "removing", "paused", "exited", "dead")
"""Docker's states; a container of hythe is only ever created, running or exited."""
_COMMAND_LENGTH = 20


def _configure(parser: ArgumentParser) -> None:
    parser.add_argument("-a", "--all", action="store_true", help="show all containers (default: running ones)")
    parser.add_argument("-l", "--latest", action="store_true", help="show the newest container in any state")
    parser.add_argument(
        "-n", "--last", type=int, default=-1, metavar="N", help="show the N newest containers in any state"
    )
    parser.add_argument("-s", "--size", action="store_true", help="show the size of the written files and of the image")
    parser.add_argument(
        "-f", "--filter", action="append", default=[], metavar="KEY=VALUE", help=f"filter by {', '.join(_FILTERS)}"
    )
    add_list_flags(parser, quiet="print only IDs")


def _run(arguments: Namespace) -> int:
    store = ContainerStore()
    filters = _validate(parse_filters(arguments.filter, _FILTERS), store)
    count = 1 if arguments.latest else arguments.last
    found = [(container, store.status(container)) for container in store.all()]
    shows_all = arguments.all or count >= 0 or "status" in filters or "exited" in filters
    shown = [pair for pair in found if shows_all or pair[1].state is ContainerState.RUNNING]
    shown = [pair for pair in shown if _matches_filters(*pair, filters)]
    shown = shown[:count] if count >= 0 else shown
    sizes = _sizes(store, shown) if arguments.size or ".Size" in arguments.format else {}
    rows = [_row(*pair, sizes.get(pair[0].id, "0B"), full=arguments.no_trunc) for pair in shown]
    print_list(rows, (*COLUMNS, _SIZE) if arguments.size else COLUMNS, arguments)
    return 0


def _sizes(store: ContainerStore, shown: Sequence[tuple[Container, ContainerStatus]]) -> dict[str, str]:
    """Return the SIZE column by container ID: the bytes written, and those including the image."""
    from hythe.containers.layers import LayerCache
    from hythe.containers.namespace import become_root

    become_root()
    cache = LayerCache(store.folder / "layers")
    own = {container.id: _size(store.path(container) / "upper") for container, _ in shown}
    layers = {diff_id for container, _ in shown for diff_id in container.layers}
    below = {diff_id: _size(cache.path(Digest.parse(diff_id)) / "fs") for diff_id in layers}
    whole = {container.id: own[container.id] + sum(map(below.__getitem__, container.layers)) for container, _ in shown}
    return {name: f"{human_size(own[name])} (virtual {human_size(whole[name])})" for name in own}


def _size(folder: Path) -> int:
    """Return the bytes of a folder's files; 0 if the folder no longer exists."""
    try:
        with Root(folder) as root:
            return total_size(root)
    except FileNotFoundError:
        return 0


def _validate(filters: dict[str, list[str]], store: ContainerStore) -> dict[str, list[str]]:
    """Return the filters after validation, with the containers of before and since replaced by their creation times."""
    for key, is_valid in _CHECKS.items():
        for value in filters.get(key, ()):
            if not is_valid(value):
                raise CommandFailed(f"invalid filter '{key}={value}'", "'hythe help ps' shows examples", 2)
    return filters | {
        key: [store.find(text).created for text in filters[key]] for key in ("before", "since") if key in filters
    }


def _matches_filters(container: Container, status: ContainerStatus, filters: Mapping[str, Sequence[str]]) -> bool:
    """Whether a container matches every filter: all values of labels and times, any value of other keys."""
    return all(
        (all if key in ("label", "before", "since") else any)(
            _matches_filter(container, status, key, value) for value in values
        )
        for key, values in filters.items()
    )


def _matches_filter(container: Container, status: ContainerStatus, key: str, value: str) -> bool:
    match key:
        case "id":
            return container.id.startswith(value)
        case "name":
            return _matches_name(value, container.name)
        case "before":
            return container.created < value
        case "since":
            return container.created > value
        case "network":
            return container.host.network == value
        case "volume":
            return any(value in (mount.volume, mount.source, mount.target) for mount in container.host.mounts)
        case "status":
            return status.state.value == value
        case "exited":
            return status.state is ContainerState.EXITED and str(status.exit_code) == value
        case "ancestor":
            return container.image in (value, f"{value}:latest") or container.image_id.split(":")[1].startswith(value)
        case _:
            return has_label(container.config.labels, value)


def _matches_name(pattern: str, name: str) -> bool:
    """Whether a regular expression matches a name, with or without docker's leading slash."""
    return any(re.search(pattern, text) for text in (name, f"/{name}"))


def _is_pattern(text: str) -> bool:
    try:
        re.compile(text)
    except re.error:
        return False
    return True


_CHECKS: dict[str, Callable[[str], bool]] = {
    "status": _STATES.__contains__,
    "exited": lambda text: text.lstrip("-").isdecimal(),
    "name": _is_pattern,
}


def _row(container: Container, status: ContainerStatus, size: str, *, full: bool) -> Row:
    command = " ".join(container.command)
    mounts = [mount.volume.strip(".") or mount.source or mount.target for mount in container.host.mounts]
    labels = container.config.labels or {}
    fields = {
        "ID": container.id if full else container.id[:12],
        "Image": container.image,
        "Command": json.dumps(command if full else ellipsis(command, _COMMAND_LENGTH), ensure_ascii=False),
        "CreatedAt": docker_time(container.created),
        "RunningFor": human_age(container.created),
        "Status": describe(status),
        "State": status.state.value,
        "Ports": ", ".join(map(show_port, status.ports)),
        "Names": container.name,
        "Size": size,
        "Labels": ",".join(f"{key}={value}" for key, value in labels.items()),
        "Mounts": ",".join(mounts),
        "Networks": container.host.network,
    }
    return Row(fields, {**msgspec.to_builtins(container), "status": msgspec.to_builtins(status)})


command = Command(
    _configure,
    _run,
    """hythe ps
hythe ps -a --filter status=exited --filter label=stage=test
hythe ps -a --filter since=web --filter 'name=^db'
hythe ps --format '{{.Names}}: {{.Status}}'""",
)
