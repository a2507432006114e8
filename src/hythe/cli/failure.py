"""The one place where an exception becomes words for people and an exit code (docs/exit-codes.md)."""

import os
import sys
import traceback
from collections.abc import Sequence
from typing import NamedTuple

from hythe.cli.command import CommandFailed

INTERRUPTED = 130


class Outcome(NamedTuple):
    """What is said about an exception of a class, and the exit code."""

    code: int
    hint: str = ""


OUTCOMES = {
    "hythe.client.errors.RemoteNotFound": Outcome(3),
    "hythe.client.errors.AccessDenied": Outcome(4),
    "hythe.client.errors.Unreachable": Outcome(5, "check the host's name, your network and the proxy variables"),
    "hythe.client.errors.RegistryError": Outcome(5),
    "hythe.client.errors.ContentMismatch": Outcome(
        6, "what came is not what was asked for; try again, or ask the owner"
    ),
    "hythe.client.errors.RemoteConflict": Outcome(7),
    "hythe.client.errors.ClientError": Outcome(1),
    "hythe.containers.errors.NoSuchContainer": Outcome(3),
    "hythe.containers.errors.InvalidOption": Outcome(2),
    "hythe.containers.errors.NameTaken": Outcome(7),
    "hythe.containers.errors.StillRunning": Outcome(7),
    "hythe.containers.errors.ContainerError": Outcome(1),
    "hythe.settings.SettingsError": Outcome(2, "'hythe settings' shows every setting and where it came from"),
    "hythe.database.port.SchemaError": Outcome(1),
    "hythe.database.port.UnavailableError": Outcome(5, "check --database-url and --data, and that the database runs"),
    "hythe.registry.storage.port.StorageUnavailable": Outcome(5, "check --data or --blob-store"),
    "hythe.registry.htpasswd.HtpasswdError": Outcome(1),
    "hythe.registry.mirror.upstreams.MirrorError": Outcome(2),
    "hythe.registry.importing.NoRegistryFolder": Outcome(2),
    "hythe.oci.instruction.InvalidInstruction": Outcome(2, "'hythe help commit' shows examples"),
    "hythe.oci.layer.InvalidLayer": Outcome(6, "the image is broken or hostile; ask its owner"),
    "hythe.oci.errors.OCIError": Outcome(2, "'hythe help VERB' shows how names are written"),
    "builtins.FileNotFoundError": Outcome(1, "check the path"),
    "builtins.PermissionError": Outcome(1, "check who may read and write there"),
    "builtins.OSError": Outcome(1),
}
"""By the exception's full class name, so that nothing is imported; a class's ancestors are asked in order."""


def report(error: BaseException) -> int:
    """Say on stderr what went wrong and what to do; returns the exit code. HYTHE_DEBUG=1 adds the stack trace."""
    if os.environ.get("HYTHE_DEBUG"):
        traceback.print_exception(error)
    if isinstance(error, BrokenPipeError):
        # The reader of our output went away: point stdout at nothing, so that the flush at exit does not fail too.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + 13
    if isinstance(error, KeyboardInterrupt):
        return say("interrupted", "run the same command again: it continues where it stopped", INTERRUPTED)
    if isinstance(error, CommandFailed):
        return say(str(error), error.hint, error.code)
    if isinstance(error, ModuleNotFoundError) and not (error.name or "").startswith("hythe"):
        message = f"this needs the server's half of hythe: {error.name} is not installed"
        return say(message, "pip install 'hythe[server]'", 1)
    outcome = outcome_of(error)
    if outcome is None:
        hint = "this is a fault in hythe: run it again with HYTHE_DEBUG=1 and report what it prints"
        return say(f"{type(error).__name__}: {error}", hint, 1)
    return say(words_of(error), getattr(error, "hint", "") or outcome.hint, outcome.code)


def raise_last(errors: Sequence[Exception]) -> None:
    """Report all errors of a verb that goes on after one, each in its turn: the last is raised. None: do nothing."""
    for error in errors[:-1]:
        report(error)
    if errors:
        raise errors[-1]


def outcome_of(error: BaseException) -> Outcome | None:
    """Return the row for the exception's class or its nearest ancestor, None for one that nobody expected."""
    names = (f"{kind.__module__}.{kind.__qualname__}" for kind in type(error).__mro__)
    return next((OUTCOMES[name] for name in names if name in OUTCOMES), None)


def words_of(error: BaseException) -> str:
    """Return an exception's message; that of the system without its number, and the file first."""
    if not isinstance(error, OSError) or not error.strerror:
        return str(error)
    return f"{error.filename}: {error.strerror}" if error.filename is not None else error.strerror


def say(message: str, hint: str, code: int) -> int:
    """Print an error and its hint to stderr; returns ``code``."""
    print(f"error: {message}", file=sys.stderr)
    if hint:
        print(f"hint: {hint}", file=sys.stderr)
    return code
