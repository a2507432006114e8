"""Who a container runs as: names resolved by the image's own ``/etc/passwd`` and ``/etc/group``, as docker does."""

from collections.abc import Iterator
from typing import NamedTuple

from hythe.containers.errors import CannotStart
from hythe.containers.root import Root

_LARGEST_FILE = 8 << 20
_LARGEST_ID = 2**31 - 1


class ContainerUser(NamedTuple):
    """Numbers of user, group and further groups, and the home folder."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str


def find_user(root: Root, text: str, further: tuple[str, ...] = ()) -> ContainerUser:
    """Return who ``USER[:GROUP]`` (names or numbers, "" is root) is in the image; raises CannotStart.

    A number that the image does not know is taken as it is, with group 0. A group that is named alone replaces all
    groups the user would have. The first group is among the further ones, too: a set-group-id program must not lose it
    (CVE-2022-36109). ``further`` groups, names or numbers, are added.
    """
    name, _, group = text.partition(":")
    name = name or "0"
    row = next((row for row in _rows(root, "etc/passwd", 7) if row[0] == name or _is(name, row[2])), None)
    if row is None and not name.isdecimal():
        raise CannotStart(f"unable to find user {name}: no matching entries in passwd file", "check USER and --user")
    uid = _checked(int(row[2]) if row else int(name))
    gid = int(row[3]) if row else 0
    home = (row[5] if row else "") or "/"
    if group:
        gid = _find_group(root, group)
        return ContainerUser(uid, gid, _numbers(root, {gid}, further), home)
    members = [r for r in _rows(root, "etc/group", 4) if row and row[0] in r[3].split(",")]
    return ContainerUser(uid, gid, _numbers(root, {gid, *(int(r[2]) for r in members)}, further), home)


def _numbers(root: Root, own: set[int], further: tuple[str, ...]) -> tuple[int, ...]:
    return tuple(sorted(own | {_find_group(root, text) for text in further}))


def _find_group(root: Root, text: str) -> int:
    row = next((row for row in _rows(root, "etc/group", 4) if row[0] == text), None)
    if row is not None:
        return int(row[2])
    if not text.isdecimal():
        raise CannotStart(f"unable to find group {text}: no matching entries in group file", "check USER and --user")
    return _checked(int(text))


def _checked(number: int) -> int:
    if number > _LARGEST_ID:
        raise CannotStart(f"{number} is out of the range of user and group numbers")
    return number


def _is(text: str, number: str) -> bool:
    return text.isdecimal() and int(text) == int(number)


def _rows(root: Root, path: str, columns: int) -> Iterator[list[str]]:
    """Yield the well-formed rows of a table of the image; none when it has no such file."""
    try:
        text = root.read(path, _LARGEST_FILE).decode("utf-8", "replace")
    except OSError:
        return
    for line in text.splitlines():
        row = line.strip().split(":")
        if len(row) >= columns and all(row[i].isdecimal() for i in ((2, 3) if columns == 7 else (2,))):
            yield row
