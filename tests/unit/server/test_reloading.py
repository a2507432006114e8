"""SIGHUP: what can be reloaded is, all at once or not at all; it never ends a server."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import msgspec
import pytest
from tests.parts.hub import HytheServer

from hythe.server import http
from hythe.server.browser_protection import HostNames, KnownHosts
from hythe.server.certificate import Certificate
from hythe.server.connections import Connections, Verdict
from hythe.server.forwarded_headers import ForwardedHeaders
from hythe.server.http import HTTPOptions
from hythe.server.hub import Services, open_hub
from hythe.server.reloading import RELOADED, SettingsReload
from hythe.server.response import observe_nothing
from hythe.server.sendfile import FileSender
from hythe.server.stopping import Stopping
from hythe.server.telemetry import ServerTelemetry
from hythe.settings import Settings, SettingsError
from hythe.telemetry.statements import slow_statements

ROOT = Path(__file__).parents[3]

EFFECTS: dict[str, tuple[object, Callable[[Services], object], object]] = {
    "sparse_images": (True, lambda hub: hub.registry.manifests._policy.sparse_images, True),
    "protect_images": (False, lambda hub: hub.registry.blobs._policy.protect_images, False),
    "token_max_age": (
        86400,
        lambda hub: (hub.hub.robots.terms.max_days, hub.hub.personal_tokens.terms.max_days),
        (1, 1),
    ),
    "manifest_size": (5, lambda hub: hub.registry.manifests._policy.manifest_size, 5),
    "grace_period": (
        7,
        lambda hub: (
            hub.registry.garbage._policy.grace.total_seconds(),
            hub.builds.registry_listener._grace.total_seconds(),
            hub.registry._mirror._policy.grace.total_seconds() if hub.registry._mirror else None,
        ),
        (7.0, 7.0, 7.0),
    ),
    "garbage_interval": (7, lambda hub: hub.registry.garbage._policy.garbage_interval.total_seconds(), 7.0),
    "upload_lifetime": (7, lambda hub: hub.registry.uploads._policy.upload_lifetime.total_seconds(), 7.0),
    "replaced_lifetime": (7, lambda hub: str(hub.registry.tags._policy.replaced_lifetime), "0:00:07"),
    "audit_retention": (7, lambda hub: hub.hub.audit_log._retention, 7),
    "mirror_age": (7, lambda hub: str(hub.registry._mirror and hub.registry._mirror._policy.mirror_age), "0:00:07"),
    "mirror_size": (7, lambda hub: hub.registry._mirror and hub.registry._mirror._policy.mirror_size, 7),
    "mirrors": (
        "a.b=https://u:new@upstream.test",
        lambda hub: hub.registry._mirror and getattr(hub.registry._mirror.upstreams.of("a.b/x"), "password", None),
        "new",
    ),
    "sign_up": (False, lambda hub: hub.hub.users.sign_up_open, False),
    "session_lifetime": (700, lambda hub: hub.hub.sessions._lifetime, 700),
    "organizations_by": ("administrators", lambda hub: hub.hub.organizations._by_anyone, False),
    "require_sign_in": (True, lambda hub: hub.hub.access.closed, True),
    "require_confirmed_email": (True, lambda hub: hub.hub.access.confirmed_only, True),
    "sign_ups_per_address": (7, lambda hub: hub.hub.users._sign_up_limit._limit, 7),
    "token_lifetime": (6000, lambda hub: (hub.hub.tokens._lifetime, hub.hub.keys._kept.total_seconds()), (6000, 6030)),
    "private_repositories": (7, lambda hub: hub.hub.users._plan.private_limit, 7),
    "repositories_per_account": (7, lambda hub: hub.hub.users._plan.repository_limit, 7),
    "storage_per_account": (7, lambda hub: hub.hub.users._plan.storage_limit, 7),
    "uploads_per_account": (7, lambda hub: hub.hub.users._plan.upload_limit, 7),
    "build_minutes_per_account": (7, lambda hub: hub.hub.users._plan.build_limit, 7),
    "builds_per_account": (7, lambda hub: hub.builds.queue._policy.per_account, 7),
    "builds_lease": (7, lambda hub: hub.builds.queue._policy.lease, 7),
    "builds_supersede_running": (True, lambda hub: hub.builds.queue._policy.supersede_running, True),
    "builds_network": ("off", lambda hub: hub.builds.workers._limits.network.value, "off"),
    "builds_processors": (7.0, lambda hub: hub.builds.workers._limits.processors, 7.0),
    "builds_memory": (7, lambda hub: hub.builds.workers._limits.memory, 7),
    "builds_processes": (7, lambda hub: hub.builds.workers._limits.processes, 7),
    "builds_disk": (7, lambda hub: hub.builds.workers._limits.disk, 7),
    "builds_kept_disks": (7, lambda hub: hub.builds.workers._limits.kept_disks, 7),
    "builds_files": (7, lambda hub: hub.builds.workers._limits.files, 7),
    "builds_timeout": (7, lambda hub: hub.builds.workers._limits.seconds, 7),
    "builds_transfer_rate": (7, lambda hub: hub.builds.workers._limits.transfer_rate, 7),
    "builds_log_size": (7, lambda hub: hub.builds.workers._limits.log, 7),
    "mail_server": (
        "smtp://mail.test",
        lambda hub: (hub.notifications.sender._mailer._server, hub.notifications.build_listener._mail),
        ("smtp://mail.test", True),
    ),
    "mail_from": ("ann@hub.test", lambda hub: hub.notifications.sender._mailer._sender, "ann@hub.test"),
    "log_format": (
        "json",
        lambda _: re.sub(r".*\.", "", type(logging.getLogger().handlers[0].formatter.processors[-1]).__name__),  # type: ignore[union-attr]
        "JSONRenderer",
    ),
    "log_level": ("error", lambda _: logging.getLogger().level, logging.ERROR),
}
"""For each setting of a hub: a new value, where it takes effect, and what is there then."""

OF_HTTP = {
    *("idle_timeout", "stall_timeout", "stop_timeout", "drain_delay", "transfer_rate", "connections"),
    *("connections_per_address", "trusted_proxies", "tls_cert", "tls_key", "read_only", "api_requests_per_minute"),
}
OF_PRIVATE_REGISTRY = {"allowed_hosts"}
OF_TELEMETRY = {"access_log", "slow_request", "slow_query"}


def test_each_setting_that_is_reloaded_has_an_effect(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The running services take over the new value."""
    old = Settings(data=str(tmp_path), mirrors="a.b=https://u:old@upstream.test")
    new = msgspec.structs.replace(old, **{name: value for name, (value, _, _) in EFFECTS.items()})
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    monkeypatch.setattr(logging.getLogger(), "level", logging.INFO)

    async def scenario() -> dict[str, object]:
        async with open_hub(old) as services:
            before = {name: effect(services) for name, (_, effect, _) in EFFECTS.items() if name != "log_format"}
            services.apply(new)
            after = {name: effect(services) for name, (_, effect, _) in EFFECTS.items()}
            assert [name for name, value in before.items() if value == after[name]] == []
            return after

    assert asyncio.run(scenario()) == {name: wanted for name, (_, _, wanted) in EFFECTS.items()}
    assert set(EFFECTS) | OF_HTTP | OF_PRIVATE_REGISTRY | OF_TELEMETRY == RELOADED


