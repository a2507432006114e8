"""Sizes and times in docker's formats."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from hythe.cli.units import docker_time, ellipsis, human_age, human_duration, human_size


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0B"),
        (999, "999B"),
        (1000, "1kB"),
        (13256, "13.3kB"),
        (4_261_502, "4.26MB"),
        (72_800_000, "72.8MB"),
        (1_240_000_000, "1.24GB"),
    ],
)
def test_sizes_have_three_digits_and_decimal_units(count: int, text: str) -> None:
    """Same results as go-units' HumanSizeWithPrecision(3)."""
    assert human_size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.5, "Less than a second"),
        (1, "1 second"),
        (59, "59 seconds"),
        (61, "About a minute"),
        (46 * 60, "46 minutes"),
        (62 * 60, "About an hour"),
        (45 * 60, "45 minutes"),
        (5 * 3600, "5 hours"),
        (47 * 3600, "47 hours"),
        (3 * 86400, "3 days"),
        (20 * 86400, "2 weeks"),
        (100 * 86400, "3 months"),
        (800 * 86400, "2 years"),
        (13 * 86400, "13 days"),
        (14 * 86400, "2 weeks"),
        (59 * 86400, "8 weeks"),
        (60 * 86400, "2 months"),
        (729 * 86400, "24 months"),
        (730 * 86400, "2 years"),
    ],
)
def test_durations_are_rounded_as_docker_does(seconds: float, text: str) -> None:
    """Same results as go-units' HumanDuration."""
    assert human_duration(seconds) == text


def test_ages_and_times() -> None:
    """A missing creation time, as in reproducible images, prints N/A."""
    now = datetime(2026, 11, 23, tzinfo=UTC)

    assert human_age((now - timedelta(days=3)).isoformat(), now) == "3 days ago"
    assert human_age("", now) == "N/A"
    assert human_age("0001-01-01T00:00:00Z", now) == "N/A"
    assert docker_time("2026-11-23T15:40:00.123456789+01:00") == "2026-11-23 14:40:00 +0000 UTC"


def test_cutting_leaves_an_ellipsis() -> None:
    """The ellipsis counts towards the length."""
    assert ellipsis("abcdef", 4) == "abc…"
    assert ellipsis("abcd", 4) == "abcd"
