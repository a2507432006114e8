"""Measures the statements of a database, of whichever kind, and logs slow ones without their values."""

from time import perf_counter

import structlog

from hythe.telemetry.metrics import DATABASE_SECONDS
from hythe.telemetry.tracing import record_statement, tracing

MAX_TEXT = 2000
"""Characters of a statement that are logged."""

_BUCKETS = DATABASE_SECONDS.buckets()
_LOG = structlog.get_logger()


class SlowStatements:
    """Which statements are logged: those that take at least ``threshold`` seconds."""

    threshold = float("inf")

    def apply(self, seconds: float) -> None:
        """Log statements that take longer than this; 0: none."""
        self.threshold = seconds or float("inf")


slow_statements = SlowStatements()


def observe_statement(statement: object, started: float) -> None:
    """Measure a statement that has just ended; ``started`` is a value of ``perf_counter``."""
    seconds = perf_counter() - started
    _BUCKETS.observe(seconds)
    if seconds >= slow_statements.threshold:
        _LOG.warning("slow query", seconds=round(seconds, 3), statement=statement_text(statement))
    if tracing.enabled:
        record_statement(statement_text(statement), seconds)


def statement_text(statement: object) -> str:
    """Return the text of a statement on one line, with names of parameters in place of values."""
    return " ".join(str(statement).split())[:MAX_TEXT]
