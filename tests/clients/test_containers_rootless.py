"""Containers without root: in a user namespace, with the subordinate IDs of an ordinary user.

The test mounts the user's account and ranges over /etc/passwd and /etc/subuid in a private mount namespace, and the
project at a path that the user can read, because it may be in root's home.
"""

import os
import stat
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.parts.base_images import Layout, busybox_rootfs
from tests.parts.hythe_containers import ContainersHythe, containers_environment_of
from tests.parts.process import ROOT, missing, own_folder, program

pytestmark = pytest.mark.clients

UID = 54321
VERSION = f"python{sys.version_info.major}.{sys.version_info.minor}"


def python_for_all_users() -> str:
    """A Python of this version that other users can run: the project's may only be readable by root."""
    for path in (Path(sys.executable).resolve(), Path("/usr/bin", VERSION)):
        if path.exists() and all(folder.stat().st_mode & 0o001 for folder in (path, *path.parents)):
            return str(path)
    return missing(f"/usr/bin/{VERSION}", VERSION)


@pytest.fixture
def hythe_user() -> Iterator[ContainersHythe]:
    """`hythe` as an ordinary user."""
    program("newuidmap", "uidmap")
    with own_folder("rootless") as folder:
        for name in ("subuid", "subgid"):
            (folder / name).write_text(f"{UID}:200000:65536\n")
        account = f"tester:x:{UID}:{UID}::{folder}/home:/bin/sh\n"
        (folder / "passwd").write_text(Path("/etc/passwd").read_text() + account)
        layout = Layout(folder / "home" / "store")
        image = layout.add_image([busybox_rootfs({"etc/first": "1\n"})])
        layout.tag(image, "docker.io/library/box:latest")
        os.chown(folder / "home", UID, UID)
        for path in (folder / "home").rglob("*"):
            os.chown(path, UID, UID)
        binds = [f"mount --bind {folder}/{name} /etc/{name}" for name in ("passwd", "subuid", "subgid")]
        tun = folder / "tun"  # which every user can open on most systems, but not in all test machines
        os.mknod(tun, stat.S_IFCHR, os.makedev(10, 200))
        tun.chmod(0o666)
        binds.append(f"mount --bind {tun} /dev/net/tun")
        sources = {"src": ROOT / "src", "packages": Path(sys.prefix) / "lib" / VERSION / "site-packages"}
        for name, source in sources.items():
            (folder / name).mkdir()
            binds.append(f"mount --bind {source} {folder}/{name}")
        script = " && ".join([*binds, 'exec "$@"'])
        become = ["unshare", "--mount", "sh", "-c", script, "sh", program("setpriv", "util-linux")]
        ids = [f"--reuid={UID}", f"--regid={UID}", "--clear-groups"]
        home = folder / "home"
        hythe = [python_for_all_users(), "-m", "hythe.cli.main"]
        tool = ContainersHythe([*become, *ids, *hythe], containers_environment_of(home), home)
        tool.env |= {"PYTHONPATH": f"{folder}/src:{folder}/packages", "PYTHONDONTWRITEBYTECODE": "1"}
        yield tool
        tool.remove_everything()


def test_root_inside_is_the_user_outside(hythe_user: ContainersHythe) -> None:
    """The container's root is the user, and its other users have the user's subordinate IDs."""
    assert hythe_user.ok("run", "--rm", "box", "id", "-u") == "0"
    script = "echo new > /etc/new; /bin/busybox chown 7:8 /etc/new; cat /etc/first"
    assert hythe_user.ok("run", "--name", "work", "box", "sh", "-c", script) == "1"
    [new] = hythe_user.folder.glob("state/containers/*/upper/etc/new")

    assert (new.stat().st_uid, new.stat().st_gid) == (200_006, 200_007)
    assert hythe_user.ok("diff", "work") == "C /etc\nA /etc/new"


def test_committing_and_running_again(hythe_user: ContainersHythe) -> None:
    """An image committed without root has the owners seen inside the container, and runs."""
    script = "echo new > /etc/new; /bin/busybox chown 7:8 /etc/new; rm /etc/first; rm -r /root; mkdir /root"
    hythe_user.ok("run", "--name", "work", "box", "sh", "-c", script)
    hythe_user.ok("commit", "work", "made:1")
    done = hythe_user.run("run", "--rm", "made:1", "sh", "-c", "/bin/busybox stat -c '%u:%g' /etc/new; ls /etc/first")

    assert done.stdout == "7:8\n"
    assert "No such file" in done.stderr
    hythe_user.ok("rm", "work")
    hythe_user.ok("rmi", "made:1", "box")
    assert list(hythe_user.folder.glob("state/layers/sha256/*")) == []


def test_stopping_and_removing(hythe_user: ContainersHythe) -> None:
    """The user can stop and remove a container whose process runs as another user."""
    script = "trap 'exit 3' TERM; while :; do sleep 0.1; done"
    hythe_user.ok("run", "-d", "--name", "one", "-u", "65534", "box", "sh", "-c", script)
    hythe_user.ok("stop", "one")
    assert "Exited (3)" in hythe_user.ok("ps", "-a")
    hythe_user.ok("start", "one")
    hythe_user.ok("rm", "-f", "one")

    assert list(hythe_user.folder.glob("state/containers/*")) == []


def test_networks_and_export(hythe_user: ContainersHythe) -> None:
    """Both networks and export work without root."""
    assert hythe_user.ok("run", "--name", "work", "--network", "none", "box", "ls", "/sys/class/net") == "lo"
    hythe_user.ok("export", "-o", hythe_user.folder / "work.tar", "work")

    assert (hythe_user.folder / "work.tar").stat().st_uid == UID


def test_devices_and_privileged(hythe_user: ContainersHythe) -> None:
    """A device can be mounted with another name; --privileged grants what the user has."""
    script = "mount -t tmpfs none /tmp && echo mounted"

    assert (
        hythe_user.ok("run", "--rm", "--device", "/dev/zero:/dev/other", "box", "sh", "-c", "test -c /dev/other") == ""
    )
    assert hythe_user.ok("run", "--rm", "--privileged", "box", "sh", "-c", script) == "mounted"


def test_limits_need_root(hythe_user: ContainersHythe) -> None:
    """Limits are refused with a reason instead of being ignored."""
    done = hythe_user.run("run", "--rm", "-m", "50m", "box", "true")

    assert done.returncode == 125
    assert "need root" in done.stderr


def test_a_user_without_subordinate_ids_gets_a_hint(hythe_user: ContainersHythe) -> None:
    """The message names the file."""
    (hythe_user.folder.parent / "subuid").write_text("")
    done = replace(hythe_user).run("run", "--rm", "box", "true")
    (hythe_user.folder.parent / "subuid").write_text(f"{UID}:200000:65536\n")

    assert done.returncode == 125
    assert "/etc/subuid" in done.stderr
