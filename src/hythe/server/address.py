"""Where a server listens, as the address that clients use."""

from hythe.server.http import Address
from hythe.settings import Settings


def url_of(settings: Settings, address: Address) -> str:
    """Return the URL of this address, by loopback when it is every address, without a slash at the end."""
    host, port = address
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 (compared, not listened on)
    scheme = "https" if settings.tls_cert else "http"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
