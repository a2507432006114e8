"""The directory that the setting ``ldap`` names: checks a user name and password, and reads the user's entry.

The setting is ``ldaps://[BIND_DN:PASSWORD@]HOST[:PORT]/BASE_DN[?OPTION=VALUE&..]``, or ``ldap://`` for StartTLS. With
a BIND_DN the hub searches the user's entry and then binds as it; with the option ``template`` it binds as the user at
once. See docs/identity-providers.md.
"""

import asyncio
import re
from collections.abc import Sequence
from urllib.parse import unquote

import msgspec

from hythe.egress.policy import EgressPolicy
from hythe.identity_providers.account_rules import AccountRules, ProviderOptions
from hythe.identity_providers.configured import read_secret
from hythe.identity_providers.errors import IdentityProviderError, IdentityRejected, ProviderUnavailable
from hythe.identity_providers.external_identity import MAX_SUBJECT_LENGTH, ExternalIdentity, groups_of, text_of
from hythe.identity_providers.ldap.connection import (
    BASE_OBJECT,
    INVALID_CREDENTIALS,
    NO_SUCH_OBJECT,
    SIZE_LIMIT_EXCEEDED,
    SUCCESS,
    WHOLE_SUBTREE,
    DirectoryEntry,
    LDAPConnection,
    LDAPServer,
    Result,
    connection_to,
)
from hythe.identity_providers.ldap.filters import InvalidFilter, escape, parse_filter
from hythe.settings import InvalidValue
from hythe.settings.addresses import parse_ldap_url

ISSUER = "ldap"
"""The issuer of all identities of the directory: the ``id`` attributes of entries are unique everywhere."""

TIMEOUT = 10.0
"""Seconds for one check of a password, with everything that it needs."""

MAX_PASSWORD_LENGTH = 1024
MAX_GROUP_ENTRIES = 1000
FORM = "ldaps://BIND_DN:PASSWORD@HOST/BASE_DN, or ldap:// for StartTLS"
_PRESENT = parse_filter("(objectClass=*)")
_PLACES = re.compile(r"\{(\w*)\}")


class DirectorySetting(msgspec.Struct, frozen=True, kw_only=True):
    """The parsed setting. ``user_filter``, ``group_filter`` and ``template`` contain {name} or {dn}."""

    server: LDAPServer
    base: str
    bind_dn: str
    bind_password: str
    secret_file: str
    template: str
    user_filter: str
    group_base: str
    group_filter: str
    id_attribute: str
    name_attribute: str
    email_attribute: str
    groups_attribute: str
    rules: AccountRules


OPTIONS = frozenset(
    {
        *("secret_file", "ca_file", "tls", "template", "filter", "id", "name", "email", "groups"),
        *("group_base", "group_filter"),
    }
)


def parse_ldap(setting: str) -> DirectorySetting:
    """Return the directory that the setting names. Raises InvalidValue."""
    url, _, text = setting.partition("?")
    options = ProviderOptions(setting, text, OPTIONS)
    try:
        parts = parse_ldap_url(url)
    except InvalidValue as error:
        raise options.invalid(f"use {FORM}: {error.advice}") from None
    name = options.text("name", "uid")
    implicit = parts.scheme == "ldaps"
    tls = options.choice("tls", {"off": False, "on": True}) is not False
    server = LDAPServer(
        host=parts.hostname or "",
        port=parts.port or (636 if implicit else 389),
        tls=tls,
        start_tls=not implicit,
        ca_file=options.text("ca_file"),
    )
    parsed = DirectorySetting(
        server=server,
        base=unquote(parts.path[1:]),
        bind_dn=unquote(parts.username or ""),
        bind_password=unquote(parts.password or ""),
        secret_file=options.text("secret_file"),
        template=options.text("template"),
        user_filter=options.text("filter", f"({name}={{name}})"),
        group_base=options.text("group_base"),
        group_filter=options.text("group_filter", "(member={dn})"),
        id_attribute=options.text("id", "entryUUID"),
        name_attribute=name,
        email_attribute=options.text("email", "mail"),
        groups_attribute=options.text("groups", "memberOf"),
        rules=options.rules(),
    )
    _require_complete(parsed, options, implicit=implicit)
    return parsed


