"""Prompts at the terminal."""

import getpass
import sys

from hythe.cli.command import CommandFailed


def is_interactive() -> bool:
    """Whether stdin is a terminal."""
    return sys.stdin.isatty()


def require_interactive(what: str, hint: str) -> None:
    """Raise CommandFailed if stdin is not a terminal."""
    if not is_interactive():
        raise CommandFailed(f"cannot {what} without a terminal", hint, 2)


def ask(question: str, default: str = "") -> str:
    """Prompt for a value. Raises CommandFailed if the input is empty."""
    shown = f"{question} ({default}): " if default else f"{question}: "
    print(shown, end="", file=sys.stderr, flush=True)
    line = sys.stdin.readline()
    answer = line.strip() or default
    if not line or not answer:
        raise CommandFailed(f"{question.lower()} is required", code=2)
    return answer


def confirm(question: str) -> bool:
    """Ask for confirmation: only y and yes confirm."""
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def ask_password(question: str = "Password") -> str:
    """Prompt for a password without echo. Raises CommandFailed if it is empty."""
    answer = getpass.getpass(f"{question}: ", stream=sys.stderr)
    if not answer:
        raise CommandFailed("password is required", code=2)
    return answer


def ask_new_password() -> str:
    """Prompt for a new password twice. Raises CommandFailed if the two differ."""
    first = ask_password()
    if ask_password("Repeat password") != first:
        raise CommandFailed("passwords do not match", "try again", 2)
    return first


def read_password_from_stdin() -> str:
    """Read a password from stdin without its final line break. Raises CommandFailed if it is empty."""
    password = sys.stdin.read().removesuffix("\n").removesuffix("\r")
    if not password:
        raise CommandFailed("stdin is empty", "for example: hythe login -u ann --password-stdin < password-file", 2)
    return password
