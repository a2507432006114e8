"""The services of administrators."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from hythe.database import Database
from hythe.hub.access.decision import HubAccess
from hythe.hub.accounts.accounts import AccountService
from hythe.hub.accounts.storage import StorageService
from hythe.hub.administration.abuse_reports import AbuseReports
from hythe.hub.administration.administrator_access import AdministratorAccess
from hythe.hub.administration.all_repositories import AllRepositories
from hythe.hub.administration.blocked_digests import BlockedDigests
from hythe.hub.administration.blocked_names import BlockedNames
from hythe.hub.administration.garbage import GarbageService
from hythe.hub.administration.overview import OverviewService
from hythe.hub.administration.settings_in_force import SettingsService
from hythe.hub.administration.takedowns import TakedownService
from hythe.hub.renaming.transfers import TransferService
from hythe.hub.sign_in.confirmations import ConfirmationService
from hythe.registry.service import RegistryServices
from hythe.settings import Settings


@dataclass(frozen=True, slots=True)
class Administration:
    """All of them, except what is done to accounts (``UserAdministration``)."""

    overview: OverviewService
    repositories: AllRepositories
    access: AdministratorAccess
    takedowns: TakedownService
    reports: AbuseReports
    blocked_names: BlockedNames
    blocked_digests: BlockedDigests
    accounts: AccountService
    storage: StorageService
    garbage: GarbageService
    settings: SettingsService


def make_administration(
    database: Database,
    access: HubAccess,
    registry: RegistryServices,
    transfers: TransferService,
    confirmations: ConfirmationService,
    clock: Callable[[], datetime],
    settings: Settings,
) -> Administration:
    """Return the services of administrators."""
    takedowns = TakedownService(database, access, registry.repositories, transfers, confirmations, clock)
    return Administration(
        OverviewService(database, access, clock),
        AllRepositories(database, access),
        AdministratorAccess(database, access, confirmations, clock),
        takedowns,
        AbuseReports(database, access, takedowns, clock),
        BlockedNames(database, access, clock),
        BlockedDigests(database, access, registry, clock),
        AccountService(database, access, confirmations, clock),
        StorageService(database, access),
        GarbageService(database, access, registry.garbage, clock),
        SettingsService(access, settings),
    )
