"""The header ``Retry-After`` as servers send it."""

from datetime import UTC, datetime, timedelta

import pytest

from hythe.oci.retry_after import retry_after, seconds_until

NOW = datetime(2026, 11, 27, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("", None),
        ("12", 12.0),
        (" 3 ", 3.0),
        ("0", 0.0),
        ("soon", None),
        ("-5", None),
        ("\u00b2", None),
        ("1.5", None),
        ("9" * 400, float("inf")),
        ("Fri, 27 Nov 2026 12:01:40 GMT", 100.0),
        ("Fri, 27 Nov 2026 11:00:00 GMT", 0.0),
        ("Friday, 27-Nov-26 12:01:40 GMT", 100.0),
        ("Fri Nov 27 12:01:40 2026", 100.0),
        ("Fri, 99 Nov 2026 12:01:40 GMT", None),
    ],
)
def test_the_seconds_to_wait(text: str, seconds: float | None) -> None:
    """RFC 9110, section 10.2.3: seconds, or a date in one of three forms; anything else is ignored."""
    assert seconds_until(text, NOW.timestamp()) == seconds


@pytest.mark.parametrize(("milliseconds", "seconds"), [(60_000, 60), (59_001, 60), (1, 1), (-5_000, 1)])
def test_the_header_of_a_response(milliseconds: int, seconds: int) -> None:
    """Rounded up, so that the client does not come too early; never 0."""
    assert retry_after(NOW + timedelta(milliseconds=milliseconds), NOW) == seconds