def test_timeouts_are_reloaded() -> None:
    """They hold for new connections, and for what open ones wait for."""
    sender = FileSender(1)
    server = http._server(ForwardedHeaders(_nothing, ()), HTTPOptions(1, 1, 1))
    options = HTTPOptions(1, 1, 1, connections=Connections(Settings()))
    protocol = http._protocol_class(options, sender, observe_nothing, Stopping())

    new = {"drain_delay": 4, "transfer_rate": 5, "connections": 1, "connections_per_address": 2}
    http._apply(server, protocol, Settings(idle_timeout=7, stall_timeout=8, stop_timeout=9, **new))

    assert (protocol.idle_timeout, protocol.stall_timeout, sender._stall_timeout) == (7, 8, 8)
    assert (server.drain_delay, protocol.transfer_rate) == (4, 5)
    assert [options.connections.open("10.0.0.1")[1] for _ in "123"] == [Verdict.SERVE, Verdict.REFUSE, Verdict.CLOSE]
    assert (server.config.timeout_keep_alive, server.config.timeout_graceful_shutdown) == (7, 9)


def test_what_is_logged_about_requests_is_reloaded(tmp_path: Path) -> None:
    """The access log, and the thresholds of slow requests and statements."""
    settings = Settings(data=str(tmp_path), slow_request=1.0, slow_query=2.0)
    telemetry = ServerTelemetry(settings, Mock(), Mock(), ())
    assert (telemetry.observer._slow, slow_statements.threshold, telemetry.observer._access_log) == (1.0, 2.0, None)

    telemetry.apply(msgspec.structs.replace(settings, slow_request=0.0, slow_query=3.0, access_log=True))

    assert (telemetry.observer._slow, slow_statements.threshold) == (float("inf"), 3.0)
    assert telemetry.observer._access_log is not None
    slow_statements.apply(0)


async def _nothing(*_: Any) -> None:
    """An application."""


def test_names_and_proxies_are_reloaded() -> None:
    """A name that was refused is accepted, and the other way round."""
    known = KnownHosts(_nothing, HostNames(Settings(allowed_hosts="one.example.com"), ("127.0.0.1", 1)))
    known.apply(HostNames(Settings(allowed_hosts="two.example.com"), ("127.0.0.1", 1)))
    assert [known._learn(name) for name in (b"one.example.com", b"two.example.com")] == [False, True]

    forwarded = ForwardedHeaders(_nothing, Settings(trusted_proxies="10.0.0.1").proxies)
    forwarded.trust(Settings(trusted_proxies="10.0.0.2").proxies)
    assert ["10.0.0.1" in forwarded._trusted.trusted_hosts, "::ffff:10.0.0.2" in forwarded._trusted.trusted_hosts] == [
        False,
        True,
    ]


