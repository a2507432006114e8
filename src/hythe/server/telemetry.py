"""The telemetry of a running server: what observes its requests, measures it, and serves the metrics port."""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from socket import socket

import uvicorn

from hythe.database import Database
from hythe.server.access_log import LineWriter
from hythe.server.background import running
from hythe.server.health import Health
from hythe.server.listening import bind
from hythe.server.measurements import Measurement, describe_process, measure, measure_loop_lag
from hythe.server.metrics_page import metrics_application
from hythe.server.request_observer import RequestObserver
from hythe.server.siblings import Siblings
from hythe.settings import Settings
from hythe.telemetry.shared_snapshots import WRITE_INTERVAL, ProcessMetrics
from hythe.telemetry.statements import slow_statements

log = logging.getLogger(__name__)


class ServerTelemetry:
    """Observes one process of a server."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        health: Health,
        measurements: Sequence[Measurement],
        siblings: Siblings | None = None,
    ) -> None:
        """``measurements`` read the database, in one of the ``siblings`` only."""
        self._settings = settings
        self._database = database
        self._health = health
        self._measurements = measurements
        self._siblings = siblings
        self._lines = LineWriter()
        self._metrics = ProcessMetrics(siblings.metrics, siblings.number) if siblings is not None else ProcessMetrics()
        self.observer = RequestObserver(settings, self._lines)
        slow_statements.apply(settings.slow_query)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Measure and serve the metrics port until the block ends. Raises CannotListen."""
        address = self._settings.metrics_address
        try:
            if address is None:
                yield
                return
            describe_process()
            with bind(address, shared=self._siblings is not None) as listener:
                async with running(measure_loop_lag(), self._publish(), self._measure(), self._serve(listener)):
                    yield
        finally:
            self._lines.close()

    def apply(self, settings: Settings) -> None:
        """Take over changed settings."""
        self.observer.apply(settings)
        slow_statements.apply(settings.slow_query)

    async def _measure(self) -> None:
        if self._siblings is not None:
            await self._siblings.leads.wait()
        await measure(self._database, self._settings.data_folder, self._measurements)

    async def _publish(self) -> None:
        while True:
            if not self._metrics.publish():
                log.error("the metrics of this process are too large to be shared")
            await asyncio.sleep(WRITE_INTERVAL)

    async def _serve(self, listener: socket) -> None:
        config = uvicorn.Config(
            metrics_application(self._metrics.all, self._health),
            http="httptools",
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=1,
        )
        server = _MetricsServer(config)
        try:
            await server.serve(sockets=[listener])
        finally:
            server.force_exit = True
            await server.shutdown(sockets=[listener])


class _MetricsServer(uvicorn.Server):
    """uvicorn's server, which ends with its task."""

    def capture_signals(self) -> AbstractContextManager[None]:  # type: ignore[override]
        """Do nothing: signals are for the server itself."""
        return nullcontext()
