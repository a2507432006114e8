"""Sends responses that the application has in memory, without a task: see ``ready_response``."""

import logging
from functools import partial
from time import perf_counter
from typing import Any

from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from hythe.ready_response import ReadyResponse, Shortcut
from hythe.server.forwarded_headers import ForwardedHeaders
from hythe.server.response import MAX_COPIED_BODY, Observer, wire_head
from hythe.telemetry.metrics import HTTP_RUNNING
from hythe.telemetry.request_record import REQUEST_ID_HEADER, RequestRecord

METHODS = frozenset({"GET", "HEAD"})

_ID = b"%b: %%b\r\n\r\n" % REQUEST_ID_HEADER
_RUNNING = HTTP_RUNNING.cell()

log = logging.getLogger(__name__)


class ShortcutProtocol(HttpToolsProtocol):
    """A connection whose requests may be answered from memory."""

    shortcut: Shortcut | None = None
    forwarded: ForwardedHeaders
    observe: Observer
    _answering = False

    def take_shortcut(self, cycle: RequestResponseCycle, application: ASGIApp, record: RequestRecord) -> bool:
        """Return whether the request is being answered, or will be; otherwise nothing was done.

        Once the response to a request is sent, the next one of its connection starts: that takes no shortcut, or a
        thousand of them would need as many stack frames.
        """
        shortcut = self.shortcut
        scope: Any = cycle.scope
        if shortcut is None or self._answering or scope["method"] not in METHODS or not _is_open(cycle):
            return False
        if not self.forwarded.pass_unchanged(scope):
            return False
        _RUNNING.value += 1
        taken = shortcut(scope, partial(self._answer, cycle, application, record))
        if not taken:
            _RUNNING.value -= 1
        return taken

    def start_task(self, cycle: RequestResponseCycle, application: ASGIApp, record: RequestRecord) -> None:
        """Let the application handle a request in a task."""
        raise NotImplementedError

    def _answer(
        self,
        cycle: RequestResponseCycle,
        application: ASGIApp,
        record: RequestRecord,
        response: ReadyResponse | None,
    ) -> bool:
        """See Answer."""
        _RUNNING.value -= 1
        if response is None or not _is_open(cycle) or len(response.body) > MAX_COPIED_BODY:
            self.start_task(cycle, application, record)
            return False
        head = response.head
        if head is None:
            head = wire_head(response.status, response.headers)
            if head is None:
                self.start_task(cycle, application, record)
                return False
            response.head = head
        record.status, record.user = response.status, response.user
        record.sent = len(response.body)
        record.responded = perf_counter()
        dated = [b"%b: %b\r\n" % header for header in cycle.default_headers]
        self.transport.write(b"".join((head, *dated, _ID % record.id.encode(), response.body)))
        cycle.response_started = cycle.response_complete = True
        cycle.message_event.set()
        self._answering = True
        try:
            self.observe(cycle.scope, record, True)  # type: ignore[arg-type]
            cycle.on_response()
        except Exception:  # the caller answers other requests next
            log.exception("a response was sent, but not recorded")
            self.transport.close()
        finally:
            self._answering = False
        return True


def _is_open(cycle: RequestResponseCycle) -> bool:
    """Return whether the connection takes a response, and stays open after it."""
    return cycle.keep_alive and not cycle.disconnected and not cycle.flow.write_paused
