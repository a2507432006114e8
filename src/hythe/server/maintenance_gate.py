"""Refuses requests that would change something while the server is read-only for maintenance.

The database would refuse them as well, but later: bytes of an upload would be on disk, and a webhook at a forge. Pages
refuse forms themselves (``web/routes/page_route``), because a page needs more than an error.
"""

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from hythe.database.maintenance import RETRY_AFTER, Maintenance, UnderMaintenance
from hythe.hub.routes.docker_hub import PREFIXES, failure_response, is_docker_hub_path
from hythe.hub.routes.problem_details import problem_response
from hythe.oci.errors import ErrorCode, WireError, encode_errors

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
"""The methods of requests that change nothing but counters and times."""

ANSWERED = frozenset({"/token"})
"""Paths whose other methods change nothing either: a token is signed, not stored."""

_OF_MACHINES = ("/api/", "/hooks/", "/v1/", "/u/")


class MaintenanceGate:
    """An ASGI application that passes on what may be answered."""

    def __init__(self, application: ASGIApp, maintenance: Maintenance) -> None:
        self._application = application
        self._maintenance = maintenance

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        refusal = None
        if self._maintenance.read_only and scope["method"] not in SAFE and scope["path"] not in ANSWERED:
            refusal = _refusal(scope["path"])
        await (refusal or self._application)(scope, receive, send)


def _refusal(path: str) -> Response | None:
    """Return the response in the form of the path's protocol; None for a page."""
    error = UnderMaintenance()
    if is_docker_hub_path(path) or path.startswith(PREFIXES):
        return failure_response(error)
    if path == "/v2" or path.startswith("/v2/"):
        return registry_refusal()
    return problem_response(error) if path.startswith(_OF_MACHINES) else None


def registry_refusal() -> Response:
    """Return the refusal of the distribution protocol."""
    body = encode_errors(WireError(ErrorCode.UNAVAILABLE, str(UnderMaintenance())))
    return Response(body, 503, {"Retry-After": str(RETRY_AFTER)}, "application/json")
