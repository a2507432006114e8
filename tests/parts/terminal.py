"""Running a program on a pseudo-terminal and answering its prompts."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import subprocess
import termios
from collections.abc import Mapping, Sequence

SECONDS = 30


def converse(command: Sequence[str], env: Mapping[str, str], *answers: tuple[str, str]) -> tuple[int, str]:
    """Run `command` on a terminal; at each prompt (the first of a pair), type the answer.

    Returns the exit code and the terminal's output. A prompt that never appears fails the test.
    """
    ours, theirs = pty.openpty()

    def take_terminal() -> None:
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    running = subprocess.Popen(
        list(command), env=dict(env), stdin=theirs, stdout=theirs, stderr=theirs, preexec_fn=take_terminal
    )
    os.close(theirs)
    shown = ""
    try:
        for question, answer in answers:
            shown = _read_until(ours, shown, question)
            os.write(ours, f"{answer}\n".encode())
        while piece := _read(ours):
            shown += piece
        return running.wait(SECONDS), shown
    finally:
        running.kill()
        running.wait()
        os.close(ours)


def _read_until(terminal: int, shown: str, question: str) -> str:
    seen = len(shown)
    while question not in shown[seen:]:
        piece = _read(terminal)
        shown += piece
        assert piece, f"{question!r} was never asked; the terminal showed:\n{shown}"
    return shown


def _read(terminal: int) -> str:
    """Return the next output; "" if the program has exited or the timeout is over."""
    if not select.select([terminal], [], [], SECONDS)[0]:
        return ""
    with contextlib.suppress(OSError):  # EIO when the program is gone
        return os.read(terminal, 65536).decode(errors="replace")
    return ""
