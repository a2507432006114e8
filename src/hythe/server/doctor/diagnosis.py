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


class Diagnosis(msgspec.Struct, frozen=True):
    """One line of an examination. ``subject`` is the part that was examined; ``hint`` says what to do."""

    subject: str
    severity: Severity
    message: str
    hint: str = ""


def good(subject: str, message: str) -> Diagnosis:
    """Return the finding that something works."""
    return Diagnosis(subject, Severity.GOOD, message)


def warning(subject: str, message: str, hint: str) -> Diagnosis:
    """Return the finding that something should be looked at."""
    return Diagnosis(subject, Severity.WARNING, message, hint)


def problem(subject: str, message: str, hint: str) -> Diagnosis:
    """Return the finding that something does not work."""
    return Diagnosis(subject, Severity.PROBLEM, message, hint)
