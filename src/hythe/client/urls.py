"""URLs that a server sends (``Location``, ``Link``, redirects), and where credentials may follow them."""

from urllib.parse import urljoin, urlsplit

from hythe.client.errors import Unreachable

_PORTS = {"http": 80, "https": 443}


def is_http_url(url: str) -> bool:
    """Whether ``url`` is an absolute HTTP URL that a connection can be opened to."""
    try:
        parts = urlsplit(url)
        return parts.scheme in _PORTS and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def resolve_url(base: str, text: str) -> str:
    """Return the absolute URL of ``text``, which the server at ``base`` sent.

    A server behind a proxy that ends TLS can name itself with ``http://``: then TLS is kept. Raises Unreachable for a
    text that is not an HTTP URL, and for another server without TLS if ``base`` uses it.
    """
    if not is_http_url(base):
        raise Unreachable(f"{base.partition('://')[2]} is not a valid address", "write HOST[:PORT]")
    try:
        url = urljoin(base, text)
    except ValueError:
        url = ""
    here, there = urlsplit(base), urlsplit(url)
    if not is_http_url(url):
        raise Unreachable(f"the server sent an invalid URL: {text[:200]!r}", "contact the registry's administrator")
    if here.scheme == "https" and there.scheme == "http":
        if there.netloc.lower() != here.netloc.lower():
            raise Unreachable(
                f"{here.netloc} redirects from HTTPS to plain HTTP at {there.netloc}", "contact its administrator"
            )
        return there._replace(scheme="https").geturl()
    return url


def is_same_server(url: str, base: str) -> bool:
    """Whether ``url`` is on the server of ``base``, or on the same host with TLS added: credentials go there only."""
    here, there = urlsplit(base), urlsplit(url)
    if here.hostname != there.hostname:
        return False
    ports = (here.port or _PORTS.get(here.scheme), there.port or _PORTS.get(there.scheme))
    if here.scheme == there.scheme:
        return ports[0] == ports[1]
    return (here.scheme, there.scheme) == ("http", "https") and (ports == (80, 443) or here.netloc == there.netloc)
