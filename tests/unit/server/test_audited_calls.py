"""Every call of a service that changes something leaves its entry in the audit log, or does not happen."""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
import sqlite3
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.parts.ci_issuer import CIIssuer, running_issuer
from tests.parts.docker_registry import Certificate
from tests.parts.forges import running_forge
from tests.parts.forges.fake_forge import FakeForge
from tests.unit.server.audited import (
    account_changes,
    administration_changes,
    build_changes,
    organization_changes,
    repository_changes,
)
from tests.unit.server.audited.unaudited import BACKGROUND, ELSEWHERE, INTERNAL, NO_ENTRY, READS
from tests.unit.server.audited.world import ADDRESS, CHANGES, Change, World, open_world, prepare

from hythe.database.sqlite import SQLITE_FILE
from hythe.hub.logs.audit import AuditEntry

MODULES = (account_changes, administration_changes, build_changes, organization_changes, repository_changes)

NOT_COMPARED = frozenset({"uploads"})
"""Tables that change if the call fails, too: an upload can be continued."""

IN_STEPS = {
    "forges.webhooks.unlink": "removes webhooks at the forge first, which cannot be undone",
}
"""Changes of which a part happens before the entry, with the reason."""

Run = Callable[[Callable[[World], Coroutine[Any, Any, Any]]], Any]


@pytest.fixture(scope="module")
def forge() -> Iterator[FakeForge]:
    """A forge at which users have accounts."""
    with running_forge("github") as running:
        yield running


@pytest.fixture(scope="module")
def issuer(certificate: Certificate) -> Iterator[CIIssuer]:
    """An issuer of ID tokens."""
    with pytest.MonkeyPatch.context() as patched, running_issuer(certificate) as running:
        patched.setenv("SSL_CERT_FILE", str(certificate.ca))
        yield running


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory, forge: FakeForge) -> tuple[Path, dict[str, str]]:
    """The data of a hub with users and an organization, and the tokens of the users' sessions."""
    data = tmp_path_factory.mktemp("prepared")
    return data, asyncio.run(prepare(data, forge))


@pytest.fixture
def run(prepared: tuple[Path, dict[str, str]], tmp_path: Path, forge: FakeForge, issuer: CIIssuer) -> Run:
    """Run a function on a hub of its own."""

    async def opened(work: Callable[[World], Coroutine[Any, Any, Any]]) -> Any:
        async with open_world(prepared[0], tmp_path, prepared[1], forge, issuer) as world:
            return await work(world)

    return lambda work: asyncio.run(opened(work))


def calls_of(world: World) -> dict[str, Any]:
    """Every public method of every service that has requests to handle, by its name."""
    services = world.services
    found: dict[str, Any] = {}
    groups = (
        ("", services.hub),
        ("builds.", services.builds),
        ("forges.", services.forges),
        ("notifications.", services.notifications),
        ("registry.", services.registry),
        ("replication.", services.replication),
    )
    for prefix, group in groups:
        found |= _methods(prefix, group)
    return found


def _methods(prefix: str, group: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    names = [each.name for each in dataclasses.fields(group)] if dataclasses.is_dataclass(group) else vars(group)
    for name in names:
        service = getattr(group, name)
        path = f"{prefix}{name}"
        if name.startswith("_") or path in INTERNAL:
            continue
        if dataclasses.is_dataclass(service):
            found |= _methods(f"{path}.", service)
            continue
        methods = inspect.getmembers(type(service), inspect.isfunction)
        found |= {f"{path}.{each}": method for each, method in methods if not each.startswith("_") and each != "apply"}
    return found


def test_every_call_is_known(run: Run) -> None:
    """A new method of a service is a change with its entry, or is listed with why it leaves none."""

    async def found(world: World) -> set[str]:
        return set(calls_of(world))

    known = [CHANGES.keys(), READS, BACKGROUND, NO_ENTRY.keys(), ELSEWHERE.keys()]
    listed = [call for calls in known for call in calls]
    calls = run(found)

    assert sorted(calls - set(listed)) == [], "add them to the changes in tests/unit/server/audited, or to unaudited.py"
    assert sorted(set(listed) - calls) == [], "these do not exist"
    assert len(listed) == len(set(listed)), "a call is listed twice"


async def made(world: World, change: Change) -> tuple[AuditEntry, ...]:
    """Prepare and make a change; return the new entries."""
    steps = change.steps(world)
    await anext(steps)
    before = (await world.entries())[0].id
    await anext(steps, None)
    return tuple(entry for entry in await world.entries() if entry.id > before)


@pytest.mark.parametrize("call", CHANGES)
def test_a_change_leaves_its_entry(call: str, run: Run, issuer: CIIssuer) -> None:
    """The entry says who did what to what, from where and with which credential, and whose namespace it was."""
    change = CHANGES[call]

    async def work(world: World) -> tuple[AuditEntry, ...]:
        return await made(world, change)

    found = [
        (entry.actor, entry.credential, entry.address, entry.action, entry.target, entry.namespace)
        for entry in run(work)
    ]
    credential = change.credential.replace("ISSUER", issuer.url)
    action = change.action.value
    assert (change.by, credential, ADDRESS, action, change.target, change.namespace) in found


@pytest.mark.parametrize("call", [call for call in CHANGES if call not in IN_STEPS])
def test_without_its_entry_nothing_changes(call: str, run: Run, tmp_path: Path) -> None:
    """If the entry cannot be written, the whole change fails: both are in one transaction."""

    async def work(world: World) -> tuple[dict[str, Any], dict[str, Any]]:
        steps = CHANGES[call].steps(world)
        await anext(steps)
        refuse_entries(tmp_path)
        before = content_of(tmp_path)
        with pytest.raises(Exception) as failed:
            await anext(steps)
        assert REFUSAL in _messages(failed.value)
        return before, content_of(tmp_path)

    before, after = run(work)
    assert {name for name in before if before[name] != after[name]} == set()


REFUSAL = "no entries today"


def _messages(error: BaseException | None) -> str:
    return "" if error is None else f"{error} {_messages(error.__cause__ or error.__context__)}"


def refuse_entries(data: Path) -> None:
    """Let the database refuse new entries."""
    connection = sqlite3.connect(data / SQLITE_FILE)
    connection.execute(
        f"CREATE TRIGGER refused BEFORE INSERT ON audit_entries BEGIN SELECT raise(ABORT, '{REFUSAL}'); END"
    )
    connection.close()


def content_of(data: Path) -> dict[str, Any]:
    """The rows of every table but NOT_COMPARED; those of virtual tables are the rows of their shadow tables."""
    connection = sqlite3.connect(data / SQLITE_FILE)
    # Not every virtual table can be read as a whole: an index without content cannot.
    stored = "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type IN ('table', 'shadow')"
    names = [name for (name,) in connection.execute(stored)]
    rows = {
        name: connection.execute(f'SELECT * FROM "{name}"').fetchall() for name in names if name not in NOT_COMPARED
    }
    connection.close()
    return rows
