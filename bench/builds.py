"""Trusted Builds beside the bare git, buildah and push of the same commit, from the trigger to the moved tag.

    python -m bench.builds [--rounds 5]

Each round commits a change in the last step, so all but one layer are cached, and runs both one after the other: the
Trusted Build, and `git clone`, `buildah build --layers`, `buildah push` by hand as root, uncontained. Printed
are medians of the wall time, the build's own steps, and the answers of the hub while a build runs.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import tempfile
import threading
import time
from pathlib import Path

from tests.builds.house import FAST, PASSWORD, USER, House
from tests.parts.git_server import GitRepository, running_git_server
from tests.parts.hub import HUB, server_factory
from tests.parts.process import clear_away, own_folder

DOCKERFILE = "FROM scratch\nADD rootfs.tar /\nRUN echo layer > /one\nCOPY change /\nRUN cat /change > /two\n"


def by_hand(source: GitRepository, folder: Path, target: str) -> float:
    """Clone, build with a kept cache and push; returns the seconds."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(dir=folder) as work:
        subprocess.run(["git", "clone", "-q", "--depth=1", source.url, f"{work}/src"], check=True)
        buildah = [
            "buildah",
            "--root",
            f"{folder}/storage",
            "--runroot",
            f"{folder}/run",
            "--storage-driver",
            "overlay",
        ]
        build = [*buildah, "build", "--isolation", "chroot", "--layers", "-t", target, f"{work}/src"]
        subprocess.run(build, check=True, capture_output=True)
        push = [*buildah, "push", "--tls-verify=false", "--creds", f"{USER}:{PASSWORD}", target]
        subprocess.run(push, check=True, capture_output=True)
    return time.perf_counter() - began


def trusted(house: House, path: str) -> tuple[float, dict[str, float]]:
    """Trigger a build and wait for the moved tag; returns the seconds, and those of each step."""
    began = time.perf_counter()
    [number] = house.trigger(path)
    build = house.built(path, number)
    return time.perf_counter() - began, {step["name"]: step["seconds"] for step in build["steps"]}


def answers_meanwhile(house: House, path: str) -> float:
    """Trigger a build and ask the hub again and again until it is over; returns the slowest hundredth, in ms."""
    [number] = house.trigger(path)
    times: list[float] = []
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            began = time.perf_counter()
            house.call("GET", "/v1/_ping", user="")
            times.append(time.perf_counter() - began)

    asking = threading.Thread(target=ask)
    asking.start()
    house.built(path, number)
    over.set()
    asking.join()
    return sorted(times)[int(len(times) * 0.99)] * 1000


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    with own_folder("bench") as folder, server_factory(folder, HUB) as start, running_git_server(folder / "git") as git:
        hub = start(env=FAST)
        hub.create_user(USER, PASSWORD)
        house = House(hub, git)
        source = house.source("bench", {"Dockerfile": DOCKERFILE, "change": "0"})
        path = house.set_up("bench", source)
        target = f"{hub.host}/{USER}/by-hand:latest"
        trusted(house, path)
        by_hand(source, folder, target)
        ours, theirs, steps = [], [], []
        for number in range(rounds):
            source.commit({"change": str(number + 1)})
            total, parts = trusted(house, path)
            ours.append(total)
            steps.append(parts)
            theirs.append(by_hand(source, folder, target))
        print(f"trusted build, warm cache      {statistics.median(ours):6.2f} s")
        for name in steps[0]:
            print(f"  {name:<28} {statistics.median(step[name] for step in steps):6.2f} s")
        print(f"clone, build, push by hand     {statistics.median(theirs):6.2f} s")
        print(f"overhead                       {statistics.median(ours) - statistics.median(theirs):6.2f} s")
        print(f"slowest 1 % of answers while a build runs {answers_meanwhile(house, path):6.1f} ms")
        hub.stop()
        clear_away(folder)


if __name__ == "__main__":
    main()