def _require_complete(parsed: DirectorySetting, options: ProviderOptions, *, implicit: bool) -> None:
    if implicit and not parsed.server.tls:
        raise options.invalid("tls=off is for ldap:// only: it sends passwords in clear text")
    if not parsed.template and not (parsed.base and parsed.bind_dn):
        raise options.invalid(f"use {FORM}, or the option template such as uid={{name}},ou=people,dc=example,dc=com")
    for option, text, place in (
        ("template", parsed.template or "{name}", "{name}"),
        ("filter", parsed.user_filter, "{name}"),
        ("group_filter", parsed.group_filter, "{dn}"),
    ):
        if place not in text:
            raise options.invalid(f"the option {option} must contain {place}")
    for option, text in (("filter", parsed.user_filter), ("group_filter", parsed.group_filter)):
        try:
            parse_filter(_filled(text, name="x", dn="x"))
        except InvalidFilter as error:
            raise options.invalid(f"the option {option} is no search filter: {error}") from error


def check_ldap(setting: str) -> None:
    """Check the setting and the files that it names. Raises InvalidValue."""
    parsed = parse_ldap(setting)
    if parsed.secret_file:
        read_secret(ISSUER, parsed.secret_file)
    try:
        parsed.server.context()
    except OSError as error:
        raise InvalidValue(ISSUER, f"ca_file {parsed.server.ca_file} cannot be read: {error}") from error


