"""Static files under names with a hash of their content."""

from __future__ import annotations

import gzip

import pytest

from hythe.web.assets import Assets


def test_a_change_changes_the_name() -> None:
    """A cached file is never out of date."""
    before, after = Assets({"a.js": b"1"}), Assets({"a.js": b"2"})

    assert before.address("a.js") != after.address("a.js")
    assert before.address("a.js").startswith("/static/a.")


def test_a_stylesheet_names_other_files_by_their_hash() -> None:
    """A changed font also changes the name of the stylesheet."""
    one = Assets({"s.css": b'x { src: url("f/a.woff2") }', "f/a.woff2": b"1"})
    two = Assets({"s.css": b'x { src: url("f/a.woff2") }', "f/a.woff2": b"2"})

    sheet = one.get(one.address("s.css").rpartition("/")[2])
    assert sheet is not None
    assert one.address("f/a.woff2").encode() in sheet.content
    assert one.address("s.css") != two.address("s.css")


def test_text_is_compressed_and_fonts_are_not() -> None:
    """Files are compressed once, and only if it makes them smaller."""
    assets = Assets({"s.css": b"a" * 1000, "a.woff2": b"a" * 1000})
    sheet, font = (assets.get(assets.address(name).rpartition("/")[2]) for name in ("s.css", "a.woff2"))

    assert sheet is not None
    assert font is not None
    assert gzip.decompress(sheet.compressed) == sheet.content
    assert (sheet.media_type, font.media_type, font.compressed) == ("text/css", "font/woff2", b"")


def test_missing_files_are_not_found() -> None:
    """Only hashed names are served; a template with a missing file fails."""
    assets = Assets({"a.js": b"1"})

    assert assets.get("a.js") is None
    with pytest.raises(KeyError):
        assets.address("b.js")


def test_our_own_files_are_complete() -> None:
    """Every address in the stylesheet is served."""
    assets = Assets.read()
    sheet = assets.get(assets.address("hythe.css").rpartition("/")[2])

    assert sheet is not None
    named = [part.partition('"')[0] for part in sheet.content.decode().split('url("')[1:]]
    assert named
    assert all(assets.get(address.removeprefix("/static/")) for address in named)
