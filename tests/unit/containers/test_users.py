"""The user of a container, from the image's own files."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from hythe.containers.errors import CannotStart
from hythe.containers.root import Root
from hythe.containers.users import ContainerUser, find_user

PASSWD = """root:x:0:0:root:/root:/bin/sh
app:x:1000:1000:app:/home/app:/bin/sh
broken line
123:x:7:8::/odd:/bin/sh
bad:x:nan:0::/:/bin/sh
homeless:x:5:5:::
"""
GROUP = "root:x:0:\napp:x:1000:\nextra:x:2000:app,other\nwheel:x:10:root,app\nbad:x:nan:app\n"


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Root]:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text(PASSWD)
    (tmp_path / "etc/group").write_text(GROUP)
    with Root(tmp_path) as opened:
        yield opened


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ContainerUser(0, 0, (0, 10), "/root")),
        ("root", ContainerUser(0, 0, (0, 10), "/root")),
        ("app", ContainerUser(1000, 1000, (10, 1000, 2000), "/home/app")),
        ("1000", ContainerUser(1000, 1000, (10, 1000, 2000), "/home/app")),
        ("app:extra", ContainerUser(1000, 2000, (2000,), "/home/app")),
        ("app:77", ContainerUser(1000, 77, (77,), "/home/app")),
        ("4711", ContainerUser(4711, 0, (0,), "/")),
        ("4711:4712", ContainerUser(4711, 4712, (4712,), "/")),
        ("123", ContainerUser(7, 8, (8,), "/odd")),
        (":extra", ContainerUser(0, 2000, (2000,), "/root")),
        ("homeless", ContainerUser(5, 5, (5,), "/")),
    ],
)
def test_users(root: Root, text: str, expected: ContainerUser) -> None:
    """Names and IDs, and supplementary groups; a numeric name is looked up as a name first."""
    assert expected == find_user(root, text)


@pytest.mark.parametrize("text", ["nobody", "bad", "app:none", "99999999999", "0:99999999999", "-1"])
def test_unknown_users_are_refused(root: Root, text: str) -> None:
    """A name must have an entry, an ID must be in range."""
    with pytest.raises(CannotStart):
        find_user(root, text)


def test_an_image_without_passwd(tmp_path: Path) -> None:
    """IDs work without entries."""
    with Root(tmp_path) as root:
        assert find_user(root, "5:6") == ContainerUser(5, 6, (6,), "/")
        assert find_user(root, "") == ContainerUser(0, 0, (0,), "/")


def test_files_are_read_inside_the_image(tmp_path: Path) -> None:
    """A link to the host's file is resolved inside the image."""
    image = tmp_path / "image"
    (image / "etc").mkdir(parents=True)
    (tmp_path / "passwd").write_text("evil:x:0:0::/:/bin/sh\n")
    (image / "etc/passwd").symlink_to("../../passwd")
    with Root(image) as root, pytest.raises(CannotStart):
        find_user(root, "evil")
