"""Compare a Trusted Build, from the webhook to the moved tag, with git, buildah and push by hand.

    python -m bench.builds [--rounds 5]

Each round commits a change in the last step, so all layers but one come from the cache. It then runs the Trusted Build,
started by a webhook signed as GitHub signs it, and ``git clone``, ``buildah build --layers``, ``buildah push`` as root
without a sandbox. Prints medians of the wall time and of the build's steps, and response times of webhooks while a
build runs and while none does.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.builds.forge_hub import Connected, ForgeHub
from tests.builds.services import FAST, PASSWORD, USER, Services
from tests.parts.base_images import busybox_rootfs
from tests.parts.forges import running_forge
from tests.parts.git_server import GitRepository, running_git_server
from tests.parts.hub import HUB, HytheServer, server_factory
from tests.parts.process import clear_away, own_folder

DOCKERFILE = "FROM scratch\nADD rootfs.tar /\nRUN echo layer > /one\nCOPY change /\nRUN cat /change > /two\n"
MAIN = "refs/heads/main"
IDLE_WEBHOOKS = 200


@dataclass(slots=True)
class Bench:
    """A hub and one repository at a forge; the hub builds each push to it."""

    services: Services
    connected: Connected
    folder: Path

    @property
    def source(self) -> GitRepository:
        """The repository that is built."""
        return self.connected.project.git

    def push(self, change: str) -> str:
        """Commit a change and return the commit's id."""
        return self.source.commit({"Dockerfile": DOCKERFILE, "change": change})

    def deliver(self, commit: str) -> int:
        """Send the webhook of a commit and return the number of the build that it queued."""
        [sent] = self.connected.forge.push(self.connected.project, MAIN, commit)
        [number] = sent.reply["builds"]
        return int(number)

    def trusted(self, commit: str) -> tuple[float, dict[str, float]]:
        """Send the webhook, wait for the moved tag, and return the seconds in total and for each step."""
        began = time.perf_counter()
        build = self.services.built(self.connected.path, self.deliver(commit))
        return time.perf_counter() - began, {step["name"]: step["seconds"] for step in build["steps"]}

    def by_hand(self) -> float:
        """Clone, build with a warm cache and push; return the seconds."""
        began = time.perf_counter()
        target = f"{self.services.hub.host}/{USER}/by-hand:latest"
        storage = ["--root", f"{self.folder}/storage", "--runroot", f"{self.folder}/run", "--storage-driver", "overlay"]
        with tempfile.TemporaryDirectory(dir=self.folder) as work:
            subprocess.run(["git", "clone", "-q", "--depth=1", self.source.url, f"{work}/src"], check=True)
            for words in (
                ["build", "--isolation", "chroot", "--layers", "-t", target, f"{work}/src"],
                ["push", "--tls-verify=false", "--creds", f"{USER}:{PASSWORD}", target],
            ):
                subprocess.run(["buildah", *storage, *words], check=True, capture_output=True)
        return time.perf_counter() - began

    def webhook_times(self, wanted: Callable[[int], bool]) -> list[float]:
        """Send webhooks of a branch that no rule names while ``wanted(count)`` is true; return the ms of each."""
        times: list[float] = []
        while wanted(len(times)):
            began = time.perf_counter()
            self.connected.forge.push(self.connected.project, "refs/heads/aside", f"{len(times) + 1:040x}")
            times.append((time.perf_counter() - began) * 1000)
        return times

    def webhook_times_during_build(self, commit: str) -> list[float]:
        """Send such webhooks until a build of ``commit`` has ended; return the ms of each."""
        number = self.deliver(commit)
        address = f"{self.connected.path}/builds/{number}"
        unfinished = ("queued", "running")
        return self.webhook_times(
            lambda count: count % 10 != 0 or self.services.call("GET", address)["status"] in unfinished
        )


def report(bench: Bench, rounds: int) -> None:
    """Run all measurements and print the figures."""
    bench.trusted(bench.push("first"))
    bench.by_hand()
    ours, theirs, steps = [], [], []
    for number in range(rounds):
        total, parts = bench.trusted(bench.push(str(number)))
        ours.append(total)
        steps.append(parts)
        theirs.append(bench.by_hand())
    print(f"trusted build, warm cache      {statistics.median(ours):6.2f} s")
    for name in steps[0]:
        print(f"  {name:<28} {statistics.median(step[name] for step in steps):6.2f} s")
    print(f"clone, build, push by hand     {statistics.median(theirs):6.2f} s")
    print(f"overhead                       {statistics.median(ours) - statistics.median(theirs):6.2f} s")
    print_webhooks("webhooks, hub idle", bench.webhook_times(lambda count: count < IDLE_WEBHOOKS))
    print_webhooks("webhooks while a build runs", bench.webhook_times_during_build(bench.push("last")))


def print_webhooks(what: str, times: list[float]) -> None:
    """Print the median and the 99th percentile."""
    slowest = sorted(times)[int(len(times) * 0.99)]
    print(f"{what:<30} {statistics.median(times):6.1f} ms, 99th percentile {slowest:6.1f} ms ({len(times)} sent)")


def set_up(hub: HytheServer, services: Services, forges: ForgeHub, folder: Path) -> Bench:
    """Create the account, link the forge account, and configure the repository's builds and webhook."""
    hub.create_user(USER, PASSWORD)
    bench = Bench(services, forges.connect("github", "bench"), folder)
    (bench.source.work / "rootfs.tar").write_bytes(busybox_rootfs())
    return bench


def main() -> None:
    """Read the flags, start everything, measure."""
    parser = argparse.ArgumentParser(description="Compare Trusted Builds with a build by hand.")
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    with (
        own_folder("bench") as folder,
        server_factory(folder, HUB) as start,
        running_git_server(folder / "git") as git,
        running_forge("github") as forge,
    ):
        hub = start(env={**FAST, "HYTHE_FORGES": forge.setting})
        services = Services(hub, git)
        report(set_up(hub, services, ForgeHub(services, {"github": forge}), folder), rounds)
        hub.stop()
        clear_away(folder)


if __name__ == "__main__":
    main()
