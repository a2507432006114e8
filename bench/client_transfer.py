"""Compare the client with skopeo, podman and docker: pull and push, cold and with all layers present.

    python -m bench.client_transfer [--rounds 3] [--image large|small|both] [--keep FOLDER]

Two images: a large one (Debian by debootstrap and two layers of files from this machine, over 300 MB compressed) and
one of 40 small layers. All tools use the same registry, Debian's docker-registry, and take turns. Prints medians of
wall time, CPU seconds (docker's include its daemon's) and memory of the called process, then the ratio of hythe to the
fastest other tool. ``--keep FOLDER`` keeps the large image for the next run.

hythe runs in an environment that holds what ``pip install hythe`` installs. The tools differ in what they do: hythe and
skopeo store layers as received; podman and docker unpack them on pull and compress them on push.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.parts.base_images import Layout, debootstrap, many_layers
from tests.parts.docker_registry import DockerRegistry, docker_registry_server
from tests.parts.engines import clean_environment, containers_environment, docker_command, running_dockerd
from tests.parts.process import ROOT, own_folder, processes_naming

CAP = 400 << 20
"""Maximum uncompressed bytes of this machine's files in a layer of the large image."""
MEASURE = """
import os, sys, time
started = time.perf_counter()
pid = os.posix_spawnp(sys.argv[1], sys.argv[1:], os.environ)
_, status, usage = os.wait4(pid, 0)
print()
print(time.perf_counter() - started, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)
sys.exit(os.waitstatus_to_exitcode(status))
"""
"""Starts a command; prints its seconds, CPU seconds and MB. Stays small: a child's peak memory counts from the fork."""
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Cost:
    """What one command cost: seconds, CPU seconds, peak memory in MB."""

    seconds: float
    cpu: float
    memory: float


class Tool:
    """A client with its own image storage."""

    name = ""

    def __init__(self, folder: Path, env: dict[str, str]) -> None:
        self.folder = folder
        self.env = env

    def run(self, *command: str | Path) -> Cost:
        """Run a command and return its cost. Raises SystemExit if it fails."""
        before = self.daemon_cpu()
        measured = [sys.executable, "-S", "-E", "-c", MEASURE, *map(str, command)]
        done = subprocess.run(measured, env=self.env, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{command}: {done.stderr}")
        seconds, cpu, memory = map(float, done.stdout.splitlines()[-1].split())
        return Cost(seconds, cpu + self.daemon_cpu() - before, memory)

    def daemon_cpu(self) -> float:
        """Return the CPU seconds that the tool's daemon has used so far; 0 without a daemon."""
        return 0

    def load(self, layout: Layout, name: str) -> None:
        """Load an image into the tool's storage under the name that it is pushed as."""
        raise NotImplementedError

    def pull(self, name: str) -> Cost:
        """Pull an image."""
        raise NotImplementedError

    def push(self, name: str) -> Cost:
        """Push an image."""
        raise NotImplementedError

    def clear(self) -> None:
        """Empty the storage."""
        raise NotImplementedError


class Hythe(Tool):
    """The hythe command as ``pip install hythe`` installs it."""

    name = "hythe"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, clean_environment(folder) | {"HYTHE_STORE": str(folder / "store")})
        self.env.pop("PYTHONDONTWRITEBYTECODE", None)
        self._command = client_environment(folder / "environment") / "bin" / "hythe"
        self.run(self._command, "images")

    def load(self, layout: Layout, name: str) -> None:
        """Load an image into the store."""
        self.run(self._command, "copy", "-q", f"oci:{layout.folder}", f"store:{name}")

    def pull(self, name: str) -> Cost:
        """Pull an image."""
        return self.run(self._command, "pull", "-q", name)

    def push(self, name: str) -> Cost:
        """Push an image."""
        return self.run(self._command, "push", "-q", name)

    def clear(self) -> None:
        """Empty the store."""
        shutil.rmtree(self.folder / "store", ignore_errors=True)


