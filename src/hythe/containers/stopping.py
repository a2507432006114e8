"""Stopping containers: a signal, some patience, then SIGKILL."""

import signal
import time

from hythe.containers.container import Container, State
from hythe.containers.errors import ContainerError, InvalidOption
from hythe.containers.process import is_alive, send_signal
from hythe.containers.runtime import clear_away
from hythe.containers.store import ContainerStore

_POLL = 0.02  # seconds
_KILL_PATIENCE = 10.0  # seconds


def parse_signal(text: str) -> int:
    """Return the signal with a name, ``SIG`` in front or not, or a number; raises InvalidOption.

    Images of systemd stop by ``SIGRTMIN+3``.
    """
    name, plus, offset = text.upper().removeprefix("SIG").partition("+")
    number = int(name) if name.isdecimal() else signal.Signals.__members__.get(f"SIG{name}", 0)
    if plus:
        number = signal.SIGRTMIN + int(offset) if name == "RTMIN" and offset.isdecimal() else 0
    if not 0 < number <= signal.SIGRTMAX:
        raise InvalidOption(f"unknown signal {text!r}", "'kill -l' lists them")
    return int(number)


def stop(store: ContainerStore, container: Container, patience: float = 10.0, name: str = "") -> None:
    """Send the container its stop signal (or the one called ``name``), and SIGKILL after ``patience`` seconds.

    Returns when it has ended and its supervisor has written that down. Raises ContainerError when it cannot be ended.
    """
    number = parse_signal(name) if name else _own_signal(container)
    if _ends(store, container, number, patience):
        return
    if not _ends(store, container, signal.SIGKILL, _KILL_PATIENCE):
        raise ContainerError(f"container {container.name} does not end", "its process hangs in the kernel")


def _own_signal(container: Container) -> int:
    """Return what the image wants to be stopped by; SIGTERM for an unknown signal, as docker does."""
    try:
        return parse_signal(container.config.stop_signal or "SIGTERM")
    except InvalidOption:
        return signal.SIGTERM


def kill(store: ContainerStore, container: Container) -> None:
    """End the container at once, and take away what a crash of its supervisor may have left."""
    stop(store, container, 0, "SIGKILL")
    clear_away(container.id, container.host.runtime, store.folder / "runtime")


def _ends(store: ContainerStore, container: Container, number: int, patience: float) -> bool:
    status = store.status(container)
    if status.state is not State.RUNNING:
        return True
    send_signal(status.process, status.started_ticks, number)
    deadline = time.monotonic() + patience
    while is_alive(status.process, status.started_ticks) or store.is_supervised(container):
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL)
    return True
