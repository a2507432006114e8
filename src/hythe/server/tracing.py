"""Spans of requests, of calls of the blob store and of requests to other servers, where traces are configured."""

import inspect
from collections.abc import AsyncIterator, Callable
from functools import wraps
from typing import Any, cast

from starlette.types import ASGIApp, Receive, Scope, Send

from hythe.ready_response import Shortcut
from hythe.registry.storage.port import BlobStore
from hythe.server.access_log import shown_path
from hythe.server.request_observer import route_of
from hythe.telemetry.request_record import current_record
from hythe.telemetry.tracing import tracing


def traced_application(application: ASGIApp) -> ASGIApp:
    """Return an application whose requests are spans; the same one if there are no traces."""
    return _TracedApplication(application) if tracing.enabled else application


def untraced(shortcut: Shortcut) -> Shortcut | None:
    """Return a shortcut past the application; None if there are traces, because it has no spans."""
    return None if tracing.enabled else shortcut


def traced_blobs(blobs: BlobStore) -> BlobStore:
    """Return a blob store whose calls are spans; the same one if there are no traces."""
    return cast(BlobStore, _TracedBlobs(blobs)) if tracing.enabled else blobs


class _TracedApplication:
    def __init__(self, application: ASGIApp) -> None:
        self._application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        record = current_record()
        parent = record.trace_parent if record is not None else ""
        attributes = {"http__request__method": scope["method"], "url__path": shown_path(scope).partition("?")[0]}
        if record is not None:
            attributes["hythe__request_id"] = record.id
        with tracing.span(scope["method"], "server", parent, **attributes) as span:
            try:
                await self._application(scope, receive, send)
            finally:
                route = route_of(scope)
                span.update_name(f"{scope['method']} {route}")
                span.set_attribute("http.route", route)
                if record is not None and record.status:
                    span.set_attribute("http.response.status_code", record.status)


class _TracedBlobs:
    """Calls the methods of a blob store, each in a span."""

    def __init__(self, blobs: BlobStore) -> None:
        self._blobs = blobs

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._blobs, name)
        traced: Any = found
        if inspect.iscoroutinefunction(found):
            traced = _traced_call(name, found)
        elif inspect.isasyncgenfunction(found):
            traced = _traced_stream(name, found)
        setattr(self, name, traced)  # so that the next call finds it at once
        return traced


def _traced_call(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(method)
    async def call(*arguments: Any, **named: Any) -> Any:
        with tracing.span(f"blob store: {name}", "client"):
            return await method(*arguments, **named)

    return call


def _traced_stream(name: str, method: Callable[..., AsyncIterator[Any]]) -> Callable[..., AsyncIterator[Any]]:
    @wraps(method)
    async def stream(*arguments: Any, **named: Any) -> AsyncIterator[Any]:
        with tracing.span(f"blob store: {name}", "client"):
            async for piece in method(*arguments, **named):
                yield piece

    return stream
