"""Spans of requests that this server sends to others with aiohttp."""

from time import perf_counter
from types import SimpleNamespace
from typing import Any

import aiohttp

from hythe.telemetry.tracing import tracing


def http_tracing() -> list[aiohttp.TraceConfig]:
    """Return what a session needs to record its requests; empty if there are no traces.

    The other server, which may belong to anyone, does not get the ID of the trace.
    """
    if not tracing.enabled:
        return []
    config = aiohttp.TraceConfig()
    config.on_request_start.append(_start)
    config.on_request_end.append(_end)
    config.on_request_exception.append(_fail)
    return [config]


async def _start(_session: aiohttp.ClientSession, context: SimpleNamespace, _sent: Any) -> None:
    context.started = perf_counter()


async def _end(_session: aiohttp.ClientSession, context: SimpleNamespace, sent: Any) -> None:
    _record(context, sent, {"http__response__status_code": sent.response.status})


async def _fail(_session: aiohttp.ClientSession, context: SimpleNamespace, sent: Any) -> None:
    _record(context, sent, {"error__type": type(sent.exception).__name__})


def _record(context: SimpleNamespace, sent: Any, outcome: dict[str, str | int]) -> None:
    # Only the host: paths and queries can contain secrets.
    target = {"server__address": sent.url.host or "", "server__port": sent.url.port or 0}
    tracing.record(
        sent.method, perf_counter() - context.started, http__request__method=sent.method, **target, **outcome
    )
