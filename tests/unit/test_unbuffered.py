"""Threads that write while the process ends: a full pipe holds them up, and Python must exit all the same."""

from __future__ import annotations

import fcntl
import os
import select
import subprocess
import sys
import time

import pytest

from hythe.unbuffered import write_all

START = """
import sys, threading, time
from hythe.cli.progress import PULL_LABELS, PlainDisplay, TerminalDisplay
from hythe.cli.worker import _report
from hythe.client.progress import TransferState
from hythe.oci.manifest import Descriptor
from hythe.worker.build_main import MessageSender
from hythe.worker.build_messages import LogLine

layer = Descriptor("application/vnd.oci.image.layer.v1.tar+gzip", "sha256:" + "0" * 64, 1)

def report():
    while True:
        _report("cannot claim a build")

def plain():
    display = PlainDisplay(PULL_LABELS, sys.stderr)
    display.begin([layer])
    while True:
        display.state(layer, TransferState.RETRYING)

def terminal():
    display = TerminalDisplay(PULL_LABELS, sys.stderr)
    display.begin([layer])
    while True:
        display._draw()

def messages():
    sender = MessageSender(2)
    while True:
        sender.send(LogLine("x" * 1000))
        time.sleep(0.001)

threading.Thread(target=KIND, daemon=True).start()
sys.stdin.readline()
"""


@pytest.mark.parametrize("kind", ["report", "plain", "terminal", "messages"])
def test_python_exits_while_a_thread_cannot_write(kind: str) -> None:
    """It does not wait for the lock of a buffer, nor end with "Fatal Python error: _enter_buffered_busy"."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    command = [sys.executable, "-c", START.replace("KIND", kind)]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=writer, env=environment) as process:
        give_up = time.monotonic() + 60
        while select.select([], [writer], [], 0)[1]:
            assert time.monotonic() < give_up, "the pipe did not fill up"
            time.sleep(0.05)
        try:
            process.communicate(b"\n", timeout=30)
        finally:
            process.kill()
    os.close(reader)
    os.close(writer)

    assert process.returncode == 0


def test_all_is_written_to_a_descriptor_that_does_not_block() -> None:
    """A terminal that another program made non-blocking gets everything."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    os.set_blocking(writer, False)
    with subprocess.Popen(["wc", "-c"], stdin=reader, stdout=subprocess.PIPE) as counter:
        os.close(reader)
        write_all(writer, b"x" * 1_000_000)
        os.close(writer)
        counted, _ = counter.communicate()

    assert int(counted) == 1_000_000
