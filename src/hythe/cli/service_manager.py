"""Tells systemd that a server is ready (``Type=notify``), in the protocol of ``sd_notify(3)``."""

import os
import socket
from contextlib import suppress

VARIABLE = "NOTIFY_SOCKET"


def notify_ready() -> None:
    """Tell the service manager that started this process that the server is ready; without one, do nothing.

    Child processes do not inherit the socket's address.
    """
    address = os.environ.pop(VARIABLE, "")
    if address[:1] not in ("/", "@"):
        return
    if address[0] == "@":  # in the abstract namespace
        address = f"\0{address[1:]}"
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"READY=1", address)
