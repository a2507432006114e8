"""Redirects requests for a former name to the same path with the present one."""

import re
from urllib.parse import quote

from starlette.requests import Request

from hythe.hub.accounts.namespaces import canonical_name
from hythe.hub.errors import Moved


def moved_location(request: Request, error: Moved) -> str:
    """Return the path and query of the request with the present name instead of the former; empty if it has none."""
    path = request.url.path
    for former, present in (
        (error.former, error.present),
        (canonical_name(error.former), canonical_name(error.present)),
    ):
        # A name is whole segments of the path, of which the last may end in a suffix such as ``.svg`` or ``:TAG``.
        found = re.search(f"/{re.escape(former)}(?=$|[/.:@])", path)
        if found is not None:
            moved = f"{path[: found.start()]}/{present}{path[found.end() :]}"
            return quote(moved, safe="/:@-._~") + (f"?{request.url.query}" if request.url.query else "")
    return ""


def redirect_headers(request: Request, error: Exception) -> dict[str, str]:
    """Return the headers of a response that redirects; none for other errors.

    Not to be stored: the owner can end the redirect.
    """
    location = moved_location(request, error) if isinstance(error, Moved) else ""
    return {"Location": location, "Cache-Control": "no-store"} if location else {}
