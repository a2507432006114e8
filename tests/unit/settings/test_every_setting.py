"""Every setting with wrong values of every kind, in the file, in the environment and as a flag."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Union, get_origin, get_type_hints

import pytest
from msgspec import Meta

from hythe.server.start_checks import HUB_CHECKS
from hythe.settings import Settings, SettingsError, load
from hythe.settings.validators import REQUIRED

HINTS = get_type_hints(Settings, include_extras=True)
TYPES = get_type_hints(Settings)
NAMES = Settings.__struct_fields__
NUMBERS = [name for name in NAMES if TYPES[name] is not bool and not isinstance(getattr(Settings(), name), str | bool)]
NUMBERS += [name for name in NAMES if get_origin(TYPES[name]) is Union and name not in NUMBERS]
SWITCHES = [name for name in NAMES if TYPES[name] is bool]
LITERALS = [name for name in NAMES if get_origin(TYPES[name]) is Literal]
TEXTS = [*(name for name in NAMES if TYPES[name] is str), *LITERALS]
CHOICES = [name for name in TEXTS if any(isinstance(m, Meta) and m.pattern for m in HINTS[name].__metadata__)]
CHOICES += LITERALS
PLACES = [name for name in TEXTS if name.endswith(("url", "store", "server", "folder", "certificates", "data"))]

WRONG_NUMBERS = (*("", " ", "x", "-1", "0x10", "1_000", "10XB", "5 parsecs", "1,5", "nan", "inf"), "9" * 40)
WRONG_SWITCHES = ("", " ", "perhaps", "2", "-1", "yes no")
WRONG_CHOICES = ("", " ", "x", "TEXT", "full ", "off,open")
WRONG_TYPES = {
    "number": ("[1]", "{a = 1}", "true", "2026-11-27", '""', "1.5", "1e300", "nan"),
    "switch": ("[true]", "{a = 1}", "2026-11-27", "2", "1.5"),
    "text": ("[1]", '["a"]', "{a = 1}", "true", "5", "1.5", "2026-11-27"),
}
"""Values in TOML of another type than the setting's."""

WRONG = [
    *((name, value) for name in NUMBERS for value in WRONG_NUMBERS),
    *((name, value) for name in SWITCHES for value in WRONG_SWITCHES),
    *((name, value) for name in CHOICES for value in WRONG_CHOICES),
    *((name, value) for name in REQUIRED for value in ("", " ", "\t")),
    *((name, value) for name in PLACES for value in (" ", " /x", "/x ", "/x\n", "\0")),
]


def refuse(
    flags: dict[str, str] | None = None, environment: dict[str, str] | None = None, file: Path | None = None
) -> list[str]:
    """Load settings that are wrong, and return the lines of the error."""
    with pytest.raises(SettingsError) as raised:
        load({"data": "/tmp", **(flags or {})}, environment or {}, str(file) if file else None, checks=HUB_CHECKS)
    return str(raised.value).splitlines()


def test_every_setting_has_a_kind() -> None:
    """None is left out of the tables here."""
    assert sorted([*NUMBERS, *SWITCHES, *TEXTS]) == sorted(NAMES)


@pytest.mark.parametrize("name", sorted({name for name, _ in WRONG}))
def test_a_wrong_value_is_named_with_its_source(name: str) -> None:
    """As a flag and in the environment; one line each, however long the value is."""
    for value in [value for each, value in WRONG if each == name]:
        (line,) = refuse({name: value})
        assert line.startswith(f"{name} (flag --{name.replace('_', '-')}): ")
        assert len(line) < 500
        variable = f"HYTHE_{name.upper()}"
        if name != "data":  # the flag overrides it
            (line,) = refuse(environment={variable: value})
            assert line.startswith(f"{name} (environment {variable}): ")


FRACTIONS = {"builds_processors", "slow_request", "slow_query"}
"""The settings that may have a fraction."""


@pytest.mark.parametrize("name", NAMES)
def test_a_wrong_type_in_the_file_is_named(name: str, tmp_path: Path) -> None:
    """Lists, tables, dates, and numbers in the place of texts."""
    kind = "number" if name in NUMBERS else "switch" if name in SWITCHES else "text"
    file = tmp_path / "hythe.toml"
    for value in WRONG_TYPES[kind]:
        if name in FRACTIONS and value == "1.5":
            continue
        file.write_text(f"{name} = {value}\n")
        (line,) = refuse(file=file)
        assert line.startswith(f"{name} (file {file}): ")


def test_everything_that_is_wrong_is_named_at_once(tmp_path: Path) -> None:
    """In all sources, with unknown names, and with what only a check at start finds."""
    file = tmp_path / "hythe.toml"
    file.write_text("lisen = 1\ncolour = 2\nbuilds_key = 'x'\nidle_timeout = 1\nidle-timeout = 2\nmail_from = 'x'\n")
    wrong = {f"HYTHE_{name.upper()}": "perhaps \0" for name in NAMES if name not in ("mail_from", "data")}

    lines = refuse({"forges": "x"}, wrong, file)

    assert {line.split(" ")[0] for line in lines if " (" in line.split(":")[0]} >= {*NAMES} - {"data"}
    assert f"file {file}: unknown setting 'lisen'; did you mean listen?" in lines
    assert f"file {file}: unknown setting 'colour'; 'hythe settings' lists all settings" in lines
    assert f"file {file}: the setting builds_key is now called secret_key: rename it; its value stays" in lines
    assert f"file {file}: idle_timeout is set twice, with - and with _: remove one" in lines
    assert any(line.startswith("forges (flag --forges): ") for line in lines)


@pytest.mark.parametrize("content", [b"\xff\xfe", b"a = [" * 5000, b"listen", b"[listen]\nx = 1"])
def test_a_file_of_another_kind_is_refused(content: bytes, tmp_path: Path) -> None:
    """The error names the file."""
    file = tmp_path / "hythe.toml"
    file.write_bytes(content)

    (line,) = refuse(file=file)

    assert str(file) in line


@pytest.mark.parametrize(
    ("given", "value"),
    [
        ("HTTPS://Hub.Example.COM/", "https://hub.example.com"),
        ("https://hub.example.com:8443/", "https://hub.example.com:8443"),
        ("http://[FD00::1]:5000", "http://[fd00::1]:5000"),
    ],
)
def test_spellings_of_the_public_url(given: str, value: str) -> None:
    """Links, realms and comparisons use one spelling."""
    assert load({"public_url": given}, {}).settings.public_url == value


@pytest.mark.parametrize("url", ["https://hub.example.com/hub", "https://hub.example.com//", "HTTPS://HUB/x/"])
def test_a_public_url_with_a_path_says_why_not(url: str) -> None:
    """Clients would never find a registry there."""
    (line,) = refuse({"public_url": url})

    assert "clients address a registry by its host alone, so a hub cannot be below a path: use https://HOST" in line


def test_a_time_of_more_than_a_century_is_refused() -> None:
    """It would lead to dates that do not exist."""
    for name in ("grace_period", "upload_lifetime", "mirror_age", "replaced_lifetime", "idle_timeout"):
        load({name: "100 w"}, {})
        (line,) = refuse({name: "999999999d"})
        assert "3153600000" in line
