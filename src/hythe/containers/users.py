"""The user of a container: names resolved with the image's ``/etc/passwd`` and ``/etc/group``, like docker does."""

from collections.abc import Iterator
from typing import NamedTuple

from hythe.containers.errors import CannotStart
from hythe.containers.root import Root

_MAX_FILE_SIZE = 8 << 20
_MAX_ID = 2**31 - 1


class ContainerUser(NamedTuple):
    """User ID, group ID, supplementary group IDs, and home folder."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str


def find_user(root: Root, text: str, extra_groups: tuple[str, ...] = ()) -> ContainerUser:
    """Resolve ``USER[:GROUP]`` (names or IDs, "" is root) in the image; raises CannotStart.

    An ID without an entry is used as is, with group 0. An explicit group replaces all groups of the user. The primary
    group is also a supplementary one, so that set-group-ID programs do not lose it (CVE-2022-36109). ``extra_groups``,
    names or IDs, are added.
    """
    name, _, group = text.partition(":")
    name = name or "0"
    row = next((row for row in _rows(root, "etc/passwd", 7) if row[0] == name or _same_id(name, row[2])), None)
    if row is None and not name.isdecimal():
        raise CannotStart(f"unable to find user {name}: no matching entries in passwd file", "check USER and --user")
    uid = _checked_id(int(row[2]) if row else int(name))
    gid = int(row[3]) if row else 0
    home = (row[5] if row else "") or "/"
    if group:
        gid = _find_group(root, group)
        return ContainerUser(uid, gid, _group_ids(root, {gid}, extra_groups), home)
    members = [r for r in _rows(root, "etc/group", 4) if row and row[0] in r[3].split(",")]
    return ContainerUser(uid, gid, _group_ids(root, {gid, *(int(r[2]) for r in members)}, extra_groups), home)


def _group_ids(root: Root, own: set[int], extra_groups: tuple[str, ...]) -> tuple[int, ...]:
    return tuple(sorted(own | {_find_group(root, text) for text in extra_groups}))


def _find_group(root: Root, text: str) -> int:
    row = next((row for row in _rows(root, "etc/group", 4) if row[0] == text), None)
    if row is not None:
        return int(row[2])
    if not text.isdecimal():
        raise CannotStart(f"unable to find group {text}: no matching entries in group file", "check USER and --user")
    return _checked_id(int(text))


def _checked_id(number: int) -> int:
    if number > _MAX_ID:
        raise CannotStart(f"{number} is not a valid user or group ID")
    return number


def _same_id(text: str, number: str) -> bool:
    return text.isdecimal() and int(text) == int(number)


def _rows(root: Root, path: str, columns: int) -> Iterator[list[str]]:
    """Yield the valid rows of a file in the image; none if it does not exist."""
    try:
        text = root.read(path, _MAX_FILE_SIZE).decode("utf-8", "replace")
    except OSError:
        return
    for line in text.splitlines():
        row = line.strip().split(":")
        if len(row) >= columns and all(row[i].isdecimal() for i in ((2, 3) if columns == 7 else (2,))):
            yield row
