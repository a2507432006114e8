"""The settings that this server uses now, for administrators; secrets are masked."""

import msgspec

from hythe.hub.access.actions import HubAction
from hythe.hub.access.decision import HubAccess
from hythe.hub.actor import HubActor
from hythe.settings import Settings
from hythe.settings.loading import LoadedSettings


class SettingInForce(msgspec.Struct, frozen=True):
    """A setting with its value."""

    name: str
    value: str
    meaning: str


class SettingsService:
    """The settings of this server."""

    def __init__(self, access: HubAccess, settings: Settings) -> None:
        self._access = access
        self._settings = settings

    def apply(self, settings: Settings) -> None:
        """Take over changed settings."""
        self._settings = settings

    async def list(self, actor: HubActor) -> tuple[SettingInForce, ...]:
        """Return all settings, for administrators. Raises SignInNeeded, Refused."""
        await self._access.require_hub(actor, HubAction.VIEW_SETTINGS)
        rows = LoadedSettings(self._settings, {}).origins()
        return tuple(SettingInForce(row.name, str(row.value), row.meaning) for row in rows)
