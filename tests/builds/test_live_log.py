"""The live log where something happens to the build that is followed."""

from __future__ import annotations

import base64
import urllib.request
from collections.abc import Callable

from tests.builds.hand_worker import BY_HAND, HandWorker
from tests.builds.house import PASSWORD, Services


def test_a_build_that_is_removed_ends_its_log(start_house: Callable[..., Services]) -> None:
    """Whoever follows is told that it is gone; the server has nothing to complain about."""
    house = start_house(BY_HAND)
    path = "/api/v1/repositories/alice/followed"
    house.call("POST", f"{path}/build-configuration", {"source": {"url": "https://git.example/a/b.git"}})
    house.call("POST", f"{path}/builds", {})
    assert HandWorker(house.hub.url).claim() is not None
    pair = base64.b64encode(f"alice:{PASSWORD}".encode()).decode()
    request = urllib.request.Request(
        f"{house.hub.url}{path}/builds/1/events", headers={"Authorization": f"Basic {pair}"}
    )
    with urllib.request.urlopen(request, timeout=30) as stream:
        assert stream.readline() == b"event: status\n"

        house.call("DELETE", f"{path}/build-configuration")

        assert stream.read().endswith(b"event: end\ndata: gone\n\n")
    assert "Traceback" not in house.hub.log
