"""Sign-in with the names and passwords of a real LDAP server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from typing import Any
from urllib.parse import quote

import pytest
from tests.parts.database import Run
from tests.parts.ldap_server import BASE, BIND_DN, BIND_PASSWORD, LDAPServer
from tests.unit.hub.conftest import CHEAP_HASHER
from tests.unit.hub.services import PASSWORD, Clock, Services

from hythe.database import Database
from hythe.hub.actor import HubActor
from hythe.hub.errors import AccountBlocked, ProviderDown, Refused, SignInNeeded
from hythe.hub.logs.audit_listener import AuditListener
from hythe.hub.service import make_hub, open_foundation
from hythe.registry.policy import Policy
from hythe.registry.service import RegistryServices
from hythe.registry.storage import open_blob_store
from hythe.settings import Settings

SECRET = "swordfish swordfish"
LOGIN = f"{quote(BIND_DN, safe='=,')}:{quote(BIND_PASSWORD, safe='')}"


@pytest.fixture
def open_with(
    run: Run[Any], database: Database, settings: Settings, tmp_path: Any
) -> Iterator[Callable[..., Services]]:
    """Factory of a hub with a value of the setting ``ldap``."""
    stack = AsyncExitStack()

    async def open_all(ldap: str) -> Services:
        own = Settings(data=settings.data, database_url=settings.database_url, ldap=ldap)
        clock = Clock()
        foundation = await stack.enter_async_context(open_foundation(database, own, clock, CHEAP_HASHER))
        blobs = open_blob_store(tmp_path)
        stack.push_async_callback(blobs.close)
        listeners = (foundation.listener, AuditListener(clock))
        registry = RegistryServices(database, blobs, foundation.access, listeners, Policy.of(own), clock)
        return Services(run, database, foundation, registry, make_hub(foundation, registry), clock)

    yield lambda ldap: run(open_all(ldap))
    run(stack.aclose())


def _setting(server: LDAPServer, options: str = "", *, scheme: str = "ldaps", login: str = LOGIN) -> str:
    port = server.tls_port if scheme == "ldaps" else server.port
    return f"{scheme}://{login}@127.0.0.1:{port}/{BASE}?ca_file={server.ca_file}{options}"


@pytest.fixture(scope="module")
def people(ldap_server: LDAPServer) -> LDAPServer:
    """A server with users and a group."""
    ldap_server.add_person("lena", SECRET, email="lena@company.example")
    ldap_server.add_person("l.ee", SECRET, email="lee@company.example")
    ldap_server.add_person("nomail", SECRET)
    ldap_server.add_person("thief", SECRET, email="lena@example.com")
    ldap_server.add(
        f"dn: cn=admins,ou=groups,{BASE}\nobjectClass: groupOfNames\ncn: admins\nmember: uid=lena,ou=people,{BASE}\n"
    )
    return ldap_server


@pytest.mark.parametrize("scheme", ["ldaps", "ldap"])
def test_the_first_sign_in_makes_an_account(
    people: LDAPServer, open_with: Callable[..., Services], scheme: str
) -> None:
    """By TLS and by StartTLS: the name and password of the directory work, and a group makes an administrator."""
    services = open_with(_setting(people, "&administrators=admins", scheme=scheme))
    credentials = services.hub.credentials

    first = services.run(credentials.by_password("lena", SECRET, "192.0.2.1"))
    again = services.run(credentials.by_password("lena", SECRET, "192.0.2.1"))
    dotted = services.run(credentials.by_password("l.ee", SECRET, "192.0.2.1"))

    assert (first.name, first.admin, again.user_id) == ("lena", True, first.user_id)
    assert (dotted.name, dotted.admin) == ("l-ee", False)
    for name, password in (("lena", "wrong"), ("lena", ""), ("ghost", SECRET), ("*", SECRET), ("lena)(uid=*", SECRET)):
        with pytest.raises(SignInNeeded):
            services.run(credentials.by_password(name, password, "192.0.2.1"))
    services.run(services.hub.administration.block(HubActor.operator(), "l-ee"))
    with pytest.raises(AccountBlocked):
        services.run(credentials.by_password("l.ee", SECRET, "192.0.2.1"))


def test_bind_as_the_user(people: LDAPServer, open_with: Callable[..., Services]) -> None:
    """With a template no password of the hub's own is needed, and a name cannot break out of it."""
    template = f"&template={quote(f'uid={{name}},ou=people,{BASE}')}"
    url = _setting(people, template, login="x").replace("x@", "").replace(f"/{BASE}?", "/?")
    services = open_with(url)

    actor = services.run(services.hub.credentials.by_password("lena", SECRET, ""))
    assert actor.name == "lena"
    for name in (f"lena,ou=people,{BASE}", "lena+cn=lena", ""):
        with pytest.raises(SignInNeeded):
            services.run(services.hub.credentials.by_password(name, SECRET, ""))


def test_local_accounts_do_not_need_the_directory(open_with: Callable[..., Services]) -> None:
    """While the directory is down, its users get an error that says so; accounts with a password here sign in."""
    services = open_with(f"ldaps://{LOGIN}@127.0.0.1:9/{BASE}")
    services.user("ann")

    assert services.run(services.hub.credentials.by_password("ann", PASSWORD, "")).name == "ann"
    with pytest.raises(SignInNeeded):
        services.run(services.hub.credentials.by_password("ann", "wrong", ""))
    with pytest.raises(ProviderDown, match="cannot connect to the LDAP directory"):
        services.run(services.hub.credentials.by_password("lena", SECRET, ""))


def test_accounts_are_not_taken_over(people: LDAPServer, open_with: Callable[..., Services]) -> None:
    """A local account with the name keeps it; an entry with its address, or without one, gets no account."""
    services = open_with(_setting(people))
    services.user("lena")

    with pytest.raises(SignInNeeded):
        services.run(services.hub.credentials.by_password("lena", SECRET, ""))
    with pytest.raises(Refused, match="belongs to another account"):
        services.run(services.hub.credentials.by_password("thief", SECRET, ""))
    with pytest.raises(Refused, match="no e-mail address"):
        services.run(services.hub.credentials.by_password("nomail", SECRET, ""))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda url, server: url.replace(f"?ca_file={server.ca_file}", ""), "certificate"),
        (lambda url, server: url.replace(quote(BIND_PASSWORD, safe=""), "wrong"), "hub's own name and password"),
    ],
)
def test_a_directory_that_is_not_the_right_one(
    people: LDAPServer, open_with: Callable[..., Services], change: Callable[..., str], words: str
) -> None:
    """An unknown certificate gets no password; a wrong password of the hub is an error and no wrong guess of a user."""
    services = open_with(change(_setting(people), people))

    with pytest.raises(ProviderDown, match=words):
        services.run(services.hub.credentials.by_password("lena", SECRET, ""))
