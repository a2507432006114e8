"""How an upstream is asked, with a hub as the upstream."""

import asyncio
from collections.abc import Callable

import aiohttp
import pytest
from tests.parts.database import Run
from tests.parts.hub import HytheServer
from tests.unit.registry.mirror.upstream_stand_in import UpstreamStandIn

from hythe.registry.clock import now
from hythe.registry.mirror import tokens
from hythe.registry.mirror import upstream as upstream_module
from hythe.registry.mirror.errors import UpstreamError, UpstreamInvalid, UpstreamMissing, UpstreamUnavailable
from hythe.registry.mirror.pauses import Pauses
from hythe.registry.mirror.upstream import UpstreamRegistry
from hythe.registry.mirror.upstreams import Upstream


def test_tokens_are_kept_for_a_bounded_number_of_names(
    start_hub: Callable[..., HytheServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever asks a mirror for one name after the other does not fill its memory with tokens."""
    monkeypatch.setattr(tokens, "MAX_TOKENS", 3)
    url = start_hub().url

    async def scenario() -> list[int]:
        async with aiohttp.ClientSession() as session:
            registry = UpstreamRegistry(session, Upstream("hub.example", "hub.example/", url), 1000, Pauses(now))
            kept = []
            for number in range(5):
                with pytest.raises(UpstreamMissing):
                    await registry.manifest_headers(f"ann/{number}", "latest")
                kept.append(len(registry.tokens))
            return kept

    assert asyncio.run(scenario()) == [1, 2, 3, 1, 2]


@pytest.mark.parametrize(
    ("url", "kind", "said"),
    [
        ("https://{host}", UpstreamInvalid, "the TLS connection to {host} failed"),
        ("http://nowhere.invalid", UpstreamUnavailable, "nowhere.invalid does not respond"),
        ("http://127.0.0.1:1", UpstreamUnavailable, "127.0.0.1:1 does not respond"),
    ],
)
def test_connections_that_fail(run: Run[None], url: str, kind: type[UpstreamError], said: str) -> None:
    """A retry may find the host, but does not make its certificate valid."""

    async def scenario() -> None:
        stand_in = UpstreamStandIn()
        server = await stand_in.start()
        upstream = Upstream("up.example", "up.example/", url.format(host=stand_in.host))
        async with aiohttp.ClientSession() as session:
            registry = UpstreamRegistry(session, upstream, 1000, Pauses(now))
            try:
                with pytest.raises(kind, match=said.format(host=stand_in.host)):
                    await registry.manifest("app", "latest")
            finally:
                await server.cleanup()

    run(scenario())


def test_a_silent_upstream_is_given_up(run: Run[None], monkeypatch: pytest.MonkeyPatch) -> None:
    """However slowly its bytes arrive."""
    monkeypatch.setattr(upstream_module, "METADATA_TIMEOUT", 0.2)

    async def scenario() -> None:
        connected = []

        def trickle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            connected.append(writer)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{")

        server = await asyncio.start_server(trickle, "127.0.0.1", 0)
        host = "127.0.0.1:{}".format(*server.sockets[0].getsockname()[1:2])
        async with aiohttp.ClientSession() as session:
            registry = UpstreamRegistry(session, Upstream("up", "up/", f"http://{host}"), 1000, Pauses(now))
            with pytest.raises(UpstreamUnavailable, match="does not respond: timeout"):
                await registry.manifest("app", "latest")
        for writer in connected:
            writer.close()
        server.close()

    run(scenario())