class Skopeo(Tool):
    """skopeo, which copies to and from an image layout."""

    name = "skopeo"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, containers_environment(folder, "vfs", "runc"))

    def load(self, layout: Layout, name: str) -> None:
        """Load an image into the layout."""
        self.run("skopeo", "copy", "-q", layout.source(), f"oci:{self.folder}/images:x")

    def pull(self, name: str) -> Cost:
        """Pull an image."""
        source = f"docker://{name}"
        return self.run("skopeo", "copy", "-q", "--src-tls-verify=false", source, f"oci:{self.folder}/images:x")

    def push(self, name: str) -> Cost:
        """Push an image."""
        target = f"docker://{name}"
        return self.run("skopeo", "copy", "-q", "--dest-tls-verify=false", f"oci:{self.folder}/images:x", target)

    def clear(self) -> None:
        """Empty the layout."""
        shutil.rmtree(self.folder / "images", ignore_errors=True)


class Podman(Tool):
    """podman with the overlay driver."""

    name = "podman"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, containers_environment(folder, "overlay", "runc"))

    def load(self, layout: Layout, name: str) -> None:
        """Load an image into the storage."""
        self.run("podman", "pull", "-q", layout.source())
        listed = ["podman", "images", "-q"]
        image = subprocess.run(listed, env=self.env, capture_output=True, text=True, check=True).stdout.split()[0]
        self.run("podman", "tag", image, name)

    def pull(self, name: str) -> Cost:
        """Pull an image."""
        return self.run("podman", "pull", "-q", "--tls-verify=false", name)

    def push(self, name: str) -> Cost:
        """Push an image."""
        return self.run("podman", "push", "-q", "--tls-verify=false", name)

    def clear(self) -> None:
        """Remove all images."""
        self.run("podman", "rmi", "--all", "--force")


class Docker(Tool):
    """docker with its own daemon."""

    name = "docker"

    def __init__(self, folder: Path, socket: Path, daemon: Path) -> None:
        super().__init__(folder, clean_environment(folder) | {"DOCKER_HOST": f"unix://{socket}"})
        self._daemon = daemon
        self._command = docker_command()

    def daemon_cpu(self) -> float:
        """Return the CPU seconds of dockerd and containerd."""
        ticks = 0
        for pid in processes_naming(str(self._daemon)):
            with contextlib.suppress(OSError):
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                ticks += int(fields[11]) + int(fields[12])
        return ticks / TICKS

    def load(self, layout: Layout, name: str) -> None:
        """Load an image into the daemon."""
        with tempfile.NamedTemporaryFile(suffix=".tar") as file:
            Path(file.name).unlink()
            subprocess.run(["skopeo", "copy", "-q", layout.source(), f"docker-archive:{file.name}:{name}"], check=True)
            self.run(self._command, "load", "-i", file.name)
            Path(file.name).touch()

    def pull(self, name: str) -> Cost:
        """Pull an image."""
        return self.run(self._command, "pull", "-q", name)

    def push(self, name: str) -> Cost:
        """Push an image."""
        return self.run(self._command, "push", "-q", name)

    def clear(self) -> None:
        """Remove all images."""
        self.run(self._command, "image", "prune", "--all", "--force")


def client_environment(folder: Path) -> Path:
    """Create an environment with what ``pip install hythe`` installs, without server packages; return its folder."""
    uv = shutil.which("uv") or str(next((ROOT / ".cache/uv").glob("**/bin/uv")))
    subprocess.run([uv, "venv", "-q", "--python", sys.executable, folder], check=True)
    subprocess.run([uv, "pip", "install", "-q", "--python", folder / "bin" / "python", ROOT], check=True)
    return folder


