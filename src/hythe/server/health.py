"""Health checks: ``/healthz`` says that the server is alive, ``/readyz`` whether it can serve.

Anyone can ask, so the response names neither addresses nor paths; the log has the details.
"""

import asyncio
import logging
import shutil
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from pathlib import Path

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from hythe.database import UnavailableError
from hythe.registry.service import RegistryServices
from hythe.registry.storage.port import StorageUnavailable
from hythe.server.stopping import Stopping
from hythe.telemetry.cached_check import CachedCheck
from hythe.telemetry.metrics import READY

LIVE_PATH = "/healthz"
READY_PATH = "/readyz"

MIN_FREE = 64 << 20
"""Bytes of the data folder's disk; with less, a server could soon not even write its database's log."""

STORAGE_MAX_AGE = 10.0
"""Seconds for which a check of an object store is used, because its requests cost money."""

_NO_STORE = {"Cache-Control": "no-store"}

log = logging.getLogger(__name__)


class ReadinessCheck(msgspec.Struct, frozen=True):
    """The result of one check; ``problem`` and ``hint`` say what is wrong and what to do."""

    ready: bool
    problem: str = ""
    hint: str = ""


GOOD = ReadinessCheck(True)
STOPPING = ReadinessCheck(False, "the server is stopping", "send requests to another server, or wait for its restart")
_DATABASE_HINT = "check the database server and the setting database_url; the log says more"
_STORAGE_HINT = "check the blob store and the setting blob_store; the log says more"


class Health:
    """The checks of one server."""

    def __init__(self, registry: RegistryServices, data: Path, stopping: Stopping) -> None:
        """``data``: the folder whose disk must have space."""
        self._liveness = registry.liveness
        self._data = data
        self.stopping = stopping
        self._storage = CachedCheck(registry.ask_storage, STORAGE_MAX_AGE, 5.0)
        self._disk = CachedCheck(self._measure_disk)
        self._failing: dict[str, str] = {}

    async def check(self) -> dict[str, ReadinessCheck]:
        """Return the result of each check by its name."""
        results = await asyncio.gather(
            self._result("database", self._liveness.require, _DATABASE_HINT),
            self._result("storage", self._storage.require, _STORAGE_HINT),
            self._result("disk", self._disk.require, "free space on the disk of the data folder"),
        )
        checks = dict(zip(("database", "storage", "disk"), results, strict=True))
        checks["stopping"] = STOPPING if self.stopping.begun else GOOD
        for name, check in checks.items():
            READY.set(float(check.ready), name)
        return checks

    async def _result(self, name: str, check: Callable[[], Awaitable[None]], hint: str) -> ReadinessCheck:
        try:
            await check()
        except Exception as error:  # a check of any kind that cannot be made has failed
            if self._failing.get(name) != str(error):  # not at each probe
                self._failing[name] = str(error)
                log.error("not ready, because the check of the %s failed: %s", name, error)
            return ReadinessCheck(False, _public(name, error), hint)
        if self._failing.pop(name, None) is not None:
            log.info("the check of the %s succeeds again", name)
        return GOOD

    async def _measure_disk(self) -> None:
        usage = await asyncio.to_thread(shutil.disk_usage, self._data)
        if usage.free < MIN_FREE:
            raise StorageUnavailable(
                f"the disk of {self._data} has {usage.free} bytes left", f"less than {MIN_FREE >> 20} MiB are free"
            )

    async def live(self, _request: Request) -> Response:
        """Respond to ``/healthz``: the event loop runs."""
        return PlainTextResponse("alive\n", headers=_NO_STORE)

    async def ready(self, _request: Request) -> Response:
        """Respond to ``/readyz``: 200 if all checks succeed, 503 otherwise, with each result in JSON."""
        checks = await self.check()
        is_ready = all(check.ready for check in checks.values())
        status = HTTPStatus.OK if is_ready else HTTPStatus.SERVICE_UNAVAILABLE
        headers = _NO_STORE if is_ready else {**_NO_STORE, "Retry-After": "5"}
        return JSONResponse({"ready": is_ready, "checks": msgspec.to_builtins(checks)}, status, headers)


def _public(name: str, error: Exception) -> str:
    cause = error.cause if isinstance(error, UnavailableError | StorageUnavailable) else ""
    return f"the {name} cannot be used{': ' if cause else ''}{cause}"


class HealthPaths:
    """An ASGI application that responds to health checks itself, before any check of the client."""

    def __init__(self, application: ASGIApp, health: Health) -> None:
        self._application = application
        self._handlers = {LIVE_PATH: health.live, READY_PATH: health.ready}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        handler = self._handlers.get(scope["path"])
        if handler is None or scope["method"] not in ("GET", "HEAD"):
            await self._application(scope, receive, send)
            return
        response = await handler(Request(scope, receive))
        await response(scope, receive, send)
