"""What the operator decides about the accounts of an identity provider: the options after ``?`` in its setting.

All providers know ``sign_up``, ``administrators``, ``team`` (may be repeated) and ``domain`` (may be repeated); each
kind adds its own options.
"""

from collections.abc import Collection, Mapping
from urllib.parse import parse_qsl

import msgspec

from hythe.settings import InvalidValue

REPEATED = frozenset({"team", "domain"})
COMMON = frozenset({"sign_up", "administrators"}) | REPEATED
MAX_OPTIONS = 500

_ANSWERS = {"yes": True, "no": False, "true": True, "false": False}


class TeamMapping(msgspec.Struct, frozen=True):
    """Members of a group at the provider are members of this team."""

    group: str
    organization: str
    team: str


class AccountRules(msgspec.Struct, frozen=True):
    """Who gets an account, and what membership in groups gives.

    ``sign_up`` None: like all others, by the setting ``sign_up``. ``administrators`` is a group; empty: the provider
    makes no administrators. Users of other e-mail domains than ``domains`` are refused; empty: all are welcome.
    """

    sign_up: bool | None = None
    administrators: str = ""
    teams: tuple[TeamMapping, ...] = ()
    domains: tuple[str, ...] = ()

    @property
    def use_groups(self) -> bool:
        """Whether anything depends on the user's groups."""
        return bool(self.administrators or self.teams)


class ProviderOptions:
    """The options of one provider."""

    def __init__(self, item: str, text: str, known: Collection[str]) -> None:
        """Parse ``text``, the part of ``item`` after ``?``. Raises InvalidValue."""
        self._item = item
        try:
            pairs = parse_qsl(text, keep_blank_values=True, strict_parsing=bool(text), max_num_fields=MAX_OPTIONS)
        except ValueError as error:
            raise self.invalid("write options as NAME=VALUE, separated by &") from error
        self._values: dict[str, list[str]] = {}
        for name, value in pairs:
            if name not in known and name not in COMMON:
                raise self.invalid(f"{name} is not an option: use {', '.join(sorted({*known, *COMMON}))}")
            if not value or not value.isprintable():
                raise self.invalid(f"the option {name} is empty, or it has characters that cannot be printed")
            if name in self._values and name not in REPEATED:
                raise self.invalid(f"the option {name} is given twice")
            self._values.setdefault(name, []).append(value)

    def invalid(self, advice: str) -> InvalidValue:
        """Return the error of an invalid item; the text of the item is not shown, because it can contain a secret."""
        name = self._item.partition("=")[0] if "=" in self._item.partition("://")[0] else ""
        return InvalidValue(self._item, f"{name}: {advice}" if name else advice, secret=True)

    def text(self, name: str, default: str = "") -> str:
        """Return an option."""
        return self._values.get(name, [default])[0]

    def choice(self, name: str, choices: Mapping[str, bool]) -> bool | None:
        """Return an option that has one of these values; None if it is not given. Raises InvalidValue."""
        if name not in self._values:
            return None
        value = choices.get(self.text(name))
        if value is None:
            raise self.invalid(f"use {name}={' or '.join(choices)}")
        return value

    def rules(self) -> AccountRules:
        """Return the options that all providers know. Raises InvalidValue."""
        return AccountRules(
            self.choice("sign_up", _ANSWERS),
            self.text("administrators"),
            tuple(map(self._team, self._values.get("team", ()))),
            tuple(domain.lower() for domain in self._values.get("domain", ())),
        )

    def _team(self, text: str) -> TeamMapping:
        # The last colon: a group can have one, a team cannot.
        group, _, where = text.rpartition(":")
        organization, _, team = where.partition("/")
        if not (group and organization and team) or "/" in team:
            raise self.invalid("use team=GROUP:ORGANIZATION/TEAM")
        return TeamMapping(group, organization, team)
