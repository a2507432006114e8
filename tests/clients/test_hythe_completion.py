"""Completion offers what a verb can act on: containers by state, images that are not in use."""

from __future__ import annotations

import pytest
from tests.parts.hythe_containers import ContainersHythe

pytestmark = pytest.mark.clients


def completed(hythe: ContainersHythe, *words: str) -> set[str]:
    """Return the completions of the last word."""
    return set(hythe.ok("completion", "words", "--", *words).split())


def test_containers_are_completed_by_state(hythe_box: ContainersHythe) -> None:
    """`stop` needs a running one, `start` and `rm` one that is not; `rm -f` and readers take all."""
    hythe_box.ok("run", "-d", "--name", "runs", "box", "sleep", "600")
    hythe_box.ok("run", "--name", "ended", "box", "true")
    hythe_box.ok("create", "--name", "made", "box", "true")
    hythe_box.ok("tag", "box", "spare:1")
    everything = {"runs", "ended", "made"}
    expected = {
        "stop": {"runs"},
        "start": {"ended", "made"},
        "rm": {"ended", "made"},
        "rm -f": everything,
        "logs": everything,
        "diff": everything,
        "export": everything,
        "commit": everything,
        "commit runs": {"box:latest", "spare:1"},
        "commit runs x": set(),
        "start ended": {"made"},
        "logs runs": set(),
        "run": {"box:latest", "spare:1"},
        "run --name runs": {"box:latest", "spare:1"},
        "run box": set(),
        "inspect": {*everything, "box:latest", "spare:1"},
        "tags": {"box", "spare"},
        "rmi": {"box:latest", "spare:1"},
        "rmi box:latest": {"spare:1"},
    }
    found = {words: completed(hythe_box, *words.split(), "") for words in expected}
    hythe_box.ok("rmi", "spare:1")

    assert found == expected
    assert completed(hythe_box, "rmi", "") == set()
