"""Sessions: listed with place and time, ended singly or all."""

import pytest
from tests.unit.hub.services import PASSWORD, Services

from hythe.hub.actor import ANONYMOUS, HubActor
from hythe.hub.errors import NotFound
from hythe.hub.page import Paging
from hythe.hub.sign_in.session import browser_name

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"


def test_sessions_are_listed_and_ended(services: Services, ann: HubActor, ben: HubActor) -> None:
    """With network, browser and time of the last use, which is recorded once an hour."""
    sessions = services.hub.sessions
    first = services.run(sessions.sign_in("ann", PASSWORD, "192.0.2.1", FIREFOX))
    services.clock.forward(minutes=1)
    second = services.run(sessions.sign_in("ann", PASSWORD, "2001:db8::1:2", "curl/8.5.0"))
    started = services.clock.now
    services.clock.forward(minutes=58)
    services.run(sessions.actor(second.token, "203.0.113.5"))
    services.clock.forward(minutes=1.5)
    me = services.run(sessions.actor(first.token, "203.0.113.5"))

    listed = services.run(sessions.list(me, Paging())).items
    assert [(each.browser, each.network, each.current) for each in listed] == [
        ("curl 8", "2001:db8::/64", False),
        ("Firefox 145 on Linux", "203.0.113.5", True),
    ]
    assert [each.used_at for each in listed] == [started, services.clock.now]

    bens = services.run(sessions.actor(services.run(sessions.sign_in("ben", PASSWORD, "here")).token))
    with pytest.raises(NotFound):
        services.run(sessions.revoke(bens, listed[0].id))
    services.run(sessions.revoke(me, listed[0].id))
    assert services.run(sessions.actor(second.token)) == ANONYMOUS
    services.run(sessions.sign_in("ann", PASSWORD, "192.0.2.1"))
    assert services.run(sessions.revoke_others(me)) == 1
    assert services.run(sessions.actor(first.token)).name == "ann"
    assert services.run(sessions.actor(services.run(sessions.sign_in("ben", PASSWORD, "here")).token)).name == "ben"


def test_a_session_of_an_older_version(services: Services, ann: HubActor) -> None:
    """It is listed from when it is used."""
    started = services.run(services.hub.sessions.sign_in("ann", PASSWORD, "192.0.2.1"))

    async def forget() -> None:
        from sqlalchemy import update

        from hythe.database.tables.hub import sessions

        async with services.database.writing() as session:
            values = {"public_id": None, "used_at": None, "network": None, "user_agent": None}
            await session.run(update(sessions).where(sessions.c.user_id == ann.user_id).values(values))

    services.run(forget())
    assert services.run(services.hub.sessions.list(ann, Paging())).items == ()
    me = services.run(services.hub.sessions.actor(started.token, "192.0.2.7"))
    (listed,) = services.run(services.hub.sessions.list(me, Paging())).items
    assert (listed.network, listed.browser, listed.current) == ("192.0.2.7", "", True)


def test_the_lifetime_is_a_setting(services: Services, ann: HubActor) -> None:
    """A session ends after it."""
    services.hub.sessions.apply(600)
    started = services.run(services.hub.sessions.sign_in("ann", PASSWORD, "here"))
    services.clock.forward(seconds=599)
    assert services.run(services.hub.sessions.actor(started.token)).name == "ann"
    services.clock.forward(seconds=1)
    assert services.run(services.hub.sessions.actor(started.token)) == ANONYMOUS


SAFARI = "AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.2 Mobile/15E148 Safari/604.1"
CHROME = "AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0"


@pytest.mark.parametrize(
    ("user_agent", "name"),
    [
        (FIREFOX, "Firefox 145 on Linux"),
        (f"Mozilla/5.0 (iPhone; CPU iPhone OS 18_2 like Mac OS X) {SAFARI}", "Safari 18 on iPhone"),
        (f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {CHROME} Safari/537.36", "Chrome 131 on Windows"),
        (f"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) {CHROME} Safari/537.36 Edg/131.0.0.0", "Edge 131 on macOS"),
        ("Mozilla/5.0 (Linux; Android 15) something", "Browser on Android"),
        ("docker/27.3.1 go/go1.22.7 kernel/6.8 os/linux", "docker 27"),
        ("\x00<script>", ""),
        ("", ""),
    ],
)
def test_browsers_in_words(user_agent: str, name: str) -> None:
    """Browsers claim to be others, too; what is not known stays empty."""
    assert browser_name(user_agent) == name
