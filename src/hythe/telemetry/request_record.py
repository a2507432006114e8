"""What is recorded about the request that is being handled, for logs, metrics and traces."""

import re
from contextvars import ContextVar
from random import getrandbits
from time import perf_counter

REQUEST_ID_HEADER = b"x-request-id"

_GIVEN_ID = re.compile(r"[A-Za-z0-9._:-]{8,64}")
_TRACE_PARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


class RequestRecord:
    """One request. ``id`` goes into every log line, into the response and to the build that the request starts.

    ``waited``: seconds spent waiting for the request's body. ``responded``: when the response began, 0.0 before;
    ``started`` and ``responded`` are values of ``perf_counter``. ``trace_parent`` is the header of a trusted proxy.
    """

    # Defaults of the class, because every request pays for each assignment.
    user = ""
    status = 0
    received = 0
    sent = 0
    waited = 0.0
    responded = 0.0
    trace_parent = ""

    def __init__(self) -> None:
        self.id = new_request_id()
        self.started = perf_counter()


_CURRENT: ContextVar[RequestRecord | None] = ContextVar("request_record", default=None)

current_record = _CURRENT.get
"""Return the record of the request that this task handles; None outside requests."""

set_current_record = _CURRENT.set
"""Make this the record of the current task."""


def new_request_id() -> str:
    """Return a random ID of 32 hexadecimal digits; it identifies, and protects nothing."""
    return f"{getrandbits(128):032x}"


def current_request_id() -> str:
    """Return the ID of the request that this task handles; empty outside requests."""
    record = _CURRENT.get()
    return record.id if record is not None else ""


def note_user(name: str) -> None:
    """Record which account sent the request."""
    record = _CURRENT.get()
    if record is not None:
        record.user = name


def is_request_id(text: str) -> bool:
    """Return whether an ID that a proxy sends can be used: short, and safe in logs and headers."""
    return _GIVEN_ID.fullmatch(text) is not None


def is_trace_parent(text: str) -> bool:
    """Return whether this is a traceparent header (W3C Trace Context, version 00)."""
    return _TRACE_PARENT.fullmatch(text) is not None
