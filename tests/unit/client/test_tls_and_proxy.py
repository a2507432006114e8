"""Connection options: plain HTTP, loopback, proxies."""

from __future__ import annotations

import msgspec
import pytest

from hythe.client.errors import InvalidConfiguration
from hythe.client.tls_and_proxy import Proxy, TLSOptions, is_loopback, proxy_for


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("localhost", True),
        ("localhost:5000", True),
        ("127.0.0.1:5000", True),
        ("127.9.9.9", True),
        ("[::1]:5000", True),
        ("localhost.localdomain:5000", True),
        ("hub.localhost:80", True),
        ("localhost.example.com", False),
        ("127.example.com", False),
        ("10.0.0.1:5000", False),
        ("docker.io", False),
    ],
)
def test_loopback(host: str, loopback: bool) -> None:
    """Only loopback hosts are accessed over plain HTTP by default."""
    assert is_loopback(host) is loopback
    assert TLSOptions().allows_plain_http(host) is loopback


def test_plain_http_where_the_user_allowed_it() -> None:
    """By host and port, by host, or everywhere."""
    assert TLSOptions(("build:5000",)).allows_plain_http("build:5000")
    assert not TLSOptions(("build:5000",)).allows_plain_http("build:5001")
    assert TLSOptions(("build",)).allows_plain_http("build:5001")
    assert TLSOptions(("*",)).allows_plain_http("anywhere.example.com")


@pytest.mark.parametrize(
    ("scheme", "host", "environment", "expected"),
    [
        ("https", "docker.io", {}, None),
        ("https", "docker.io", {"HTTPS_PROXY": "http://proxy:3128"}, Proxy("proxy", 3128)),
        ("https", "docker.io", {"https_proxy": "proxy:3128"}, Proxy("proxy", 3128)),
        ("http", "docker.io", {"HTTPS_PROXY": "http://proxy:3128"}, None),
        ("http", "docker.io", {"ALL_PROXY": "http://proxy"}, Proxy("proxy", 80)),
        ("https", "docker.io", {"https_proxy": "http://u:p%40@proxy"}, Proxy("proxy", 80, "Basic dTpwQA==")),
        ("https", "docker.io", {"https_proxy": "http://proxy", "no_proxy": "docker.io"}, None),
        ("https", "auth.docker.io", {"https_proxy": "http://proxy", "NO_PROXY": "a.b, .docker.io"}, None),
        ("https", "notdocker.io", {"https_proxy": "http://proxy", "no_proxy": "docker.io"}, Proxy("proxy", 80)),
        ("https", "docker.io", {"https_proxy": "http://proxy", "no_proxy": "*"}, None),
        ("https", "hub.docker.io", {"https_proxy": "http://proxy", "no_proxy": "*.docker.io"}, None),
        ("https", "10.1.2.3:5000", {"https_proxy": "http://proxy", "no_proxy": "10.0.0.0/8"}, None),
        ("https", "11.1.2.3:5000", {"https_proxy": "http://proxy", "no_proxy": "10.0.0.0/8"}, Proxy("proxy", 80)),
        ("https", "docker.io", {"https_proxy": "http://proxy", "no_proxy": "10.0.0.0/8"}, Proxy("proxy", 80)),
        ("http", "127.0.0.1:5000", {"http_proxy": "http://proxy"}, None),
    ],
)
def test_proxies_from_the_environment(
    scheme: str, host: str, environment: dict[str, str], expected: Proxy | None
) -> None:
    """The same rules as Go's: never a proxy for loopback."""
    found = proxy_for(scheme, host, environment)

    assert (found and msgspec.structs.replace(found, variable="")) == expected
    assert found is None or found.variable in environment


def test_an_unsupported_proxy_is_refused() -> None:
    """An error is better than an unwanted direct connection."""
    with pytest.raises(InvalidConfiguration, match="socks5"):
        proxy_for("https", "docker.io", {"ALL_PROXY": "socks5://proxy:1080"})


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("socks5://u:secret@proxy:1080", "ALL_PROXY: proxies with socks5:// are not supported"),
        ("https://u:secret@proxy", "ALL_PROXY: proxies with https:// are not supported"),
        ("http://u:secret@proxy:port", "ALL_PROXY is not a URL"),
        ("http://u:secret@[::1", "ALL_PROXY is not a URL"),
        ("http://:secret@", "ALL_PROXY: the host is missing"),
    ],
)
def test_an_invalid_proxy_names_its_variable(value: str, words: str) -> None:
    """And never shows its password."""
    with pytest.raises(InvalidConfiguration, match=words) as caught:
        proxy_for("https", "docker.io", {"ALL_PROXY": value})

    assert "secret" not in str(caught.value) + caught.value.hint
