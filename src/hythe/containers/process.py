"""Processes identified by PID and start time, because PIDs are reused."""

import os
import signal
from pathlib import Path


def start_ticks(process: int) -> int:
    """Return the process's start time in clock ticks since boot; 0 if it does not exist or is a zombie."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return 0 if fields[0] in "ZX" else int(fields[19])


def is_alive(process: int, ticks: int) -> bool:
    """Whether the process that started at ``ticks`` is still running."""
    return process > 0 and ticks > 0 and start_ticks(process) == ticks


def send_signal(process: int, ticks: int, number: int) -> bool:
    """Send a signal to the process that started at ``ticks``; returns whether it still existed."""
    try:
        descriptor = os.pidfd_open(process)
    except ProcessLookupError:
        return False
    try:
        if not is_alive(process, ticks):
            return False
        signal.pidfd_send_signal(descriptor, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(descriptor)
    return True
