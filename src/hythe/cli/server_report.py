"""What a server reports besides its log; if that has lines of JSON, they are such lines, too."""

import logging
import sys
import threading
from collections.abc import Callable

from hythe.cli.failure import explain
from hythe.cli.service_manager import notify_ready

log = logging.getLogger(__name__)


def run_logged(log_format: str, serve: Callable[[], object]) -> int:
    """Run a server; return its exit code. Raises what it raises, unless ``log_format`` is json: then it is logged."""
    if log_format != "json":
        serve()
        return 0
    logging.captureWarnings(True)
    threading.excepthook = _log_thread
    sys.unraisablehook = _log_unraisable
    try:
        serve()
    except (Exception, KeyboardInterrupt) as error:
        message, hint, code = explain(error)
        log.error("%s%s", message, f"; hint: {hint}" if hint else "")
        return code
    return 0


def report_ready(log_format: str, welcome: str, event: str) -> None:
    """Print that a server is ready, or log the same in short; tell the service manager."""
    notify_ready()
    if log_format == "json":
        log.info("%s", event)
    else:
        print(welcome, flush=True)


def _log_thread(failure: threading.ExceptHookArgs) -> None:
    log.error("a thread failed", exc_info=failure.exc_value)


def _log_unraisable(failure: "sys.UnraisableHookArgs") -> None:
    log.error("%s: %r", failure.err_msg or "an exception was ignored", failure.object, exc_info=failure.exc_value)
