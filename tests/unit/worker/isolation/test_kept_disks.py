"""Which disks a worker keeps between builds."""

from __future__ import annotations

import os
import time
from pathlib import Path

from hythe.worker.isolation.kept_disks import MAX_AGE, KeptDisks

MIB = 1 << 20


def keep(folder: Path, account: str, key: str, size: int, age: int, *, empty: int = 0) -> Path:
    """Create a disk that takes ``size`` bytes, and looks ``empty`` bytes larger; it was used ``age`` seconds ago."""
    image = folder / account / f"{key}.img"
    image.parent.mkdir(parents=True, exist_ok=True)
    with image.open("wb") as file:
        file.write(os.urandom(size))
        file.truncate(size + empty)
    os.utime(image, (time.time() - age,) * 2)
    return image


def left(folder: Path) -> list[str]:
    """Return the keys of the disks that are left."""
    return sorted(path.stem for path in folder.rglob("*.img"))


def test_the_least_recently_used_disks_of_an_account_go_first(tmp_path: Path) -> None:
    """Until the rest fits into the account's limit; other accounts keep theirs."""
    keep(tmp_path, "ann", "1-old", MIB, 300)
    keep(tmp_path, "ann", "1-new", MIB, 100)
    keep(tmp_path, "ann", "1-middle", MIB, 200)
    keep(tmp_path, "bea", "2-oldest", MIB, 900)

    KeptDisks(tmp_path).limit("ann", 2 * MIB + 100_000)

    assert left(tmp_path) == ["1-middle", "1-new", "2-oldest"]


def test_the_size_of_a_disk_is_what_it_takes(tmp_path: Path) -> None:
    """Not the size of its file system."""
    keep(tmp_path, "ann", "1-sparse", MIB, 100, empty=1 << 34)

    KeptDisks(tmp_path).limit("ann", 2 * MIB)
    kept = left(tmp_path)
    KeptDisks(tmp_path).limit("ann", MIB // 2)

    assert (kept, left(tmp_path)) == (["1-sparse"], [])


def test_a_disk_in_use_is_not_deleted(tmp_path: Path) -> None:
    """Neither for the limit nor because the hub no longer has its builds; another build does not get it."""
    keep(tmp_path, "ann", "1-used", MIB, 2 * MAX_AGE)
    disks = KeptDisks(tmp_path)

    with disks.use("ann", "1-used") as image, disks.use("ann", "1-used") as second:
        disks.limit("ann", 0)
        disks.delete({"1-used"})
        disks.delete_unused()
        assert image is not None
        assert image.exists()
        assert second is None
    disks.delete_unused()
    assert disks.keys() == ["1-used"]  # it was just used
    disks.delete({"1-used", "1-unknown"})

    assert list((tmp_path / "ann").iterdir()) == []


def test_unused_disks_are_deleted(tmp_path: Path) -> None:
    """After MAX_AGE; a disk that was never created leaves no lock."""
    keep(tmp_path, "ann", "1-unused", MIB, MAX_AGE + 60)
    keep(tmp_path, "ann", "1-used", MIB, MAX_AGE - 60)
    disks = KeptDisks(tmp_path)

    disks.delete_unused()
    with disks.use("bea", "2-never"):
        pass

    assert left(tmp_path) == ["1-used"]
    assert list((tmp_path / "bea").iterdir()) == []
