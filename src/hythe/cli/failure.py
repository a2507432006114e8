"""Turn exceptions into error messages and exit codes (docs/exit-codes.md)."""

import errno
import os
import sys
import traceback
from collections.abc import Sequence
from typing import NamedTuple

from hythe.cli.command import CommandFailed

INTERRUPTED = 130
_FULL_HINT = "free space on that disk; 'hythe rm' removes containers, 'hythe rmi' images"


class ExitStatus(NamedTuple):
    """The exit code and the default hint for an exception class."""

    code: int
    hint: str = ""


EXIT_STATUSES = {
    "hythe.client.errors.RemoteNotFound": ExitStatus(3),
    "hythe.client.errors.AccessDenied": ExitStatus(4),
    "hythe.client.errors.Unreachable": ExitStatus(5, "check the host name, your network and the proxy variables"),
    "hythe.client.errors.RegistryError": ExitStatus(5),
    "hythe.client.errors.ContentMismatch": ExitStatus(
        6, "the content does not match its digest: try again, or contact the owner"
    ),
    "hythe.client.errors.RemoteConflict": ExitStatus(7),
    "hythe.client.errors.InvalidName": ExitStatus(2, "'hythe help VERB' shows the syntax of names"),
    "hythe.client.errors.InvalidImage": ExitStatus(6, "the image is corrupt or malicious: contact its owner"),
    "hythe.client.errors.ClientError": ExitStatus(1),
    "hythe.containers.errors.NoSuchContainer": ExitStatus(3),
    "hythe.containers.errors.InvalidOption": ExitStatus(2),
    "hythe.containers.errors.NameTaken": ExitStatus(7),
    "hythe.containers.errors.StillRunning": ExitStatus(7),
    "hythe.containers.errors.ContainerError": ExitStatus(1),
    "hythe.settings.values.SettingsError": ExitStatus(2, "'hythe settings' shows every setting and where it came from"),
    "hythe.database.port.SchemaError": ExitStatus(1),
    "hythe.database.port.UnavailableError": ExitStatus(
        5, "check --database-url and --data, and that the database runs"
    ),
    "hythe.registry.storage.port.StorageUnavailable": ExitStatus(5, "check --data or --blob-store"),
    "hythe.backup.errors.BackupDamaged": ExitStatus(6),
    "hythe.backup.errors.BackupError": ExitStatus(1),
    "hythe.registry.garbage_holds.GarbageHeld": ExitStatus(7),
    "hythe.registry.garbage_holds.HoldLost": ExitStatus(5),
    "hythe.server.listening.CannotListen": ExitStatus(1),
    "hythe.telemetry.tracing.TracingUnavailable": ExitStatus(1),
    "hythe.server.data_lock.DataInUse": ExitStatus(7),
    "hythe.worker.folder_lock.FolderInUse": ExitStatus(7),
    "hythe.registry.htpasswd.HtpasswdError": ExitStatus(1),
    "hythe.registry.importing.NoRegistryFolder": ExitStatus(2),
    "hythe.oci.instruction.InvalidInstruction": ExitStatus(2, "'hythe help commit' shows examples"),
    "hythe.oci.layer.InvalidLayer": ExitStatus(6, "the image is corrupt or malicious: contact its owner"),
    "hythe.oci.errors.InvalidManifest": ExitStatus(6, "the image is corrupt or malicious: contact its owner"),
    "hythe.oci.errors.OCIError": ExitStatus(2, "'hythe help VERB' shows the syntax of names"),
    "builtins.FileNotFoundError": ExitStatus(1, "check the path"),
    "builtins.PermissionError": ExitStatus(1, "check the permissions of the file or folder"),
    "builtins.OSError": ExitStatus(1),
}
"""Keyed by full class name, so that nothing is imported. The nearest ancestor in the MRO applies."""


def report(error: BaseException) -> int:
    """Print to stderr what went wrong and what to do; returns the exit code. HYTHE_DEBUG=1 adds the stack trace."""
    if os.environ.get("HYTHE_DEBUG"):
        traceback.print_exception(error)
    if isinstance(error, BrokenPipeError):
        # The reader closed the pipe. Point stdout at /dev/null, so that the flush at exit does not fail too.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + 13
    return print_error(*explain(error))


def explain(error: BaseException) -> tuple[str, str, int]:
    """Return what went wrong, what to do, or "", and the exit code."""
    if isinstance(error, KeyboardInterrupt):
        return "interrupted", "run the same command again: it continues where it stopped", INTERRUPTED
    if isinstance(error, CommandFailed):
        return str(error), error.hint, error.code
    if isinstance(error, ModuleNotFoundError) and not (error.name or "").startswith("hythe"):
        message = f"the server dependencies are not installed: no module {error.name}"
        return message, "pip install 'hythe[server]'", 1
    status = exit_status_of(error)
    if status is None:
        hint = "this is a bug in hythe: run it again with HYTHE_DEBUG=1 and report the output"
        return f"{type(error).__name__}: {error}", hint, 1
    hint = getattr(error, "hint", "") or (_FULL_HINT if _is_disk_full(error) else status.hint)
    return message_of(error), hint, status.code


def _is_disk_full(error: BaseException) -> bool:
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def raise_last(errors: Sequence[Exception]) -> None:
    """Report all errors but the last, and raise the last. Does nothing if there are none."""
    for error in errors[:-1]:
        report(error)
    if errors:
        raise errors[-1]


def exit_status_of(error: BaseException) -> ExitStatus | None:
    """Return the row for the exception's class or nearest ancestor, None for an unexpected exception."""
    names = (f"{kind.__module__}.{kind.__qualname__}" for kind in type(error).__mro__)
    return next((EXIT_STATUSES[name] for name in names if name in EXIT_STATUSES), None)


def message_of(error: BaseException) -> str:
    """Return an exception's message; for a system error, the file name and the reason without the number."""
    if not isinstance(error, OSError) or not error.strerror:
        return str(error)
    if error.filename is None and _is_disk_full(error):
        return f"cannot write the output: {error.strerror}"
    return f"{error.filename}: {error.strerror}" if error.filename is not None else error.strerror


def print_error(message: str, hint: str, code: int) -> int:
    """Print an error and its hint to stderr; returns ``code``.

    Further lines of either, which can be a registry's, are indented: they cannot pass for a message of ours.
    """
    print("\n  ".join(f"error: {message}".splitlines()), file=sys.stderr)
    if hint:
        print("\n  ".join(f"hint: {hint}".splitlines()), file=sys.stderr)
    return code
