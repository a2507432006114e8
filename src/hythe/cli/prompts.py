"""Questions to people at a terminal."""

import getpass
import sys

from hythe.cli.command import CommandFailed


def is_interactive() -> bool:
    """Whether somebody sits there who can answer."""
    return sys.stdin.isatty()


def require_interactive(what: str, hint: str) -> None:
    """Raise CommandFailed when nobody is there to answer."""
    if not is_interactive():
        raise CommandFailed(f"cannot {what} without a terminal", hint, 2)


def ask(question: str, default: str = "") -> str:
    """Return the answer to a question; raises CommandFailed for none."""
    shown = f"{question} ({default}): " if default else f"{question}: "
    print(shown, end="", file=sys.stderr, flush=True)
    line = sys.stdin.readline()
    answer = line.strip() or default
    if not line or not answer:
        raise CommandFailed(f"{question.lower()} is needed", code=2)
    return answer


def confirm(question: str) -> bool:
    """Return whether the answer is a clear yes; everything else is a no."""
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def ask_password(question: str = "Password") -> str:
    """Return a password, which is not shown; raises CommandFailed for an empty one."""
    answer = getpass.getpass(f"{question}: ", stream=sys.stderr)
    if not answer:
        raise CommandFailed("password is needed", code=2)
    return answer


def ask_new_password() -> str:
    """Return a password that was typed twice the same; raises CommandFailed when the two differ."""
    first = ask_password()
    if ask_password("Repeat password") != first:
        raise CommandFailed("the two passwords differ", "try again", 2)
    return first


def read_password_from_stdin() -> str:
    """Return what stdin holds, without the line break at its end; raises CommandFailed when it is empty."""
    password = sys.stdin.read().removesuffix("\n").removesuffix("\r")
    if not password:
        raise CommandFailed(
            "stdin holds no password", "such as: hythe login -u ann --password-stdin < password-file", 2
        )
    return password
