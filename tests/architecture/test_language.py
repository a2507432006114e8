"""Plain English: words and phrases that have confused readers do not come back.

The list covers the source (identifiers, docstrings, comments and texts), the templates and the documents. To add a
habit, add a row to BANNED with what to write in its place.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.architecture.source import SOURCE
from tests.parts.process import ROOT

BANNED = {
    r"anew": "again, or a verb with re-: relink, recreate",
    r"lately": "recently",
    r"meanwhile": "in the meantime, since then; or leave it out",
    r"for ever": "forever, without end",
    r"for good": "permanently",
    r"for want of": "if there is no",
    r"(?<!side )beside": "next to, in addition to, outside (requests)",
    r"recollections?": "read cache",
    r"forecasts?": "dry run",
    r"soundness": "integrity",
    r"rounds? of (?:background )?work": "periodic task",
    r"standings?": "access context",
    r"silence": "timeout, idle",
    r"set-ups?": "build configuration",
    r"(?<!io_)setups?(?!\.(?:py|json))": "build configuration; the verb is set up",
    r"notices?(?!-)": "webhook, notification, flash",
    r"the house": "the hub, all services",
    r"is taken away": "is deleted, revoked",
    r"take[sn]? away": "delete, revoke",
    r"something strange": "say what is invalid",
    r"of what": "say it in subject, verb, object",
    r"whom": "rewrite the sentence",
    r"comes? to nothing": "fails, has no effect",
    r"troubles?": "problem",
    r"once and for all": "permanently",
    r"which see": "see X",
    r"all the same": "anyway; or leave it out",
    r"by and by": "gradually",
    r"at the latest": "within",
    r"patience": "timeout, deadline",
    r"hear(?:s|d)? of": "is notified of",
    r"hearers?": "listener",
    r"foreign(?! keys?|_keys?|key|_pre_chain)": "third-party, other, user-supplied",
    r"(?:somebody|someone else's)": "someone, a user, another user",
    r"nobody": "no one, no user; or turn the sentence round: only X ..",
    r"anybody": "anyone, every user",
    r"everybody": "everyone, all users",
    r"whoever": "anyone who, the user who",
    r"there is no such": "X does not exist, no X named Y",
    r"(?:lies|lay)": "is, is stored",
    r"stands?(?!-in| for| alone| in for| still)": "is",
    r"told": "notified, informed, given; or name the actor",
    r"nowhere": "not in any ..",
    r"in words": "say how: with a message, in a sentence",
    r"h(?:olds?|eld) up": "delay, block",
    r"(?:is|are|was|were) gone": "was deleted, no longer exists, disconnected",
    r"wish(?:es|ed)?": "want, option",
    r"go(?:es)? on": "continue",
    r"forgery": "CSRF",
    r"(?<!refs/)(?<!with )heads(?! of branches)": "headers, branch tips",
}
"""Pattern (whole words, any case) -> what to write in its place."""

EXCEPTIONS: dict[str, tuple[str, ...]] = {
    "src/hythe/hub/accounts/namespaces.py": (r"nobody", r"(?<!io_)setups?(?!\.(?:py|json))"),  # reserved user names
    "src/hythe/oci/manifest.py": (r"foreign(?! keys?|_keys?|key|_pre_chain)",),  # a part of Docker's media type
    "src/hythe/notifications/sender.py": (r"notices?(?!-)",),  # the purpose that stored secrets are sealed for
}
"""File -> patterns that it needs, for instance to read what an older version stored."""

MIGRATIONS = SOURCE / "database/migrations/versions"
"""Migrations name what was there before them."""

_PATTERNS = {text: re.compile(rf"(?<![A-Za-z]){text}(?![A-Za-z])", re.IGNORECASE) for text in BANNED}


def readable_files() -> list[str]:
    """Paths of everything that a person reads: source, templates, scripts and documents."""
    folders = [path for pattern in ("*.py", "*.html", "*.md", "*.js") for path in SOURCE.rglob(pattern)]
    documents = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "Makefile", *(ROOT / "scripts").iterdir()]
    return sorted(
        path.relative_to(ROOT).as_posix()
        for path in {*folders, *documents}
        if MIGRATIONS not in path.parents and path.is_file()
    )


def problems_in(text: str, allowed: tuple[str, ...] = ()) -> list[str]:
    """Return a line for each banned phrase in ``text``, with its place and the better word."""
    return [
        f"line {number}: {match[0]!r}: write {BANNED[name]}"
        for number, line in enumerate(text.splitlines(), 1)
        for name, pattern in _PATTERNS.items()
        if name not in allowed
        for match in pattern.finditer(line)
    ]


@pytest.mark.parametrize("path", readable_files())
def test_plain_words(path: str) -> None:
    """A file holds none of the banned words and phrases."""
    assert problems_in((ROOT / path).read_text(), EXCEPTIONS.get(path, ())) == []


@pytest.mark.parametrize(
    "sentence", ["link the account anew", "Whose a linked account is, is told in one place", "the_standing = 1"]
)
def test_the_list_finds_what_it_is_for(sentence: str) -> None:
    """The sentences that names.md quotes are found, in prose and in identifiers."""
    assert len(problems_in(sentence)) >= 1


def test_the_exceptions_are_still_needed() -> None:
    """No file keeps an exception that it does not use."""
    unused = {
        (path, name)
        for path, names in EXCEPTIONS.items()
        for name in names
        if not _PATTERNS[name].search(Path(ROOT / path).read_text())
    }

    assert unused == set()
