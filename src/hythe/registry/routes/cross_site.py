"""Recognizes requests that a browser sends for a page of another site."""


def is_cross_site(origin: str | None, fetch_site: str | None, hosts: frozenset[str]) -> bool:
    """Whether the headers Origin and Sec-Fetch-Site say that another site sent the request.

    ``hosts`` are the HOST[:PORT] of this server. Clients that are no browsers send neither header. Old browsers, and
    all browsers over plain HTTP to another machine, send no Sec-Fetch-Site, and Origin only if they change something.
    """
    if fetch_site is not None and fetch_site not in {"same-origin", "none"}:
        return True
    return origin is not None and origin.partition("://")[2] not in hosts
