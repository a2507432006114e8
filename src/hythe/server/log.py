"""Log format: text or JSON, on stderr. Lines about a request have its ID."""

import logging
import sys
from typing import Any

import structlog

from hythe.control_characters import escape_controls, escape_line, escape_log
from hythe.telemetry.request_record import current_request_id


def _add_request_id(_logger: object, _method: str, event: dict[str, Any]) -> dict[str, Any]:
    if request_id := current_request_id():
        event.setdefault("request_id", request_id)
    return event


_SHARED: list[Any] = [
    _add_request_id,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]


def set_up_logging(log_format: str, log_level: str = "info") -> None:
    """Write the log of this program and its libraries to stderr as ``text`` or ``json``.

    ``log_level``: the least level of lines that are written, such as ``warning``.
    """
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *_SHARED, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    # Not sys.stderr: the command's would escape the colours. Everything else in a line is escaped here.
    handler = logging.StreamHandler(sys.__stderr__)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=_SHARED,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_renderers(log_format)],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    level: int = logging.getLevelNamesMapping()[log_level.upper()]
    root.setLevel(level)
    # Their lines of lower levels repeat ours or are noise.
    for name in ("uvicorn.error", "alembic", "aiohttp", "asyncio", "urllib3"):
        logging.getLogger(name).setLevel(max(level, logging.WARNING))


def _renderers(log_format: str) -> list[Any]:
    if log_format == "json":  # which escapes all but ASCII
        return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    colors = sys.stderr.isatty()
    # Plain tracebacks: if rich is installed, the default would print local variables, including passwords.
    console = structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=structlog.dev.plain_traceback)
    return [_escape_values, console, _escape_colored if colors else _escape_tracebacks]


def _escape_values(_logger: object, _method: str, event: dict[str, Any]) -> dict[str, Any]:
    """Escape what a line reports, so that names, paths and user agents cannot end it and begin another."""
    return {name: escape_line(value) if isinstance(value, str) else value for name, value in event.items()}


def _escape_tracebacks(_logger: object, _method: str, text: str) -> str:
    """Escape what is left in a rendered line: messages of exceptions, in a traceback of several lines."""
    return escape_controls(text)


def _escape_colored(_logger: object, _method: str, text: str) -> str:
    return escape_log(text)
