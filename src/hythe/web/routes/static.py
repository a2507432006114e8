"""Static files, cached without expiry because their names contain a hash of their content."""

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from hythe.hub.access.route_rules import RouteRule
from hythe.hub.routes.declared_route import DeclaredRoute
from hythe.web.assets import PREFIX, Assets

CACHE_CONTROL = "public, max-age=31536000, immutable"


def static_route(assets: Assets) -> DeclaredRoute:
    """Return the route of the static files."""

    async def static(request: Request) -> Response:
        asset = assets.get(request.path_params["name"])
        if asset is None:
            raise HTTPException(404)
        headers = {"Cache-Control": CACHE_CONTROL, "Vary": "Accept-Encoding"}
        if asset.compressed and "gzip" in request.headers.get("accept-encoding", ""):
            headers["Content-Encoding"] = "gzip"
            return Response(asset.compressed, media_type=asset.media_type, headers=headers)
        return Response(asset.content, media_type=asset.media_type, headers=headers)

    return DeclaredRoute(f"{PREFIX}{{name}}", static, {"GET": (RouteRule.PUBLIC,)})
