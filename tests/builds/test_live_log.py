"""The live log of a build that is deleted."""

from __future__ import annotations

import base64
import urllib.request
from collections.abc import Callable

from tests.builds.hand_worker import BY_HAND, HandWorker
from tests.builds.services import PASSWORD, Services


def test_deleting_a_build_ends_its_live_log(start_services: Callable[..., Services]) -> None:
    """Readers get the event ``gone``, and the server logs no error."""
    services = start_services(BY_HAND)
    path = "/api/v1/repositories/alice/followed"
    services.call("POST", f"{path}/build-configuration", {"source": {"url": "https://git.example/a/b.git"}})
    services.call("POST", f"{path}/builds", {})
    assert HandWorker(services.hub.url).claim() is not None
    pair = base64.b64encode(f"alice:{PASSWORD}".encode()).decode()
    request = urllib.request.Request(
        f"{services.hub.url}{path}/builds/1/events", headers={"Authorization": f"Basic {pair}"}
    )
    with urllib.request.urlopen(request, timeout=30) as stream:
        assert stream.readline() == b"event: status\n"

        services.call("DELETE", f"{path}/build-configuration")

        assert stream.read().endswith(b"event: end\ndata: gone\n\n")
    assert "Traceback" not in services.hub.log
