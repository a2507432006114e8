"""A sandbox: runs the commands of a build in their own namespaces, within limits.

Processes inside are root of a user namespace but unprivileged on the host. They see the host's programs and libraries
(read-only), their work folder at ``/work``, their own processes, and the network they were given.
"""

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from hythe.egress.policy import EgressPolicy
from hythe.worker.errors import BuildStopped, IsolationUnavailable, LimitReached
from hythe.worker.isolation.cgroup import ControlGroup
from hythe.worker.isolation.disk import Disk
from hythe.worker.isolation.id_mapping import IdMapping
from hythe.worker.isolation.port_forward import ForwardedPort, PortForward
from hythe.worker.isolation.routes import loopback_forwards, network_commands, own_networks
from hythe.worker.isolation.slirp import start_slirp
from hythe.worker.protocol import Network

VIEW = Path(__file__).with_name("view.sh").read_text()
"""The script that sets up the file system view; passed as text, because processes inside cannot read our files."""
MAX_LINE_LENGTH = 64 * 1024
_START_TIMEOUT = 20
_INSIDE = "exec setpriv --pdeathsig KILL --reuid 0 --regid 0 --clear-groups -- unshare --mount --pid --net --ipc --uts \
--cgroup --fork --kill-child=KILL --propagation private "
_MOVE_FOLDERS = """mount -t tmpfs -o mode=755,size=1m hythe /mnt && mkdir /mnt/root /mnt/work /mnt/images \
&& mount --bind "$1" /mnt/work \
&& { [ -z "$2" ] || { mount --bind "$2" /mnt/images && mount -o remount,bind,ro,nodev /mnt/images; }; } \
&& shift 2 && exec "$@\""""
"""A root worker's data folder is not accessible to others: a separate mount namespace moves the folders to a place that
root inside can reach. As the images are mounted read-only before its user namespace exists, root inside cannot change
that.
"""
_START = "read go || exit 1; " + _INSIDE + '-- sh -c "$@"'
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/work/home",
    "TMPDIR": "/work/tmp",
    "XDG_RUNTIME_DIR": "/work/home",
    "LANG": "C.UTF-8",
}


class NetworkAccess(msgspec.Struct, frozen=True):
    """The network of a command: ``network`` OPEN obeys the egress policy; ``forwards`` are port forwards."""

    network: Network = Network.OFF
    forwards: tuple[ForwardedPort, ...] = ()
    hosts: tuple[tuple[str, str], ...] = ()
    """(address, name) for its /etc/hosts."""


NO_NETWORK = NetworkAccess()
"""No network."""


class ProcessResult(msgspec.Struct, frozen=True):
    """The result of a command: its exit code and the last lines of its output."""

    code: int
    last_lines: tuple[str, ...]


