"""The services of administrators."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from hythe.database import Database
from hythe.hub.access.decision import HubAccess
from hythe.hub.administrator_access import AdministratorAccess
from hythe.hub.takedowns import TakedownService
from hythe.hub.transfers import TransferService
from hythe.registry.service import RegistryServices
from hythe.settings import Settings


@dataclass(frozen=True, slots=True)
class Administration:
    """All of them, except what is done to accounts (``UserAdministration``)."""

    access: AdministratorAccess
    takedowns: TakedownService


def make_administration(
    database: Database,
    access: HubAccess,
    registry: RegistryServices,
    transfers: TransferService,
    clock: Callable[[], datetime],
    settings: Settings,
) -> Administration:
    """Return the services of administrators."""
    return Administration(
        AdministratorAccess(database, access, clock),
        TakedownService(database, access, registry.repositories, transfers, clock),
    )