def test_documented() -> None:
    """docs/settings.md lists the settings that are reloaded, in the order of the table."""
    page = (ROOT / "docs/settings.md").read_text()
    paragraph = page.partition("## Reloading")[2].partition("\n## ")[0].partition("take effect:")[2].partition(".")[0]

    assert re.findall(r"`(\w+)`", paragraph) == [name for name in Settings.__struct_fields__ if name in RELOADED]


def reload(old: Settings, new: Settings | SettingsError) -> list[Settings]:
    """Reload, and return what the listeners got."""

    def read() -> Settings:
        if isinstance(new, SettingsError):
            raise new
        return new

    got: list[Settings] = []
    reloading = SettingsReload(old, read)
    reloading.listeners.append(got.append)
    asyncio.run(reloading.reload())
    return got


def test_settings_that_cannot_be_reloaded_are_named(caplog: pytest.LogCaptureFixture) -> None:
    """They keep their value until the next start; the others change."""
    caplog.set_level(logging.INFO)
    old = Settings(mirrors="a.b=https://u:p@x", tls_cert="c", tls_key="k")
    new = Settings(data="/elsewhere", sign_up=False, mirrors="a.b=https://u:p@y")

    (got,) = reload(old, new)

    assert got == msgspec.structs.replace(old, sign_up=False)
    assert [record.message for record in caplog.records] == [
        "settings reloaded; changed: sign_up",
        "changed settings that take effect after a restart: data, mirrors, tls_cert, tls_key",
    ]


def test_credentials_of_a_mirror_and_other_files_are_reloaded() -> None:
    """What stays are the registries, and whether there is TLS."""
    old = Settings(mirrors="a.b=https://u:p@x", tls_cert="c", tls_key="k")
    new = Settings(mirrors="a.b=https://u:q@x", tls_cert="c2", tls_key="k2")

    assert reload(old, new) == [new]


def test_an_invalid_setting_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """Every invalid one is in the log."""
    assert reload(Settings(), SettingsError("one (file x): bad\ntwo (file x): bad")) == []
    assert [record.message for record in caplog.records] == [
        "settings not reloaded, all present ones stay: one (file x): bad",
        "settings not reloaded, all present ones stay: two (file x): bad",
    ]


def test_a_certificate_in_other_files(certificate: Any, tmp_path: Path) -> None:
    """The new files are read; while they cannot be used, the log says so."""
    served = Certificate(str(certificate.cert), str(certificate.key))
    (tmp_path / "new.pem").write_bytes(certificate.cert.read_bytes())

    served.apply(Settings(tls_cert=str(tmp_path / "new.pem"), tls_key=str(certificate.key)))

    assert served._chain == str(tmp_path / "new.pem")


def sign_up(server: HytheServer, name: str) -> int:
    """Sign up and return the status."""
    body = msgspec.json.encode({"username": name, "email": f"{name}@example.com", "password": "a-long-password"})
    request = urllib.request.Request(f"{server.url}/api/v1/users", body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code


def hang_up(server: HytheServer, words: str) -> None:
    """Send SIGHUP and wait until the log has these words once more."""
    before = server.log.count(words)
    os.kill(server.pid, signal.SIGHUP)
    end = time.monotonic() + 30
    while server.log.count(words) == before:
        assert time.monotonic() < end, server.log
        time.sleep(0.05)


def test_sighup_reloads_a_hub(start_hub: Callable[..., HytheServer], tmp_path: Path) -> None:
    """Without TLS files, too; with an invalid file the hub goes on as before."""
    file = tmp_path / "hythe.toml"
    file.write_text("builds_workers = 0\n")
    hub = start_hub(["--config", str(file)])
    hang_up(hub, "settings reloaded; changed: none")
    assert sign_up(hub, "ann") == 201

    file.write_text("builds_workers = 0\nsign_up = false\ngrace_period = -1\n")
    hang_up(hub, "settings not reloaded, all present ones stay: grace_period (file")
    assert sign_up(hub, "ben") == 201
    file.write_text("builds_workers = 2\nsign_up = false\n")
    hang_up(hub, "settings that take effect after a restart: builds_workers")

    assert sign_up(hub, "cyd") == 403
    assert hub.stop() == 0


def test_sighup_reloads_a_private_registry(start_private_registry: Callable[..., HytheServer], tmp_path: Path) -> None:
    """Names that it is known by."""
    file = tmp_path / "hythe.toml"
    file.write_text("")
    registry = start_private_registry(["--config", str(file)])

    def status() -> int:
        request = urllib.request.Request(f"{registry.url}/v2/_catalog", headers={"Host": "registry.example.com"})
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return int(response.status)
        except urllib.error.HTTPError as error:
            return error.code

    assert status() == 403
    file.write_text('allowed_hosts = "registry.example.com"\n')
    hang_up(registry, "settings reloaded; changed: allowed_hosts")

    assert status() == 200
    assert registry.stop() == 0
