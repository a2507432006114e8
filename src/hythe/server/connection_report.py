"""``/.well-known/hythe/connection``: how the server sees the client that asks, behind proxies too."""

import msgspec
from starlette.requests import Request
from starlette.responses import Response

CONNECTION_PATH = "/.well-known/hythe/connection"


class ConnectionReport(msgspec.Struct, frozen=True):
    """The client's address, and the scheme and host of its request, as this server uses them for limits and links."""

    address: str
    scheme: str
    host: str


async def report_connection(request: Request) -> Response:
    """Respond with the ConnectionReport of this request, which concerns no one but the client."""
    address = request.client.host if request.client is not None else ""
    report = ConnectionReport(address, request.url.scheme, request.headers.get("host", ""))
    return Response(msgspec.json.encode(report), media_type="application/json", headers={"Cache-Control": "no-store"})
