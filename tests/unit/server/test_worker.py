"""The worker beside a server finds it wherever it listens."""

import pytest

from hythe.server.worker import own_url
from hythe.settings import Settings

TLS = Settings(tls_cert="host.pem", tls_key="host.key")


@pytest.mark.parametrize(
    ("settings", "address", "url"),
    [
        (Settings(), ("127.0.0.1", 5000), "http://127.0.0.1:5000"),
        (Settings(), ("0.0.0.0", 5000), "http://127.0.0.1:5000"),
        (Settings(), ("::", 5000), "http://[::1]:5000"),
        (Settings(), ("::1", 5000), "http://[::1]:5000"),
        (Settings(), ("2001:db8::2", 80), "http://[2001:db8::2]:80"),
        (Settings(public_url="https://hub.example"), ("10.0.0.1", 5000), "http://10.0.0.1:5000"),
        (TLS, ("10.0.0.1", 443), "https://10.0.0.1:443"),
        (Settings(public_url="https://hub.example", tls_cert="a", tls_key="b"), ("::", 443), "https://hub.example"),
    ],
)
def test_own_url(settings: Settings, address: tuple[str, int], url: str) -> None:
    """By loopback where the server listens everywhere; by its public name where a certificate wants that."""
    assert own_url(settings, address) == url
