"""What happens once a request ends: it is counted, and logged if the access log is on or if it was slow."""

from time import perf_counter

import structlog
from starlette.types import Scope

from hythe.registry.routes.routing import RegistryRoute, parse_target
from hythe.server.access_log import AccessLog, LineWriter, shown_path
from hythe.server.health import LIVE_PATH, READY_PATH
from hythe.settings import Settings
from hythe.telemetry.instruments import BucketSeries, Cell
from hythe.telemetry.metrics import HTTP_ABORTED, HTTP_RECEIVED, HTTP_REQUESTS, HTTP_SECONDS, HTTP_SENT
from hythe.telemetry.request_record import RequestRecord

UNMATCHED = "unmatched"
"""The route of requests that no route matches."""

CLIENT_GONE = 499
"""The status of requests whose client disconnected before the response; nginx's number for it."""

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
"""Methods that are labels; others are counted as ``other``."""

REGISTRY_ROUTES = {
    RegistryRoute.BASE: "/v2/",
    RegistryRoute.CATALOG: "/v2/_catalog",
    RegistryRoute.TAGS: "/v2/{name}/tags/list",
    RegistryRoute.MANIFEST: "/v2/{name}/manifests/{reference}",
    RegistryRoute.BLOB: "/v2/{name}/blobs/{digest}",
    RegistryRoute.UPLOADS: "/v2/{name}/blobs/uploads/",
    RegistryRoute.UPLOAD: "/v2/{name}/blobs/uploads/{id}",
    RegistryRoute.REFERRERS: "/v2/{name}/referrers/{digest}",
}
"""The registry's routes as templates, as the specification writes them."""

_MANIFEST = REGISTRY_ROUTES[RegistryRoute.MANIFEST]

_LOG = structlog.get_logger()


class RequestObserver:
    """Counts and logs requests. It is called for each one, so it looks up each series once."""

    def __init__(self, settings: Settings, writer: LineWriter) -> None:
        self._writer = writer
        self._series: dict[tuple[str, str, int], tuple[Cell, BucketSeries]] = {}
        self._received, self._sent, self._aborted = HTTP_RECEIVED.cell(), HTTP_SENT.cell(), HTTP_ABORTED.cell()
        self.apply(settings)

    def apply(self, settings: Settings) -> None:
        """Take over changed settings."""
        self._slow = settings.slow_request or float("inf")
        self._access_log = AccessLog(self._writer, settings.log_format) if settings.access_log else None

    def __call__(self, scope: Scope, record: RequestRecord, complete: bool) -> None:
        """Count and log a request that has ended. ``complete``: its response was sent completely."""
        if not record.status:
            record.status = CLIENT_GONE
        seconds = (record.responded or perf_counter()) - record.started - record.waited
        key = (scope["method"], route_of(scope), record.status)
        series = self._series.get(key)
        if series is None:
            series = self._series[key] = _new_series(*key)
        series[0].value += 1
        series[1].observe(seconds)
        self._received.value += record.received
        self._sent.value += record.sent
        if not complete:
            self._aborted.value += 1
        if seconds >= self._slow:
            _log_slow(scope, record, key[1], seconds)
        if self._access_log is not None:
            self._access_log.log(scope, record, perf_counter() - record.started)


def route_of(scope: Scope) -> str:
    """Return the template of the route that handled a request."""
    route = scope.get("route")
    if route is not None:  # the router of the hub; the registry has none
        return getattr(route, "path", "") or UNMATCHED
    path: str = scope["path"]
    pieces = path.rsplit("/", 2)
    if len(pieces) == 3 and pieces[1] == "manifests" and path.startswith("/v2/"):  # most requests
        return _MANIFEST
    if path in (LIVE_PATH, READY_PATH):  # of a private registry
        return path
    target = parse_target(path) if path.startswith("/v2/") or path == "/v2" else None
    return REGISTRY_ROUTES[target.endpoint] if target is not None else UNMATCHED


def _new_series(method: str, route: str, status: int) -> tuple[Cell, BucketSeries]:
    method = method if method in METHODS else "other"
    return HTTP_REQUESTS.cell(method, route, str(status)), HTTP_SECONDS.buckets(route, f"{status // 100}xx")


def _log_slow(scope: Scope, record: RequestRecord, route: str, seconds: float) -> None:
    _LOG.warning(
        "slow request",
        method=scope["method"],
        path=shown_path(scope),
        route=route,
        status=record.status,
        seconds=round(seconds, 3),
        user=record.user or None,
    )
