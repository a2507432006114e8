"""The notification of systemd."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from hythe.cli.service_manager import VARIABLE, notify_ready


@pytest.mark.parametrize("address", ["{folder}/notify", "@hythe-test-{process}"])
def test_the_service_manager_is_notified_once(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It gets one message, at a path or in the abstract namespace, and child processes do not inherit its address."""
    address = address.format(folder=tmp_path, process=os.getpid())
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address.replace("@", "\0"))
        manager.setblocking(False)
        monkeypatch.setenv(VARIABLE, address)

        notify_ready()
        notify_ready()

        assert manager.recv(100) == b"READY=1"
        assert VARIABLE not in os.environ
        with pytest.raises(BlockingIOError):
            manager.recv(100)


def test_a_server_starts_without_the_service_manager(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A socket that is gone keeps no server from starting."""
    monkeypatch.setenv(VARIABLE, str(tmp_path / "gone"))

    notify_ready()

    assert VARIABLE not in os.environ
