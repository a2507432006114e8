"""Port forwards: let a sandbox reach single addresses of the host's network, each through a socket that listens inside.

A thread enters the sandbox's network briefly to create the socket; no process of ours stays inside.
"""

import contextlib
import ctypes
import os
import select
import socket
import threading
from pathlib import Path

import msgspec

from hythe.worker.errors import IsolationUnavailable

_CLONE_NEWNET = 0x40000000
_CHUNK = 1 << 18


class ForwardedPort(msgspec.Struct, frozen=True):
    """In the sandbox, ``address``:``port`` leads to ``host``:``port`` as the worker sees it."""

    host: str
    port: int
    address: str = "127.0.0.1"


class PortForward:
    """One port forward, served by threads until closed."""

    def __init__(self, pid: int, target: ForwardedPort) -> None:
        """Listen in the network namespace of process ``pid``. Raises IsolationUnavailable."""
        self._target = target
        self._listener = _listen_inside(pid, target)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening; connections end with the sandbox's processes."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                inner, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._forward, args=(inner,), daemon=True).start()

    def _forward(self, inner: socket.socket) -> None:
        with inner:
            try:
                outer = socket.create_connection((self._target.host, self._target.port), timeout=15)
            except OSError:
                return
            with outer:
                outer.settimeout(None)
                _copy_both_ways(inner, outer)


def _copy_both_ways(inner: socket.socket, outer: socket.socket) -> None:
    """Copy in both directions until both sides are done."""
    peers = {inner: outer, outer: inner}
    open_ends = [inner, outer]
    while open_ends:
        readable, _, _ = select.select(open_ends, [], [], 600)
        if not readable:
            return
        for end in readable:
            try:
                data = end.recv(_CHUNK)
                if data:
                    peers[end].sendall(data)
                    continue
                peers[end].shutdown(socket.SHUT_WR)
            except OSError:
                return
            open_ends.remove(end)


def _listen_inside(pid: int, target: ForwardedPort) -> socket.socket:
    found: list[socket.socket | OSError] = []

    def listen() -> None:
        try:
            found.append(_listen(pid, target))
        except OSError as error:
            found.append(error)

    thread = threading.Thread(target=listen)
    thread.start()
    thread.join()
    if isinstance(found[0], OSError):
        raise IsolationUnavailable(f"cannot enter the sandbox's network namespace: {found[0]}; run the worker as root")
    return found[0]


def _listen(pid: int, target: ForwardedPort) -> socket.socket:
    """Create the socket in a thread that enters the namespace; the thread ends afterwards, so it need not return."""
    libc = ctypes.CDLL(None, use_errno=True)
    with Path(f"/proc/{pid}/ns/net").open("rb") as namespace:
        if libc.setns(namespace.fileno(), _CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((target.address, target.port))
    listener.listen(64)
    return listener
