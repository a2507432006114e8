"""ETags and conditional requests of the JSON API (RFC 9110, section 13), and the rate of its requests."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest
from tests.parts.hub import HytheServer
from tests.unit.hub.routes.people import PASSWORD, People

from hythe.hub.actor import ANONYMOUS, HubActor
from hythe.hub.routes.application import ENDPOINTS
from hythe.hub.routes.preconditions import (
    PreconditionFailed,
    Turns,
    etag_of,
    is_unchanged,
    require_match,
)
from hythe.hub.routes.request_rates import RequestRates, TooManyRequests

ONE, OTHER = etag_of(b"one"), etag_of(b"other")


@pytest.mark.parametrize("header", [ONE, f"{OTHER}, {ONE}", "*", ONE[:-1] + '-gzip"'])
def test_a_client_that_has_it_gets_no_body(header: str) -> None:
    """The header lists ETags, perhaps with the coding that a proxy appended."""
    assert is_unchanged(header, ONE)
    require_match(header, ONE)


@pytest.mark.parametrize("header", ["", OTHER, f"W/{ONE}", ONE[1:-1], "nonsense,,,"])
def test_another_etag_does_not_match(header: str) -> None:
    """Neither another, nor a weak one, nor one without quotation marks."""
    assert not is_unchanged(header, ONE)
    with pytest.raises(PreconditionFailed):
        require_match(header, ONE)


def test_changes_of_one_address_take_turns() -> None:
    """Two changes of one address do not overlap, those of two do; nothing is kept afterwards."""
    turns, log = Turns(), []

    async def change(path: str) -> None:
        async with turns.of(path):
            log.append(f"begin {path}")
            await asyncio.sleep(0.01)
            log.append(f"end {path}")

    async def scenario() -> None:
        await asyncio.gather(change("a"), change("a"), change("b"))

    asyncio.run(scenario())

    assert [line for line in log if line.endswith("a")] == ["begin a", "end a", "begin a", "end a"]
    assert log.index("begin b") < log.index("end a")
    assert turns._locks == {}


def test_endpoints_say_that_they_compare() -> None:
    """Those whose handlers have the condition compared in a transaction, and no others."""
    using = {(each.method, each.path) for each in ENDPOINTS if "unchanged" in each.handler.__code__.co_names}

    assert using
    assert {(each.method, each.path) for each in ENDPOINTS if each.compares} == using


def test_a_condition_on_anything(as_: People) -> None:
    """The condition ``*`` holds for what exists, whatever it is."""
    ann, anything = as_("ann"), {"If-Match": "*"}
    ann.post("/api/v1/repositories", json={"namespace": "ann", "name": "any"})

    changed = ann.patch("/api/v1/repositories/ann/any", json={"description": "new"}, headers=anything)
    absent = ann.patch("/api/v1/repositories/ann/none-such", json={"description": "new"}, headers=anything)

    assert (changed.status_code, changed.json()["description"], absent.status_code) == (200, "new", 404)
    assert ann.delete("/api/v1/repositories/ann/any", headers=anything).status_code == 204


def test_a_lost_update_is_refused(as_: People) -> None:
    """Of two changes that begin with the same state the second gets 412; a GET with a known ETag gets 304."""
    ann, address = as_("ann"), "/api/v1/repositories/ann/shared"
    assert ann.post("/api/v1/repositories", json={"namespace": "ann", "name": "shared"}).status_code == 201
    read = ann.get(address)

    unchanged = ann.get(address, headers={"If-None-Match": read.headers["ETag"]})
    first = ann.patch(address, json={"description": "one"}, headers={"If-Match": read.headers["ETag"]})
    second = ann.patch(address, json={"description": "two"}, headers={"If-Match": read.headers["ETag"]})
    deletion = ann.delete(address, headers={"If-Match": read.headers["ETag"]})

    assert (unchanged.status_code, unchanged.content) == (304, b"")
    assert unchanged.headers["ETag"] == read.headers["ETag"]
    assert (first.status_code, second.status_code, deletion.status_code) == (200, 412, 412)
    assert second.json()["hint"] == "GET it again, and send its new ETag"
    now = ann.get(address)
    assert (now.json()["description"], now.headers["ETag"] != read.headers["ETag"]) == ("one", True)
    assert ann.delete(address, headers={"If-Match": now.headers["ETag"]}).status_code == 204


def test_two_servers_refuse_a_lost_update(start_hub: Callable[..., HytheServer], postgresql_url: str) -> None:
    """Of changes that begin with the same state at the same time on two servers, one succeeds."""
    first = start_hub(database_url=postgresql_url)
    second = start_hub(database_url=postgresql_url, data=first.data)
    first.create_user("ann", PASSWORD)
    with httpx2.Client(auth=("ann", PASSWORD), timeout=60) as ann:
        ann.post(f"{first.url}/api/v1/organizations", json={"name": "acme"})
        ann.post(f"{first.url}/api/v1/organizations/acme/teams", json={"name": "web"})
        ann.post(f"{first.url}/api/v1/repositories", json={"namespace": "acme", "name": "app"})
    for path, field in (
        ("organizations/acme", "member_role"),
        ("organizations/acme/teams/web", "description"),
        ("repositories/acme/app", "description"),
    ):
        address = f"/api/v1/{path}"
        etag = httpx2.get(f"{first.url}{address}", auth=("ann", PASSWORD)).headers["ETag"]
        values = ("read", "write", "admin", "read", "write", "admin")

        def change(number: int, value: str, address: str = address, field: str = field, etag: str = etag) -> int:
            url, headers = (first, second)[number % 2].url + address, {"If-Match": etag}
            changed = httpx2.patch(url, auth=("ann", PASSWORD), json={field: value}, headers=headers, timeout=60)
            return changed.status_code

        with ThreadPoolExecutor(len(values)) as pool:
            statuses = sorted(pool.map(change, range(len(values)), values))
        assert statuses == [200, *[412] * (len(values) - 1)], path


def test_a_strangers_condition_reveals_nothing(as_: People) -> None:
    """A condition on a private repository gets the same 404 as on one that does not exist."""
    as_("ann").post("/api/v1/repositories", json={"namespace": "ann", "name": "hidden", "visibility": "private"})

    replies = [
        as_("ben").patch(f"/api/v1/repositories/ann/{name}", json={"description": "x"}, headers={"If-Match": ONE})
        for name in ("hidden", "absent")
    ]

    assert [reply.status_code for reply in replies] == [404, 404]


def test_requests_have_a_rate() -> None:
    """Each account and each anonymous network has its own bucket, which fills up within a minute."""
    now = [0.0]
    rates = RequestRates(60, lambda: now[0])
    ann = HubActor("ann", user_id=1)
    for _ in range(59):
        rates.count(ann, "192.0.2.1")

    assert rates.count(ann, "192.0.2.2")["RateLimit"] == '"requests";r=0;t=60'
    with pytest.raises(TooManyRequests) as caught:
        rates.count(ann, "192.0.2.1")
    assert (caught.value.retry_after, caught.value.headers["X-RateLimit-Remaining"]) == (1, "0")
    assert rates.count(ANONYMOUS, "192.0.2.1")["RateLimit"] == '"requests";r=59;t=1'
    assert rates.count(ANONYMOUS, "2001:db8::1")["X-RateLimit-Remaining"] == "59"
    assert rates.count(ANONYMOUS, "2001:db8::2")["X-RateLimit-Remaining"] == "58"
    now[0] = 30.0
    assert rates.count(ann, "192.0.2.1")["X-RateLimit-Remaining"] == "29"


def test_a_hub_may_have_no_limit() -> None:
    """With 0 nothing is counted, and the operator never is."""
    assert RequestRates(0).count(ANONYMOUS, "192.0.2.1") == {}
    assert RequestRates(1).count(HubActor.operator(), "") == {}


def test_responses_say_how_many_are_left(as_: People) -> None:
    """Each response of the API has the headers."""
    replies = [as_("").get("/api/v1/repositories") for _ in range(2)]

    left = [int(reply.headers["X-RateLimit-Remaining"]) for reply in replies]
    assert left[1] <= left[0]
    assert replies[0].headers["RateLimit-Policy"] == '"requests";q=1200;w=60'


def test_refused_requests_count(as_: People) -> None:
    """Errors have the headers, too, also those of requests that are refused before anything is done."""
    ben, address = as_("ben"), "/api/v1/repositories/ben/counted"
    new = {"namespace": "ben", "name": "counted"}
    replies = [
        ben.post("/api/v1/repositories", json=new),
        ben.get("/api/v1/admin/overview"),
        ben.get("/api/v1/repositories/ben/none-such"),
        ben.post("/api/v1/repositories", json=new),
        ben.patch(address, json={"description": "x"}, headers={"If-Match": OTHER}),
        ben.post("/api/v1/repositories", json=new | {"name": "-"}),
        ben.delete(address),
        ben.get("/v2/repositories/ben/counted/"),
    ]

    assert [reply.status_code for reply in replies] == [201, 403, 404, 409, 412, 422, 204, 404]
    assert all(int(reply.headers["X-RateLimit-Remaining"]) < 1200 for reply in replies)
    assert all(reply.headers["RateLimit"].startswith('"requests";r=') for reply in replies)
