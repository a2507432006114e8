"""The containers on disk: names, states, locks, removal."""

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from hythe.containers.container import Container, ContainerState, ContainerStatus
from hythe.containers.errors import ContainerError, NameTaken, NoSuchContainer, NotRemoved, StillRunning
from hythe.containers.names import new_id, new_name, parse_container_name
from hythe.containers.process import start_ticks
from hythe.containers.store import LOST_EXIT_CODE, ContainerStore, default_folder
from hythe.oci.config import ContainerConfig


@pytest.fixture
def store(tmp_path: Path) -> ContainerStore:
    return ContainerStore(tmp_path / "state")


def made(store: ContainerStore, name: str, created: str = "2026", container_id: str = "") -> Container:
    container = Container(container_id or new_id(), name, created, "box", "", "", (), ContainerConfig())
    store.add(container)
    return container


def test_containers_are_found(store: ContainerStore) -> None:
    """By name, ID, or unique ID prefix; the newest is listed first."""
    one = made(store, "one", "2025", "a1" * 32)
    two = made(store, "two", "2026", "a2" * 32)

    assert [store.find(text) for text in ("one", one.id, "a1", one.id[:12])] == [one] * 4
    assert store.all() == (two, one)
    with pytest.raises(ContainerError, match="several"):
        store.find("a")
    for text in ("three", "", "../one", "b"):
        with pytest.raises(NoSuchContainer):
            store.find(text)


def test_a_name_is_unique(store: ContainerStore) -> None:
    """Until its container is removed; a failed attempt leaves nothing."""
    one = made(store, "one")
    with pytest.raises(NameTaken):
        made(store, "one")
    assert len(list((store.folder / "containers").iterdir())) == 1
    store.remove(one)

    assert made(store, "one").name == "one"


def test_a_name_left_by_a_crash_is_free(store: ContainerStore) -> None:
    """A name without a container is ignored."""
    (store.folder / "names").mkdir(parents=True)
    (store.folder / "names" / "one").symlink_to("gone")

    assert store.find(made(store, "one").name)


def test_names_are_unique_among_many_processes(store: ContainerStore) -> None:
    """Of several concurrent attempts, one succeeds."""
    script = """
import sys
from pathlib import Path
from hythe.containers.container import Container
from hythe.containers.errors import NameTaken
from hythe.containers.names import new_id
from hythe.containers.store import ContainerStore
from hythe.oci.config import ContainerConfig
try:
    ContainerStore(Path(sys.argv[1])).add(Container(new_id(), "one", "", "", "", "", (), ContainerConfig()))
    print("got it")
except NameTaken:
    print("taken")
"""
    words = [sys.executable, "-c", script, str(store.folder)]
    processes = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for _ in range(5)]

    assert sorted(process.communicate()[0] for process in processes) == ["got it\n", *["taken\n"] * 4]
    assert len(store.all()) == 1


def test_states(store: ContainerStore) -> None:
    """The recorded status is valid unless the process ended without a supervisor."""
    container = made(store, "one")
    with subprocess.Popen(["sleep", "100"]) as process:
        running = ContainerStatus(ContainerState.RUNNING, process.pid, start_ticks(process.pid), "2026")
        assert store.status(container) == ContainerStatus()
        store.set_status(container, running)
        assert store.status(container) == running
        assert store.has_process(container)
        with pytest.raises(StillRunning):
            store.remove(container)
        process.kill()
    lost = store.status(container)

    assert (lost.state, lost.exit_code) == (ContainerState.EXITED, LOST_EXIT_CODE)
    assert not store.has_process(container)


def test_another_process_with_the_same_pid(store: ContainerStore) -> None:
    """After a reboot, a PID alone does not identify the process."""
    container = made(store, "one")
    with subprocess.Popen(["sleep", "100"]) as process:
        store.set_status(
            container, ContainerStatus(ContainerState.RUNNING, process.pid, start_ticks(process.pid) + 1, "2026")
        )
        assert store.status(container).state is ContainerState.EXITED
        process.kill()


def test_one_process_supervises(store: ContainerStore) -> None:
    """A second one is refused, and every process can see that there is one."""
    container = made(store, "one")
    with store.supervising(container):
        assert store.is_supervised(container)
        with pytest.raises(StillRunning), store.supervising(container):
            pass
        with pytest.raises(StillRunning):
            store.remove(container)

    assert not store.is_supervised(container)


def test_removal_leaves_nothing(store: ContainerStore) -> None:
    """Folder and name are removed; removing it again is an error; leftovers of others are removed too."""
    container = made(store, "one")
    (store.folder / "removed" / "half").mkdir(parents=True)
    store.remove(container)

    assert store.all() == ()
    assert list((store.folder / "names").iterdir()) == []
    assert list((store.folder / "removed").iterdir()) == []
    with pytest.raises(NoSuchContainer):
        store.remove(container)


def test_a_container_being_created_is_not_listed(store: ContainerStore) -> None:
    """A folder without a record is not a container yet."""
    (store.folder / "containers" / new_id()).mkdir(parents=True)

    assert store.all() == ()


def test_values_survive_the_disk(store: ContainerStore) -> None:
    """A container is read as it was written."""
    container = made(store, "one")

    assert store.find("one") == container
    assert msgspec.json.decode(msgspec.json.encode(container), type=Container) == container


def test_names() -> None:
    """Random names are valid; invalid ones are refused."""
    assert parse_container_name(new_name())
    for text in ("", "a", "-a", "a b", "a/b", "x" * 129, "ä1"):
        with pytest.raises(ContainerError):
            parse_container_name(text)


def test_the_folder(tmp_path: Path) -> None:
    """The variable, else the data folder."""
    assert default_folder({"HYTHE_STATE": str(tmp_path)}) == tmp_path
    assert default_folder({"XDG_DATA_HOME": "/data"}) == Path("/data/hythe/containers")
    assert default_folder({"HOME": "/home/ada"}) == Path("/home/ada/.local/share/hythe/containers")


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts")
def test_a_failed_removal_is_reported_and_retried(store: ContainerStore) -> None:
    """A mount inside a container is reported; other containers are removed, and this one once it can be."""
    stuck, other = made(store, "stuck"), made(store, "other")
    mounted = store.path(stuck) / "mounted"
    mounted.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", mounted], check=True)

    try:
        with pytest.raises(NotRemoved, match="cannot remove"):
            store.remove(stuck)
        store.remove(other)
        [left] = (store.folder / "removed").iterdir()
    finally:
        [moved] = (store.folder / "removed").glob("*/mounted")
        subprocess.run(["umount", moved], check=True)
    store.remove(made(store, "third"))

    assert left.name.startswith(stuck.id)
    assert not list((store.folder / "removed").iterdir())