def large_image(folder: Path) -> Layout:
    """Build Debian with debootstrap and add two layers of this machine's files, unless the folder holds the image."""
    exists = (folder / "index.json").exists()
    layout = Layout(folder)
    if exists:
        return layout
    with own_folder("debootstrap") as work:
        debootstrap(work / "debian.tar")
        layers = [(work / "debian.tar").read_bytes()]
    layers += [packed_files(Path(place)) for place in ("/usr/lib/x86_64-linux-gnu", "/usr/share")]
    layout.tag(layout.add_image(layers), "latest")
    return layout


def packed_files(folder: Path) -> bytes:
    """Return a tar of the files below a folder, sorted by path, up to CAP bytes of content."""
    buffer, room = io.BytesIO(), CAP
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and not path.is_symlink() and path.stat().st_size <= room:
                room -= path.stat().st_size
                archive.add(path)
    return buffer.getvalue()


def rounds_of(tools: list[Tool], layout: Layout, rounds: int) -> dict[str, dict[str, list[Cost]]]:
    """Let the tools take turns; return the costs by case and tool."""
    costs: dict[str, dict[str, list[Cost]]] = {}
    with docker_registry_server() as source:
        target = f"docker://{source.host}/bench/image:1"
        subprocess.run(["skopeo", "copy", "-q", "--dest-tls-verify=false", layout.source(), target], check=True)
        for _ in range(rounds):
            for tool in tools:
                for case, cost in one_round(tool, layout, source):
                    costs.setdefault(case, {}).setdefault(tool.name, []).append(cost)
                    print(f"{tool.name}, {case}: {cost}", file=sys.stderr, flush=True)
    return costs


def one_round(tool: Tool, layout: Layout, source: DockerRegistry) -> Iterator[tuple[str, Cost]]:
    """Yield the cost of each case."""
    tool.clear()
    name = f"{source.host}/bench/image:1"
    yield "pull, cold", tool.pull(name)
    yield "pull, all present", tool.pull(name)
    with docker_registry_server() as empty:
        name = f"{empty.host}/bench/image:1"
        tool.clear()
        tool.load(layout, name)
        yield "push, cold", tool.push(name)
        yield "push, all present", tool.push(name)


def print_costs(title: str, costs: dict[str, dict[str, list[Cost]]]) -> None:
    """Print a table in the form of docs/performance.md."""
    print(f"\n{title}\n\n| | " + " | ".join(next(iter(costs.values()))) + " | hythe to the fastest other |")
    print("|---|" + "---|" * (len(next(iter(costs.values()))) + 1))
    for case, by_tool in costs.items():
        cells = []
        medians = {name: statistics.median(cost.seconds for cost in several) for name, several in by_tool.items()}
        for name, several in by_tool.items():
            cpu = statistics.median(cost.cpu for cost in several)
            memory = statistics.median(cost.memory for cost in several)
            cells.append(f"{medians[name]:.2f} s, {cpu:.2f} CPU, {memory:.0f} MB")
        ratio = medians["hythe"] / min(seconds for name, seconds in medians.items() if name != "hythe")
        print(f"| {case} | " + " | ".join(cells) + f" | {ratio:.2f} |", flush=True)


def main() -> None:
    """Run all measurements and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--keep", type=Path, default=None)
    parser.add_argument("--image", choices=("large", "small", "both"), default="both")
    arguments = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folders = [stack.enter_context(own_folder(name)) for name in ("images", "hythe", "skopeo", "podman", "docker")]
        daemon = stack.enter_context(running_dockerd())
        tools = [
            Hythe(folders[1]),
            Skopeo(folders[2]),
            Podman(folders[3]),
            Docker(folders[4], daemon.socket, daemon.folder),
        ]
        if arguments.image in ("small", "both"):
            print_costs("40 small layers", rounds_of(tools, many_layers(folders[0] / "small"), arguments.rounds))
        if arguments.image in ("large", "both"):
            layout = large_image(arguments.keep or folders[0] / "large")
            size = sum(path.stat().st_size for path in (layout.folder / "blobs/sha256").iterdir()) >> 20
            print_costs(f"Three layers, {size} MB", rounds_of(tools, layout, arguments.rounds))


if __name__ == "__main__":
    main()
