"""A process that is told from a later one with the same number by its time of start."""

import os
import signal
from pathlib import Path


def start_ticks(process: int) -> int:
    """Return when the process started, in clock ticks since the machine did; 0 when there is none (or a dead one)."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return 0 if fields[0] in "ZX" else int(fields[19])


def is_alive(process: int, ticks: int) -> bool:
    """Whether the process that started at ``ticks`` still runs."""
    return process > 0 and ticks > 0 and start_ticks(process) == ticks


def send_signal(process: int, ticks: int, number: int) -> bool:
    """Send a signal to the process that started at ``ticks``; returns whether it was still there."""
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
