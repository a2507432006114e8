"""Supervising a container from start to exit: mounts, runtime, streams, status, cleanup.

The supervisor is the container's parent process. It mounts in a private mount namespace, so the kernel removes the
mounts when supervisor and container end, even after a crash.

    command (run, start -a)  ->  supervise()                       in the command's own process
    command (run -d, start)  ->  supervise_detached()  ->  fork -> supervise()
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

from hythe.containers import linux, namespace, overlay
from hythe.containers.bundle import make_mountpoints, write_bundle
from hythe.containers.container import Container, ContainerState, ContainerStatus
from hythe.containers.errors import CannotStart, ContainerError, StillRunning
from hythe.containers.layers import LayerCache
from hythe.containers.log import LogWriter, timestamp
from hythe.containers.network import check_installed, connect
from hythe.containers.process import start_ticks
from hythe.containers.root import Root
from hythe.containers.runtime import Runtime, find_runtime
from hythe.containers.stdio import Attachment, ContainerStreams, StreamRelay
from hythe.containers.store import ContainerStore
from hythe.containers.terminal import ConsoleSocket, copy_size, raw_input
from hythe.containers.users import find_user
from hythe.containers.volumes import prepare_mounts
from hythe.oci.digest import Digest

DETACHED = Attachment()
OnStarted = Callable[[], None]


def supervise(
    store: ContainerStore, container: Container, attachment: Attachment = DETACHED, started: OnStarted = lambda: None
) -> int:
    """Run the container and return its exit code, or 128 + N if signal N ended it.

    Calls ``started`` once it is running. Raises CannotStart, StillRunning. Moves this process to a new mount namespace,
    so it should do nothing else afterwards.
    """
    with store.supervising(container):
        if store.has_process(container):
            raise StillRunning(f"container {container.name} is running", f"'hythe stop {container.name}' stops it")
        runtime = find_runtime(container.host.runtime, store.folder / "runtime")
        began = timestamp()
        try:
            runtime.delete(container.id)  # left by a crash
            exit_code = _run(store, container, runtime, attachment, started)
        except (ContainerError, OSError) as error:
            code = error.exit_code if isinstance(error, CannotStart) else 125
            status = ContainerStatus(
                ContainerState.CREATED, started=began, finished=timestamp(), exit_code=code, error=str(error)
            )
            store.set_status(container, status)
            raise
        finally:
            runtime.delete(container.id)
        before = store.status(container)
        status = ContainerStatus(
            ContainerState.EXITED, started=before.started, finished=timestamp(), exit_code=exit_code
        )
        store.set_status(container, status)
        return exit_code


def supervise_detached(store: ContainerStore, container: Container, ended: OnStarted = lambda: None) -> None:
    """Run the container in the background; returns once it is running. Raises CannotStart, StillRunning.

    ``ended`` is called in the background process after the container has exited.
    """
    reading, writing = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    if os.fork() == 0:
        os.close(reading)
        _supervise_in_background(store, container, writing, ended)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        report = pipe.read()
    if report:
        problem = json.loads(report)
        raise CannotStart(problem["message"], problem["hint"], problem["exit_code"])


def _supervise_in_background(store: ContainerStore, container: Container, report: int, ended: OnStarted) -> None:
    """Never returns; closes ``report`` once the container is running, or writes the error to it."""
    os.setsid()
    os.chdir("/")
    null = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(null, stream)
    try:
        supervise(store, container, DETACHED, lambda: os.close(report))
        ended()
    except BaseException as error:
        problem = {"message": str(error), "hint": getattr(error, "hint", ""), "exit_code": 125}
        problem["exit_code"] = getattr(error, "exit_code", 125)
        with suppress(OSError):  # already closed: the container was running
            os.write(report, json.dumps(problem).encode())
    finally:
        os._exit(0)


def _run(
    store: ContainerStore, container: Container, runtime: Runtime, attachment: Attachment, started: OnStarted
) -> int:
    folder = store.path(container)
    check_installed(container.host)
    namespace.use_private_mounts()
    linux.become_subreaper()
    with mounted(store, container) as rootfs, Root(rootfs) as root:
        mounts = prepare_mounts(store, container, root)
        write_bundle(folder, container, find_user(root, container.config.user, container.host.groups), mounts)
        with ConsoleSocket() if container.host.terminal else nullcontext() as console:
            process, streams = _create(runtime, folder, container, console)
        connection = connect(container.host, process)
        log = LogWriter(folder / "log.jsonl")
        runtime.start(container.id, folder)
        store.set_status(
            container,
            ContainerStatus(
                ContainerState.RUNNING, process, start_ticks(process), started=timestamp(), ports=connection.ports
            ),
        )
        started()
        with raw_input() if streams.is_terminal and attachment.stdin >= 0 else nullcontext():
            StreamRelay(process, streams, attachment, log).run()
        log.close()
        exit_code = _exit_code(process)
        connection.wait()
        return exit_code


@contextmanager
def mounted(store: ContainerStore, container: Container) -> Iterator[Path]:
    """Mount the container's file system at its ``rootfs`` during the block; yields the path."""
    folder = store.path(container)
    lowers = LayerCache(store.folder / "layers").lowers([Digest.parse(text) for text in container.layers])
    make_mountpoints(folder / "mountpoints")
    _copy_root_mode(lowers, folder / "upper")
    rootfs = folder / "rootfs"
    overlay.mount_overlay([*lowers, folder / "mountpoints"], rootfs, folder / "upper", folder / "work")
    try:
        yield rootfs
    finally:
        with suppress(OSError):
            linux.unmount(rootfs)


def _copy_root_mode(lowers: list[Path], upper: Path) -> None:
    """Copy mode and owner of the image's root to the upper folder, which determines those of the overlay."""
    if lowers and not any(upper.iterdir()):
        status = lowers[-1].stat()
        os.chown(upper, status.st_uid, status.st_gid)
        upper.chmod(status.st_mode & 0o7777)


def _create(
    runtime: Runtime, folder: Path, container: Container, console: ConsoleSocket | None
) -> tuple[int, ContainerStreams]:
    """Create the container with the runtime; returns its first process and our ends of its streams."""
    if console is not None:
        process = runtime.create(container.id, folder, (subprocess.DEVNULL,) * 3, console.path)
        terminal = console.receive()
        os.set_blocking(terminal, False)
        copy_size(terminal)
        return process, ContainerStreams(terminal, terminal, -1, is_terminal=True)
    output, errors = os.pipe(), os.pipe()
    source = os.pipe() if container.host.interactive else (os.open(os.devnull, os.O_RDONLY), -1)
    try:
        process = runtime.create(container.id, folder, (source[0], output[1], errors[1]), None)
    finally:
        for descriptor in (source[0], output[1], errors[1]):
            os.close(descriptor)
    return process, ContainerStreams(source[1], output[0], errors[0])


def _exit_code(process: int) -> int:
    _, status = os.waitpid(process, 0)
    code = os.waitstatus_to_exitcode(status)
    return 128 - code if code < 0 else code