class Directory:
    """Checks passwords. Each check is a connection of its own, with a timeout."""

    def __init__(self, setting: DirectorySetting, policy: EgressPolicy) -> None:
        """The server can be on an internal address, because the operator named it."""
        self.rules = setting.rules
        self._setting = setting
        self._policy = policy.trusting([(setting.server.host, setting.server.port)])

    async def identify(self, name: str, password: str) -> ExternalIdentity | None:
        """Return the user with this name and password, or None if there is none.

        Raises ProviderUnavailable, IdentityRejected.
        """
        # Servers accept an empty password for any name, without checking anything (RFC 4513, section 5.1.2).
        if not password or len(password) > MAX_PASSWORD_LENGTH or "\0" in password:
            return None
        try:
            async with asyncio.timeout(TIMEOUT), connection_to(self._setting.server, self._policy) as connection:
                entry = await self._authenticated(connection, name, password)
                return None if entry is None else await self._identity(connection, entry)
        except IdentityProviderError:
            raise
        except TimeoutError as error:
            raise ProviderUnavailable(f"the LDAP directory does not respond within {TIMEOUT:.0f} s") from error
        except OSError as error:
            raise ProviderUnavailable(f"cannot connect to the LDAP directory: {str(error)[:200]}") from error

    async def _authenticated(self, connection: LDAPConnection, name: str, password: str) -> DirectoryEntry | None:
        """Return the user's entry once the server has accepted the password."""
        setting = self._setting
        if setting.template:
            dn = _PLACES.sub(lambda _: escape_dn(name), setting.template)
            if not _accepted(await connection.bind(dn, password)):
                return None
            return await self._find(connection, name) if setting.base else await self._read(connection, dn)
        secret = read_secret(ISSUER, setting.secret_file) if setting.secret_file else setting.bind_password
        bound = await connection.bind(setting.bind_dn, secret)
        if bound.code != SUCCESS:
            raise ProviderUnavailable(
                f"the LDAP directory does not accept the hub's own name and password (result {bound.code})"
            )
        entry = await self._find(connection, name)
        if entry is None or not _accepted(await connection.bind(entry.dn, password)):
            return None
        return entry

    @property
    def _attributes(self) -> Sequence[str]:
        setting = self._setting
        return (setting.id_attribute, setting.name_attribute, setting.email_attribute, setting.groups_attribute)

    async def _find(self, connection: LDAPConnection, name: str) -> DirectoryEntry | None:
        """Return the only entry of this name. Two of them are an error: neither can be preferred."""
        wanted = parse_filter(_filled(self._setting.user_filter, name=escape(name)))
        entries, result = await connection.search(self._setting.base, WHOLE_SUBTREE, wanted, self._attributes, 2)
        if len(entries) > 1 or result.code == SIZE_LIMIT_EXCEEDED:
            raise IdentityRejected(
                f"several entries of the LDAP directory have the name {name}", "an administrator can narrow the filter"
            )
        _require_success(result)
        return entries[0] if entries else None

    async def _read(self, connection: LDAPConnection, dn: str) -> DirectoryEntry | None:
        entries, result = await connection.search(dn, BASE_OBJECT, _PRESENT, self._attributes, 1)
        _require_success(result)
        return entries[0] if entries else None

    async def _identity(self, connection: LDAPConnection, entry: DirectoryEntry) -> ExternalIdentity:
        setting = self._setting
        raw = next(iter(entry.attributes.get(setting.id_attribute.lower(), ())), b"")
        subject = _subject(raw)
        if not subject or len(subject) > MAX_SUBJECT_LENGTH:
            raise IdentityRejected(
                f"your entry in the LDAP directory has no attribute {setting.id_attribute}",
                "an administrator can name another one with the option id",
            )
        return ExternalIdentity(
            issuer=ISSUER,
            subject=subject,
            user_name=text_of(entry.value(setting.name_attribute)).lower(),
            email=text_of(entry.value(setting.email_attribute)),
            email_verified=True,  # by the directory's administrators
            groups=await self._groups(connection, entry) if setting.rules.use_groups else frozenset(),
        )

    async def _groups(self, connection: LDAPConnection, entry: DirectoryEntry) -> frozenset[str]:
        """Return the names of the user's groups: the whole DN, and its first value, such as ``developers``."""
        names = list(entry.values(self._setting.groups_attribute))
        if self._setting.group_base:
            values = {"dn": escape(entry.dn), "name": escape(entry.value(self._setting.name_attribute))}
            wanted = parse_filter(_filled(self._setting.group_filter, **values))
            found, result = await connection.search(
                self._setting.group_base, WHOLE_SUBTREE, wanted, ("1.1",), MAX_GROUP_ENTRIES
            )
            if result.code != SIZE_LIMIT_EXCEEDED:
                _require_success(result)
            names += [each.dn for each in found]
        return groups_of([*names, *map(_first_value, names)])


def _accepted(result: Result) -> bool:
    """Return whether a password was right. Raises ProviderUnavailable for other results than right and wrong."""
    if result.code in (SUCCESS, INVALID_CREDENTIALS, NO_SUCH_OBJECT):
        return result.code == SUCCESS
    raise ProviderUnavailable(f"the LDAP directory refused to check the password (result {result.code})")


def _require_success(result: Result) -> None:
    if result.code not in (SUCCESS, NO_SUCH_OBJECT):
        raise ProviderUnavailable(f"the LDAP directory refused a search (result {result.code})")


def _filled(text: str, **values: str) -> str:
    """Return a filter with the values in it, which are escaped already."""
    return _PLACES.sub(lambda found: values.get(found[1], found[0]), text)


def escape_dn(value: str) -> str:
    """Return a value in which no character has a meaning in a DN (RFC 4514, section 2.4)."""
    return "".join(f"\\{ord(each):02x}" if each in '\\,+"<>;=#\0 ' else each for each in value)


def _subject(raw: bytes) -> str:
    """Return an ID as text; Active Directory's objectGUID is bytes."""
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        return raw.hex()
    return text if text.isprintable() else raw.hex()


def _first_value(dn: str) -> str:
    """Return the value of the first part of a DN; the text itself if it is none."""
    first = re.match(r"[A-Za-z0-9.-]+=((?:\\.|[^,+\\])*)", dn)
    return re.sub(r"\\(.)", r"\1", first[1]).strip() if first else dn
