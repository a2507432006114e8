"""Reloads settings while the server runs, on SIGHUP.

The file of settings is read again, and checked like at start. Either all changed settings of ``RELOADED`` take effect
between two requests, or, if one of them is invalid, none, and the log says which one. Changes of others take effect at
the next start; the log names them, too. The files of the TLS certificate are read again in any case.
"""

import asyncio
import logging
from collections.abc import Callable

import msgspec

from hythe.registry.mirror.upstreams import Upstreams
from hythe.settings import Settings, SettingsError

RELOADED = frozenset(
    {
        *("tls_cert", "tls_key", "trusted_proxies", "allowed_hosts"),
        *("log_format", "log_level", "access_log", "slow_request", "slow_query"),
        *("idle_timeout", "stall_timeout", "stop_timeout", "drain_delay"),
        *("read_only", "transfer_rate", "connections", "connections_per_address"),
        *("api_requests_per_minute", "token_max_age", "sparse_images", "protect_images"),
        *("mirrors", "mirror_age", "mirror_size", "manifest_size"),
        *("grace_period", "garbage_interval", "upload_lifetime", "replaced_lifetime"),
        *("sign_up", "sign_ups_per_address", "token_lifetime", "audit_retention"),
        *("organizations_by", "require_sign_in"),
        *("session_lifetime", "require_confirmed_email"),
        *("private_repositories", "repositories_per_account", "storage_per_account", "uploads_per_account"),
        *("build_minutes_per_account", "builds_per_account", "builds_lease", "builds_supersede_running"),
        *("builds_network", "builds_processors", "builds_memory", "builds_processes", "builds_disk"),
        *("builds_kept_disks", "builds_files", "builds_timeout", "builds_transfer_rate", "builds_log_size"),
        *("mail_server", "mail_from"),
    }
)
"""The settings that a running server takes over. Of ``mirrors`` only the credentials, of TLS only other files."""

log = logging.getLogger(__name__)


class SettingsReload:
    """The settings of a running server."""

    def __init__(self, settings: Settings, read: Callable[[], Settings]) -> None:
        """``read`` reads and checks the settings again, in a thread; it raises SettingsError."""
        self._settings = settings
        self._read = read
        self._requested = asyncio.Event()
        self.listeners: list[Callable[[Settings], None]] = []
        """Called with the new settings, one after the other, without a request in between."""

    def request(self) -> None:
        """Reload soon."""
        self._requested.set()

    async def run(self) -> None:
        """Reload whenever it is requested, until cancelled."""
        while True:
            await self._requested.wait()
            self._requested.clear()
            await self.reload()

    async def reload(self) -> None:
        """Read the settings and take over what has changed; if they are invalid, log why and change nothing."""
        try:
            self._take_over(await asyncio.to_thread(self._read))
        except SettingsError as error:
            for line in str(error).splitlines():
                log.error("settings not reloaded, all present ones stay: %s", line)
        except Exception:
            # A failure of any kind must not stop the task: SIGHUP would do nothing until the next restart.
            log.exception("reloading the settings failed")

    def _take_over(self, new: Settings) -> None:
        changed = [name for name in Settings.__struct_fields__ if getattr(self._settings, name) != getattr(new, name)]
        reloaded = [name for name in changed if name in RELOADED and _is_reloadable(name, self._settings, new)]
        self._settings = msgspec.structs.replace(self._settings, **{name: getattr(new, name) for name in reloaded})
        for listener in self.listeners:
            listener(self._settings)
        log.info("settings reloaded; changed: %s", ", ".join(reloaded) or "none")
        if remaining := [name for name in changed if name not in reloaded]:
            log.warning("changed settings that take effect after a restart: %s", ", ".join(remaining))


def reloadable_part(old: Settings, new: Settings) -> Settings:
    """Return the old settings with those changes that a running server takes over."""
    names = [name for name in RELOADED if _is_reloadable(name, old, new)]
    return msgspec.structs.replace(old, **{name: getattr(new, name) for name in names})


def _is_reloadable(name: str, old: Settings, new: Settings) -> bool:
    if name in ("tls_cert", "tls_key"):
        return bool(old.tls_cert) == bool(new.tls_cert)
    if name == "mirrors":
        return Upstreams(old.mirrors, allow_unnamed=True).places == Upstreams(new.mirrors, allow_unnamed=True).places
    return True
