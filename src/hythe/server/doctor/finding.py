"""What an examination finds."""

from enum import Enum

import msgspec


class Severity(Enum):
    """How bad a finding is."""

    GOOD = "good"
    WARNING = "warning"
    """Works, but something is missing or will fail later."""
    PROBLEM = "problem"
    """Does not work, or lets strangers in."""


class Finding(msgspec.Struct, frozen=True):
    """One line of an examination. ``subject`` is the part that was examined; ``hint`` says what to do."""

    subject: str
    severity: Severity
    message: str
    hint: str = ""


def good(subject: str, message: str) -> Finding:
    """Return the finding that something works."""
    return Finding(subject, Severity.GOOD, message)


def warning(subject: str, message: str, hint: str) -> Finding:
    """Return the finding that something should be looked at."""
    return Finding(subject, Severity.WARNING, message, hint)


def problem(subject: str, message: str, hint: str) -> Finding:
    """Return the finding that something does not work."""
    return Finding(subject, Severity.PROBLEM, message, hint)
