"""Runs all examinations of a hub, one after the other, each within a time limit."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from contextlib import aclosing
from typing import TypeAlias

from hythe.database import DatabaseError
from hythe.registry.storage.port import StorageError
from hythe.server.doctor.builds import examine_builder, examine_workers
from hythe.server.doctor.database import can_be_opened, examine_database
from hythe.server.doctor.diagnosis import Diagnosis, good, problem
from hythe.server.doctor.disk import examine_disk
from hythe.server.doctor.mail import examine_mail
from hythe.server.doctor.public_address import examine_public_address
from hythe.server.doctor.settings import examine_settings
from hythe.server.doctor.storage import examine_storage
from hythe.server.doctor.tls import examine_tls
from hythe.server.hub import open_hub
from hythe.settings import Settings, SettingsError

TIME_LIMIT = 60.0
"""Seconds that one examination may take."""

Examination: TypeAlias = Callable[[Settings], AsyncIterator[Diagnosis]]


async def examine(settings: Settings, unknown: Iterable[tuple[str, str]]) -> AsyncIterator[Diagnosis]:
    """Yield all findings; ``unknown`` are HYTHE_ variables that are no settings, each with the closest known one."""
    for finding in (*examine_settings(settings, unknown), *examine_tls(settings)):
        yield finding
    folder = settings.data_folder
    if not folder.is_dir():
        yield problem("disk", f"{folder} does not exist", "use --data FOLDER with the folder that 'hythe serve' prints")
    else:
        for finding in examine_disk(settings):
            yield finding
        async for finding in _within_time("database", examine_database, settings):
            yield finding
    of_hub: tuple[tuple[str, Examination], ...] = (("storage", examine_storage), ("installation", _installation))
    others: tuple[tuple[str, Examination], ...] = (
        ("public address", examine_public_address),
        ("mail", examine_mail),
        ("builds", examine_builder),
    )
    for subject, examination in (*(of_hub if can_be_opened(settings) else ()), *others):
        async for finding in _within_time(subject, examination, settings):
            yield finding


async def _installation(settings: Settings) -> AsyncIterator[Diagnosis]:
    """Open the hub: its key, its database and its blob store must belong together."""
    try:
        async with open_hub(settings) as services:
            yield good("installation", "key, database and blob store belong together")
            async for finding in examine_workers(settings, services.builds):
                yield finding
    except (SettingsError, DatabaseError, StorageError) as error:
        hint = getattr(error, "hint", "") or "see the other findings, and correct what the message names"
        yield problem("installation", str(error), hint)


async def _within_time(subject: str, examination: Examination, settings: Settings) -> AsyncIterator[Diagnosis]:
    """Yield the findings of an examination; one that fails or takes too long is a finding, too."""
    try:
        async with asyncio.timeout(TIME_LIMIT), aclosing(_started(examination, settings)) as findings:
            collected = [finding async for finding in findings]
    except TimeoutError:
        yield problem(subject, f"no result within {TIME_LIMIT:.0f} s", "check what it connects to, then try again")
    except Exception as error:  # the other examinations are still worth their results
        hint = getattr(error, "hint", "") or "this may be a bug in hythe: please report it"
        yield problem(subject, f"cannot be examined: {error or type(error).__name__}", hint)
    else:
        for finding in collected:
            yield finding


async def _started(examination: Examination, settings: Settings) -> AsyncGenerator[Diagnosis, None]:
    async for finding in examination(settings):
        yield finding
