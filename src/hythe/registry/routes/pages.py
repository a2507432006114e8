"""Pages of a list: parses ``n`` and ``last``, builds ``Link`` (specification, "Listing Tags")."""

from urllib.parse import urlencode

from hythe.oci.errors import ErrorCode, WireError
from hythe.registry.routes.http import Headers, Request


def page_size(request: Request) -> int | None:
    """Return ``n``; None if the client did not send it. Raises WireError PAGINATION_NUMBER_INVALID."""
    text = request.parameter("n")
    if text is None:
        return None
    if not text.isascii() or not text.isdecimal():
        raise WireError(ErrorCode.PAGINATION_NUMBER_INVALID, "n must be the maximum number of results, 0 or more")
    return int(text[:9]) if len(text) <= 9 else 10**9


def next_link(request: Request, last: str, size: int | None) -> Headers:
    """Return the Link header to the page after ``last`` (RFC 5988)."""
    kept = [(key, value) for key, value in request.query() if key not in ("n", "last")]
    number = [("n", str(size))] if size is not None else []
    query = urlencode([*kept, *number, ("last", last)])
    return [(b"link", f'<{request.scope["path"]}?{query}>; rel="next"'.encode())]
