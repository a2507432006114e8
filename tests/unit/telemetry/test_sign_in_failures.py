"""The lines of failed sign-ins: bounded, and matched by the filter for fail2ban."""

import io
import logging
import re
from collections.abc import Iterator

import pytest
from tests.parts.process import ROOT

from hythe.server.log import set_up_logging
from hythe.telemetry.sign_in_failures import MAX_LINES, THROTTLED, WINDOW, WRONG, SignInFailures

FILTER = ROOT / "deploy/fail2ban/hythe.conf"
TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z")


def failregex() -> list[re.Pattern[str]]:
    """Return the expressions of the filter as fail2ban compiles them."""
    text = FILTER.read_text().partition("failregex =")[2].partition("ignoreregex")[0]
    host = r"(?:::f{4,6}:)?(?P<host>[0-9A-Fa-f.:]+|-)"
    return [re.compile(line.strip().replace("<HOST>", host)) for line in text.splitlines() if line.strip()]


def banned(line: str) -> str | None:
    """Return the address that fail2ban would take from a line; it removes the time first."""
    stripped = TIMESTAMP.sub("", line, count=1)
    return next((found["host"] for pattern in failregex() if (found := pattern.search(stripped))), None)


@pytest.fixture(params=["text", "json"])
def output(request: pytest.FixtureRequest) -> Iterator[io.StringIO]:
    """What is logged in each format."""
    root = logging.getLogger()
    before, level = root.handlers, root.level
    set_up_logging(request.param)
    stream = io.StringIO()
    handler = root.handlers[0]
    assert isinstance(handler, logging.StreamHandler)
    handler.setStream(stream)
    yield stream
    root.handlers = before
    root.setLevel(level)


class Clock:
    """A clock that a test sets."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize("address", ["192.0.2.7", "2001:db8::7"])
@pytest.mark.parametrize("reason", [WRONG, THROTTLED, "blocked", "second factor needed"])
def test_the_filter_matches_each_failure(output: io.StringIO, address: str, reason: str) -> None:
    """fail2ban takes the client's address from the line, in both formats."""
    SignInFailures().report("alice", address, "password", reason)

    (line,) = output.getvalue().splitlines()
    assert banned(line) == address
    assert "alice" in line


def test_clients_that_did_nothing_wrong_are_not_banned(output: io.StringIO) -> None:
    """A failure of the identity provider is not the client's."""
    SignInFailures().report("", "192.0.2.7", "identity", "provider unavailable")

    (line,) = output.getvalue().splitlines()
    assert banned(line) is None


@pytest.mark.parametrize(
    "account",
    [
        "x: failed sign-in from 198.51.100.1: wrong password",
        'x", "event": "failed sign-in from 198.51.100.1: wrong password',
        "x\n2026-11-28T05:17:26Z [warning  ] failed sign-in from 198.51.100.1: wrong password",
        "\\",
    ],
)
def test_an_account_name_cannot_ban_another_address(output: io.StringIO, account: str) -> None:
    """The name that a client types is the only thing in the line that it chooses."""
    SignInFailures().report(account, "192.0.2.7", "password", WRONG)
    logging.getLogger("x").warning("%s", account)

    first, *others = output.getvalue().splitlines()
    assert banned(first) == "192.0.2.7"
    assert len(others) == 1
    assert banned(others[0]) is None


def test_throttled_attempts_leave_a_line_a_minute_for_each_client(output: io.StringIO) -> None:
    """They cost the client nothing, so any number can come."""
    clock = Clock()
    failures = SignInFailures(clock)

    for second in range(90):
        clock.now = float(second)
        failures.report("alice", "192.0.2.7", "password", THROTTLED)
    failures.report("alice", "192.0.2.8", "password", THROTTLED)

    assert [banned(line) for line in output.getvalue().splitlines()] == ["192.0.2.7", "192.0.2.7", "192.0.2.8"]


def test_all_failures_together_are_bounded(output: io.StringIO) -> None:
    """The number of those that were left out is logged in the next window."""
    clock = Clock()
    failures = SignInFailures(clock)

    for number in range(MAX_LINES + 100):
        failures.report("", f"192.0.2.{number % 250}", "token", WRONG)
    assert len(output.getvalue().splitlines()) == MAX_LINES
    clock.now = WINDOW + 1
    failures.report("", "192.0.2.7", "token", WRONG)

    lines = output.getvalue().splitlines()
    assert len(lines) == MAX_LINES + 2
    assert "100" in lines[-2]