class Sandbox:
    """Runs the commands of one build, one after the other."""

    def __init__(
        self,
        ids: IdMapping,
        disk: Disk,
        group: ControlGroup | None,
        *,
        owns_group: bool = True,
        deadline: float,
        limit: int,
        egress: EgressPolicy,
        hardened_network: bool = True,
    ) -> None:
        """Limit the sandbox to ``deadline`` (``time.monotonic``), ``limit`` seconds after its start.

        ``owns_group``: whether ``close`` deletes the group; otherwise this process is in it.
        ``egress`` decides what the network OPEN reaches; ``hardened_network``: see ``start_slirp``.
        """
        self.disk = disk
        self.images: Path | None = None
        """The folder on the host that processes see read-only as ``/images``, if any."""
        self._ids = ids
        self._group = group
        self._owns_group = owns_group
        self._deadline = deadline
        self._limit = limit
        self._egress = egress
        self._hardened_network = hardened_network
        self._running: subprocess.Popen[bytes] | None = None
        self._stop = threading.Event()
        self._root = disk.folder.parent / f"{disk.folder.name}.root"
        self._root.mkdir(exist_ok=True)
        os.chown(self._root, ids.owner, ids.owner)

    @property
    def work(self) -> Path:
        """The path of ``/work`` on the host."""
        return self.disk.folder

    def chown(self, *paths: Path) -> None:
        """Make root inside the owner of files that the worker wrote."""
        for path in paths:
            os.lchown(path, self._ids.owner, self._ids.owner)

    def stop(self) -> None:
        """Kill running commands and start no more. Thread-safe."""
        self._stop.set()
        self._kill()

    def wait_for_end(self, wait: float) -> bool:
        """Wait some seconds; return whether the build was stopped."""
        return self._stop.wait(wait) or time.monotonic() > self._deadline

    def require_running(self) -> None:
        """Check that the build may continue. Raises BuildStopped, LimitReached."""
        if self._stop.is_set():
            raise BuildStopped
        if time.monotonic() > self._deadline:
            raise LimitReached(f"it took longer than its {self._limit} seconds")

    def _kill(self) -> None:
        process = self._running
        if process is not None and process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)

    def run(
        self,
        command: Sequence[str],
        on_line: Callable[[str], None],
        *,
        access: NetworkAccess = NO_NETWORK,
        environment: Mapping[str, str] | None = None,
        folder: str = "/work",
    ) -> ProcessResult:
        """Run a command inside until it ends, passing its output lines to ``on_line``.

        Raises LimitReached if it exceeded a limit, BuildStopped after ``stop``, IsolationUnavailable if it cannot
        start.
        """
        if self._stop.is_set():
            raise BuildStopped
        access, commands = self._set_up_network(access)
        process = self._start(["env", "-C", folder, *command], access, commands, environment or {})
        self._running = process
        forwards: list[PortForward] = []
        network_process: subprocess.Popen[bytes] | None = None
        watcher = threading.Thread(target=self._watch, args=(process,), daemon=True)
        try:
            self._enter(process)
            forwards = [PortForward(process.pid, port) for port in access.forwards]
            if access.network is Network.OPEN:
                network_process = start_slirp(process.pid, hardened=self._hardened_network)
            watcher.start()
            last = _read_lines(process, on_line)
            code = process.wait()
        finally:
            self._kill()
            process.wait()
            for forward in forwards:
                forward.close()
            if network_process is not None:
                network_process.kill()
                network_process.wait()
        self._require_within_limits(code)
        return ProcessResult(code, last)

    def close(self, *, keep: bool) -> None:
        """Kill everything and release the disk; with ``keep`` its content stays for the next build."""
        self.stop()
        if self._group is not None:
            self._group.close() if self._owns_group else self._group.end_steps()
        self.disk.close(keep=keep)
        with contextlib.suppress(OSError):
            self._root.rmdir()

    def _set_up_network(self, access: NetworkAccess) -> tuple[NetworkAccess, str]:
        """Return the access with the port forwards of the egress policy, and the commands that set up its routes."""
        if access.network is not Network.OPEN:
            return access, ""
        policy = self._egress.with_names_resolved()
        taken = {(each.address, each.port) for each in access.forwards}
        added = [each for each in loopback_forwards(policy) if (each.address, each.port) not in taken]
        forwards = (*access.forwards, *dict.fromkeys(added))
        return msgspec.structs.replace(access, forwards=forwards), network_commands(policy, own_networks())

    def _start(
        self, command: Sequence[str], access: NetworkAccess, commands: str, environment: Mapping[str, str]
    ) -> subprocess.Popen[bytes]:
        hosts = "\n".join(f"{address} {name}" for address, name in access.hosts)
        work, images = self.disk.folder, str(self.images) if self.images else ""
        inside = ["unshare", "--user", "--keep-caps", "--", "sh", "-c", _START, "sh", VIEW, "view"]
        rest = [hosts, access.network.value, commands, *command]
        if os.geteuid() == 0:
            wrapper = ["unshare", "--mount", "--propagation", "private", "--", "sh", "-ec", _MOVE_FOLDERS, "sh"]
            folders = ["/mnt/root", "/mnt/work", "/mnt/images" if images else ""]
            command_line = [*wrapper, str(work), images, *inside, *folders, *rest]
        else:
            command_line = [*inside, str(self._root), _for_fstab(str(work)), _for_fstab(images), *rest]
        return subprocess.Popen(
            command_line,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=ENVIRONMENT | dict(environment),
            start_new_session=True,
        )

    def _enter(self, process: subprocess.Popen[bytes]) -> None:
        """Once the process has its user namespace, set its limits and IDs, then let it continue."""
        if process.stdin is None:
            raise IsolationUnavailable("the sandbox has no stdin")
        _await_new_namespace(process, "user")
        if self._group is not None:
            self._group.add(process.pid)
        self._ids.write_maps(process.pid)
        process.stdin.write(b"\n")
        process.stdin.close()
        _await_new_namespace(process, "net")

    def _watch(self, process: subprocess.Popen[bytes]) -> None:
        """Kill the process when its time is over or its disk is full."""
        while process.poll() is None:
            if time.monotonic() > self._deadline or self._stop.is_set() or self.disk.problem():
                self._kill()
                return
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.5)

    def _require_within_limits(self, code: int) -> None:
        if code or self._stop.is_set():
            self.require_running()
        if code == 0:
            return
        problem = self.disk.problem() or (self._group.problem() if self._group else "")
        if problem:
            raise LimitReached(problem)


def _for_fstab(path: str) -> str:
    return path.replace("\\", r"\134").replace(" ", r"\040").replace("\t", r"\011").replace("\n", r"\012")


def _await_new_namespace(process: subprocess.Popen[bytes], kind: str) -> None:
    own = Path(f"/proc/self/ns/{kind}").readlink()
    give_up = time.monotonic() + _START_TIMEOUT
    while time.monotonic() < give_up:
        if process.poll() is not None:
            problem = process.stdout.read(2000).decode(errors="replace").strip() if process.stdout else ""
            raise IsolationUnavailable(f"the sandbox did not start: {problem or process.returncode}")
        with contextlib.suppress(OSError):
            if Path(f"/proc/{process.pid}/ns/{kind}").readlink() != own:
                return
        time.sleep(0.002)
    raise IsolationUnavailable(f"the sandbox got no {kind} namespace within {_START_TIMEOUT} s")


def _read_lines(process: subprocess.Popen[bytes], on_line: Callable[[str], None]) -> tuple[str, ...]:
    last: list[str] = []
    if process.stdout is None:
        return ()
    while chunk := process.stdout.readline(MAX_LINE_LENGTH):
        line = chunk.decode(errors="replace").rstrip("\r\n")
        last = [*last[-39:], line]
        on_line(line)
    return tuple(last)
