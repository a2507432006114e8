"""The settings: where a value comes from, and what is said about one that cannot be used."""

from pathlib import Path

import pytest

from hythe.settings import Settings, SettingsError, format_bytes, load

ROOT = Path(__file__).parents[2]


def test_flag_wins_over_environment_over_file_over_default(tmp_path: Path) -> None:
    """Each layer overrides the one below, and the source is told."""
    file = tmp_path / "hythe.toml"
    file.write_text('listen = "127.0.0.1:1"\ntoken-lifetime = 100\nidle_timeout = 9\n')
    environment = {"HYTHE_CONFIG": str(file), "HYTHE_LISTEN": "127.0.0.1:2", "HYTHE_TOKEN_LIFETIME": "200"}

    loaded = load({"listen": "127.0.0.1:3", "data": None}, environment)

    assert loaded.settings.address == ("127.0.0.1", 3)
    assert loaded.settings.token_lifetime == 200
    assert loaded.settings.idle_timeout == 9
    assert loaded.settings.data == Settings().data
    assert dict(loaded.sources) == {
        "listen": "flag --listen",
        "token_lifetime": "environment HYTHE_TOKEN_LIFETIME",
        "idle_timeout": f"file {file}",
    }


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"listen": "5000"}, "HOST:PORT"),
        ({"listen": "127.0.0.1:99999"}, "HOST:PORT"),
        ({"token_lifetime": "5"}, "token_lifetime (flag --token-lifetime)"),
        ({"sign_up": "perhaps"}, "sign_up"),
        ({"tls_cert": "a.pem"}, "tls_key"),
        ({"log_format": "xml"}, "text or json"),
        ({"manifest_size": "16XB"}, "MiB"),
        ({"manifest_size": "0MiB"}, ">= 1"),
        ({"manifest_size": "2h"}, "MiB"),
        ({"grace_period": "2MiB"}, "m, s"),
        ({"grace_period": "-2h"}, "m, s"),
        ({"builds_processes": "2k"}, "builds_processes"),
        ({"private_repositories": "many"}, "a number, or unlimited"),
        ({"private_repositories": "-1"}, "a number, or unlimited"),
        ({"storage_per_account": "much"}, "a size, or unlimited"),
        ({"storage_per_account": str(2**63)}, "storage_per_account"),
        ({"uploads_per_account": "2GiB"}, "a number, or unlimited"),
        ({"trusted_proxies": "10.0.0.1 proxy"}, "trusted_proxies"),
    ],
)
def test_a_value_that_cannot_be_used_is_named(flags: dict[str, str], said: str) -> None:
    """The error names the setting and what would be right."""
    with pytest.raises(SettingsError) as raised:
        load(flags, {})

    assert said in str(raised.value)


@pytest.mark.parametrize(
    ("name", "given", "limit", "shown"),
    [
        ("private_repositories", "unlimited", "unlimited", "unlimited"),
        ("private_repositories", "0", 0, "0"),
        ("repositories_per_account", 7, 7, "7"),
        ("storage_per_account", "unlimited", "unlimited", "unlimited"),
        ("storage_per_account", "50GiB", 50 << 30, "50GiB"),
        ("storage_per_account", "0", 0, "0"),
    ],
)
def test_limits_of_accounts(name: str, given: object, limit: object, shown: str) -> None:
    """A number or a size, or without a limit."""
    loaded = load({name: given}, {})

    assert getattr(loaded.settings, name) == limit
    assert next(origin.value for origin in loaded.origins() if origin.name == name) == shown


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 bytes"), (1, "1 byte"), (1023, "1023 bytes"), (1024, "1 KiB"), (10 << 30, "10 GiB"), (1342177, "1.28 MiB")],
)
def test_bytes_as_text(count: int, text: str) -> None:
    """The largest binary unit, with at most two decimals."""
    assert format_bytes(count) == text


@pytest.mark.parametrize(
    ("name", "written", "value", "shown"),
    [
        ("manifest_size", "16MiB", 16 << 20, "16MiB"),
        ("manifest_size", "16 mib", 16 << 20, "16MiB"),
        ("builds_memory", "6g", 6 << 30, "6GiB"),
        ("mirror_size", "1500MB", 1_500_000_000, "1500MB"),
        ("mirror_size", "1025", 1025, "1025B"),
        ("mirror_size", "0", 0, "0"),
        ("grace_period", "2h", 7200, "2h"),
        ("mirror_age", "7d", 7 * 86400, "1w"),
        ("garbage_interval", "10m", 600, "10m"),
        ("idle_timeout", 90, 90, "90s"),
    ],
)
def test_units(name: str, written: object, value: int, shown: str, tmp_path: Path) -> None:
    """A size or a time may have a unit, in each place, and is shown with the largest that leaves it whole."""
    file = tmp_path / "hythe.toml"
    file.write_text(f"{name} = {written if isinstance(written, int) else repr(written)}\n")

    by_flag = load({name: written}, {})
    by_variable = load({}, {f"HYTHE_{name.upper()}": str(written)})
    by_file = load({}, {}, str(file))

    assert [getattr(each.settings, name) for each in (by_flag, by_variable, by_file)] == [value] * 3
    assert {row.name: row.value for row in by_flag.origins()}[name] == shown


@pytest.mark.parametrize("text", ["colour = 1", "listen = ", "listen = 5"])
def test_a_bad_file_is_refused(tmp_path: Path, text: str) -> None:
    """Unknown names, broken TOML and wrong types stop the start."""
    file = tmp_path / "hythe.toml"
    file.write_text(text)

    with pytest.raises(SettingsError):
        load({}, {}, str(file))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """A file that was asked for must be there."""
    with pytest.raises(SettingsError, match=r"absent\.toml"):
        load({}, {}, str(tmp_path / "absent.toml"))


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("database_url", "postgresql://me:secret@db/hythe", "postgresql://me:***@db/hythe"),
        ("database_url", "postgresql://me:sec@ret@db/hythe", "postgresql://me:***@db/hythe"),
        (
            "database_url",
            "postgresql://db/h?user=me&password=secret&ssl=on",
            "postgresql://db/h?user=me&password=***&ssl=on",
        ),
        ("database_url", "postgresql://me@db:5432/hythe", "postgresql://me@db:5432/hythe"),
        ("mirrors", "a.b=https://u:secret@h c.d=https://i:5000", "a.b=https://u:***@h c.d=https://i:5000"),
        ("forges", "gitea+https://id:secret@code.example", "gitea+https://id:***@code.example"),
        ("forges", "gitea+https://codeberg.org", "gitea+https://codeberg.org"),
        ("worker_token", "secret", "(set)"),
    ],
)
def test_passwords_are_masked(name: str, value: str, shown: str) -> None:
    """What ``hythe settings`` prints can be shown to somebody else, and shows all that is no secret."""
    rows = {row.name: row.value for row in load({name: value}, {}).origins()}

    assert rows[name] == shown


def test_every_setting_is_documented() -> None:
    """``docs/settings.md`` has each setting's name, default and meaning."""
    page = (ROOT / "docs/settings.md").read_text()

    for row in load({}, {}).origins():
        default = f"`{row.value}`" if row.value else "(empty)"
        assert f"| `{row.name}` | {default} | {row.meaning} |" in page
