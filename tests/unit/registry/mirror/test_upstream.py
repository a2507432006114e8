"""How an upstream is asked, with a hub as the upstream."""

import asyncio
from collections.abc import Callable

import aiohttp
import pytest
from tests.parts.hub import HytheServer

from hythe.registry.clock import now
from hythe.registry.mirror import tokens
from hythe.registry.mirror.errors import UpstreamMissing
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
