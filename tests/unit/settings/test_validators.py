"""Settings that name hosts, URLs, addresses and paths are validated at start, and the wrong value is named."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import get_type_hints

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec import Meta
from tests.parts.docker_registry import Certificate, make_certificate

from hythe.server.start_checks import HUB_CHECKS, REGISTRY_CHECKS
from hythe.settings import LoadedSettings, Settings, SettingsError, descriptions, load
from hythe.settings.validators import REQUIRED, VALIDATORS

KINDS = ("url", "host", "server", "address", "folder", "file", "name", "network", "prox", "where", "mirror", "forge")
"""Words in descriptions of settings that name a place."""

TEXTS = [
    name
    for name, hint in get_type_hints(Settings, include_extras=True).items()
    if hint.__origin__ is str and not any(isinstance(meta, Meta) and meta.pattern for meta in hint.__metadata__)
]
"""The settings with free text."""

INVALID: dict[str, tuple[str, ...]] = {
    "listen": (
        *("", "5000", "localhost", "localhost:", "localhost:x", "localhost:65536", "localhost:-1", "::1:5000"),
        *("[::1]", "[localhost]:80", "http://localhost:80", "a b:80", "127.0.0.1:5000 ", "127.1:80", "１２７.0.0.1:80"),
    ),
    "data": ("", "postgresql://db/x", "s3://bucket", "a\nb", "\x1b[0m"),
    "public_url": (
        *("hub.example.com", "ftp://hub.example.com", "https:/hub.example.com", "https://", "https:///", "//hub"),
        *("https://hub.example.com/registry", "https://hub?x=y", "https://hub#x", "https://hub?", "https://hub#"),
        *("https://ann@hub", "https://ann:secret@hub", "https://@hub", "https://hub:", "https://hub:0"),
        *("https://hub:99999", "https://hub:x", "https:// hub", "https://hub /", "https://bücher.example"),
        *("https://hub\\evil", "https://hub\n", "https://[::1", "https://::1", "https://-hub", "https://a..b"),
        *("https://127.1", "https://2130706433", "https://*.example.com", "https://" + "a" * 64, "javascript:1"),
    ),
    "follow": (
        *(
            "hub.example.com",
            "http://hub.example.com",
            "http://10.0.0.1:80",
            "http://127.0.0.1.example.com",
            "ftp://hub",
        ),
        *("https://hub.example.com/path", "https://ann:secret@hub", "http://localhost.example.com", "https://"),
    ),
    "allowed_hosts": (
        "https://hub",
        "hub:5000",
        "*hub",
        "*.",
        "a,b",
        "10.0.0.1",
        "[::1]",
        "**",
        "a.*.b",
        "bücher.example",
    ),
    "trusted_proxies": ("proxy", "10.0.0.1 proxy", "10.0.0.0/33", "10.0.0.1,10.0.0.2", "*", "10.0.0.1:80"),
    "database_url": (
        *("mysql://db/x", "postgresql:/db/x", "db", "sqlite:///x", "postgresql://db:port/x", "postgresql://a b/x"),
        *("postgresql://me:sec/ret@db/x", "postgresql://me:secret@[db/hythe", "postgresql://db:5432:5433/x"),
    ),
    "blob_store": (
        "/srv/blobs",
        "s3://",
        "s3:/b",
        "http://host/bucket",
        "s3://b?x=y",
        "s3://u:p@b",
        "s3://a b",
        "s3://-b",
    ),
    "mirrors": (
        *("docker.io", "docker.io=registry-1.docker.io", "docker.io=ftp://x", "https://x", "docker=https://x"),
        *("a.b=https://x a.b=https://y", "a.b/c=https://x", "A.b=https://x", "a.b=https://x?y", "a.b=https://x:0"),
        *("a.b=https://u:secret@", "a.b=https://u:sec ret@x"),
    ),
    "tls_cert": ("/absent", "a\0b"),
    "tls_key": ("a\0b",),
    "identity_providers": (
        *("https://id:secret@x", "a=oidc+https://x", "a=oidc+ftp://id:secret@x", "A=oidc+https://id:secret@x"),
        *("a=saml+https://id:secret@x", "a=oidc+https://id:secret@x?what=secret", "a=oidc+https://id:secret@x?team=x"),
        *("a=oidc+https://id:secret@x a=oidc+https://id:secret@y", "a=oidc+https://id@x?secret_file=/absent"),
    ),
    "ldap": (
        *(
            "ldap.example",
            "https://cn=x:secret@x/dc=x",
            "ldaps://x",
            "ldaps://x/dc=x",
            "ldaps://cn=x:secret@x/dc=x?what=x",
        ),
        *("ldaps://cn=x:secret@x/dc=x?tls=off", "ldaps://cn=x:secret@x/dc=x?ca_file=/absent"),
    ),
    "forges": (
        *(
            "github.com",
            "https://github.com",
            "svn+https://x",
            "github+ftp://x",
            "github+https://",
            "github+https://x?y",
        ),
        *("github+https://x github+https://x/", "gitea+https://id:secret@", "gitea+https://id:sec ret@x"),
    ),
    "worker_token": (" a", "a ", "a\nb", "ä", " "),
    "secret_key": ("x", "c2hvcnQ=", "not base64", "A" * 43),
    "builds_folder": ("https://x", "a\nb", "/etc/passwd", "/etc/passwd/x"),
    "builds_builder": (
        *("", "docker", "docker=", "kaniko", "docker=/var/run/docker.sock", "docker=tcp://host:x", "buildkit="),
        *("buildkit=tcp://", "buildkit=host:1234", "docker=unix://relative", "docker=tcp://a b:1", "buildah=x"),
    ),
    "builds_buildkit_certificates": ("https://x", "/absent"),
    "builds_buildkit_name": ("a:80", "a b", "https://x", "-a"),
    "internal_networks": ("*", "host", "10.0.0.5/8", "host:0", "http://h:80", "10.0.0.0/8,10.0.0.1:80"),
    "mail_server": (
        *("mail.example.com", "mail.example.com:25", "http://mail", "smtp://", "smtp://mail/x", "smtp://mail:0"),
        *("smtp://u:secret@", "smtp://u:sec#ret@mail", "smtp://u:sec/ret@mail", "smtps://mail?x"),
    ),
    "metrics_listen": ("9464", "127.0.0.1:99999", "http://127.0.0.1:9464", "a b:9464"),
    "otlp_endpoint": ("127.0.0.1:4318", "grpc://127.0.0.1:4317", "http://", "http://a b"),
    "mail_from": (
        "",
        "hythe",
        "@example.com",
        "a@",
        "a@b@c",
        "Hythe <a@b.example>",
        "a b@c",
        ".a@b",
        "a..b@c",
        "a@b\nBcc: c@d",
        "a@1.2",
    ),
}
"""Values that a server does not start with."""

VALID: dict[str, tuple[str, ...]] = {
    "listen": ("0.0.0.0:0", ":5000", "[::]:443", "localhost:5000", "host.example.com:65535", "[fe80::1%eth0]:80"),
    "public_url": (
        *(
            "",
            "https://hub.example.com",
            "http://hub",
            "https://hub:8443",
            "http://10.0.0.5:5000",
            "http://[::1]:5000",
            "https://xn--bcher-kva.example",
        ),
    ),
    "follow": ("", "https://hub.example.com", "https://10.0.0.5:8443/", "http://127.0.0.1:5000", "http://[::1]:80"),
    "allowed_hosts": ("", "registry", "a.example *.example.com", "*", "My_Registry"),
    "trusted_proxies": ("", "10.0.0.1", "10.0.0.0/8 ::1 fd00::/8"),
    "database_url": (
        *("", "postgresql://hythe@db/hythe", "postgres://u:p%40ss@db:5432/x?sslmode=require", "postgresql:///x"),
        *("postgresql://u@a:1,b:2/x", "postgresql:///x?host=/run/postgresql", "postgresql+asyncpg://db/x"),
        *("postgresql://[::1]:5432/x", "postgresql://%2Frun%2Fpostgresql/x", "postgresql://u:p@ss@db/x"),
    ),
    "blob_store": ("", "s3://bucket", "gs://my_bucket.example/folder/a b", "az://container"),
    "mirrors": ("", "docker.io=https://registry-1.docker.io", "a.b=http://u:p@h:5000/x, c.d=https://h"),
    "identity_providers": ("", "a=oidc+https://id:s%40@x/realms/y?sign_up=yes b=github+https://id@github.com"),
    "ldap": (
        "",
        "ldaps://cn=x:s%40@x/dc=x",
        "ldap://cn=x:y@[::1]:3890/dc=x?tls=off",
        "ldaps://x?template=uid={name},dc=x",
    ),
    "forges": ("", "gitea+http://localhost:3000/git", "github+https://id:s%40@x github+https://y"),
    "worker_token": ("", "x", "a-B_c/+=.~", "four words make it"),
    "secret_key": ("", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="),
    "builds_builder": (
        *("buildah", "docker=unix:///var/run/docker.sock", "docker=tcp://host:2375", "docker=ssh://me@host"),
        *("buildkit=tcp://host:1234", "buildkit=docker-container://name", "buildkit=unix:///run/buildkit.sock"),
        *("buildkit=kube-pod://pod?namespace=x", "buildkit=tcp://[::1]:1234"),
    ),
    "builds_buildkit_name": ("", "buildkit.example.com", "10.0.0.1", "[::1]"),
    "internal_networks": ("", "10.0.0.0/8 host:80 [::1]:80 127.0.0.1:8080"),
    "mail_server": ("", "smtp://localhost", "smtps://u:p%23@mail.example.com:465", "smtp://[::1]:25"),
    "metrics_listen": ("", "127.0.0.1:9464", "[::1]:9464", "0.0.0.0:0"),
    "otlp_endpoint": ("", "http://127.0.0.1:4318", "https://collector.example.com/otlp/v1/traces"),
    "mail_from": ("hythe@localhost", "a.b+c@example.com", "o'brien=x@mail"),
}


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """A certificate with its key."""
    return make_certificate(tmp_path_factory.mktemp("certificate"))


def check(flags: dict[str, str]) -> LoadedSettings:
    """Load settings and check them like `hythe serve`. Raises SettingsError."""
    return load({"data": "/tmp", **flags}, {}, checks=HUB_CHECKS)


def test_every_free_text_is_validated() -> None:
    """A new setting of text has a validator, a check at start, or a pattern; a place has invalid examples here."""
    assert set(TEXTS) - set(VALIDATORS) - set(HUB_CHECKS) == set()
    assert set(TEXTS) == set(INVALID)


def test_every_setting_that_names_a_place_is_text() -> None:
    """No other type hides a host, URL or path from the validators."""
    types = get_type_hints(Settings)
    named = [
        name
        for name, meta in descriptions().items()
        if name.endswith(("_url", "_host", "_hosts", "_folder", "_server", "_networks", "_name", "_from"))
    ]

    assert [name for name in named if types[name] is not str] == []


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in INVALID.items() for value in values])
def test_an_invalid_value_is_named(name: str, value: str) -> None:
    """The error names the setting, its source, and what to use; it repeats no secret."""
    other = {"tls_cert": "tls_key", "tls_key": "tls_cert"}.get(name)
    with pytest.raises(SettingsError) as raised:
        check({name: value} | ({other: "/absent"} if other else {}))

    text = str(raised.value)
    assert f"{name} (flag --{name.replace('_', '-')}): " in text
    assert " is invalid: " in text
    assert "secret" not in text.replace("secret_key (flag --secret-key)", "").replace("secret_file", "")
    assert text.isprintable() or (other is not None and text.count("\n") == 1)


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in VALID.items() for value in values])
def test_a_valid_value_is_accepted(name: str, value: str) -> None:
    """Every form that users write is accepted."""
    assert getattr(check({name: value}).settings, name) == value


def test_defaults_are_valid() -> None:
    """A setting without a value needs no check, unless it cannot be empty."""
    Settings()
    assert all(getattr(Settings(), name) for name in REQUIRED)


def test_all_invalid_settings_are_named_at_once() -> None:
    """The operator corrects them in one go; each names its own source."""
    with pytest.raises(SettingsError) as raised:
        load({"public_url": "hub"}, {"HYTHE_MAIL_FROM": "me", "HYTHE_MIRRORS": "x"})

    assert str(raised.value).splitlines() == [
        "public_url (flag --public-url): 'hub' is invalid: use https://HOST or http://HOST",
        "mail_from (environment HYTHE_MAIL_FROM): 'me' is invalid: use an address such as hythe@example.com",
    ]
    with pytest.raises(SettingsError) as raised:
        check({"mirrors": "x.y=z", "forges": "x", "builds_folder": "/etc/passwd", "listen": "x", "sign_up": "x"})

    assert [line.split(" ")[0] for line in str(raised.value).splitlines()] == [
        *("sign_up", "listen", "builds_folder", "mirrors", "forges"),
    ]


@pytest.mark.parametrize("value", ["mysql://ann:hush@db/x", "postgres:/ann:hush@db", "x?password=hush", "ann:hu@sh@"])
def test_an_error_shows_no_password(value: str) -> None:
    """Not even of a URL with a mistake before the password."""
    for name in ("database_url", "mail_server", "mirrors", "forges", "public_url"):
        with pytest.raises(SettingsError) as raised:
            check({name: value})

        assert "hush" not in str(raised.value)
        assert "hu@sh" not in str(raised.value)
        assert raised.value.__cause__ is None or "hush" not in str(raised.value.__cause__)


def test_secrets_are_never_shown() -> None:
    """Nor are they in the error that caused it."""
    for name in ("worker_token", "secret_key"):
        with pytest.raises(SettingsError) as raised:
            check({name: "hush\nhush"})

        assert "hush" not in f"{raised.value}{raised.value.__cause__!r}"


def test_long_values_are_cut() -> None:
    """An error stays readable."""
    with pytest.raises(SettingsError) as raised:
        check({"public_url": "x" * 100_000})

    assert len(str(raised.value)) < 400


def test_tls_needs_both_files_and_they_must_match(certificate: Certificate, tmp_path: Path) -> None:
    """The error names the file that is wrong."""
    cert, key = str(certificate.cert), str(certificate.key)
    other = str(make_certificate(tmp_path).key)

    check({"tls_cert": cert, "tls_key": key})
    for flags, said in (
        ({"tls_cert": cert}, "tls_cert (flag --tls-cert)"),
        ({"tls_key": key}, "tls_key (flag --tls-key)"),
        ({"tls_cert": cert, "tls_key": other}, "tls_key (flag --tls-key)"),
        ({"tls_cert": key, "tls_key": key}, "tls_cert (flag --tls-cert)"),
        ({"tls_cert": cert, "tls_key": cert}, "tls_key (flag --tls-key)"),
        ({"tls_cert": str(tmp_path), "tls_key": key}, "tls_cert (flag --tls-cert)"),
    ):
        with pytest.raises(SettingsError) as raised:
            check(flags)
        assert str(raised.value).startswith(said)


def test_folders(tmp_path: Path) -> None:
    """A folder exists or can be created; a file, or a folder below one, cannot be used."""
    file = tmp_path / "file"
    file.write_text("")

    for name in ("data", "builds_folder"):
        check({name: str(tmp_path)})
        check({name: str(tmp_path / "a/b/c")})
        for path in (file, file / "x"):
            with pytest.raises(SettingsError, match=rf"{name} .*use the path of a folder: .*file is a file"):
                check({name: str(path)})
    assert sorted(tmp_path.iterdir()) == [file]


@pytest.mark.skipif(os.geteuid() != 0, reason="changes its user")
def test_a_folder_of_another_user(tmp_path: Path) -> None:
    """It is named before anything is written."""
    tmp_path.chmod(0o755)
    shutil.chown(tmp_path, "root")
    pid = os.fork()
    if pid == 0:
        os.setuid(65534)
        try:
            load({"data": str(tmp_path / "x")}, {}, checks=REGISTRY_CHECKS)
        except SettingsError as error:
            os._exit(0 if "is not writable" in str(error) or "Permission denied" in str(error) else 2)
        os._exit(1)

    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_buildkit_certificates(tmp_path: Path) -> None:
    """A client's certificate is optional, but needs its key."""
    flags = {"builds_buildkit_certificates": str(tmp_path)}
    for name, said in (("", "ca.pem"), ("ca.pem", ""), ("cert.pem", "key.pem"), ("key.pem", "")):
        if name:
            (tmp_path / name).write_text("")
        if said:
            with pytest.raises(SettingsError, match=f"use a folder that has {said}"):
                check(flags)
        else:
            check(flags)


@given(st.sampled_from(TEXTS), st.one_of(st.text(max_size=40), st.from_regex(r"[a-z+]*://[^ ]*[:@/?#\[\]].*")))
@example("mail_from", '"\\')
@example("public_url", "https://[")
@example("data", "~nobody-here/x")
@example("data", "/" + "x" * 5000)
def test_any_text_is_accepted_or_refused(name: str, value: str) -> None:
    """No value leads to another exception than SettingsError, and no error breaks the terminal."""
    said = ""
    try:
        check({name: value})
    except SettingsError as error:
        said = str(error)
    assert said.replace("\n", "").isprintable()
