"""Replication rules: which repositories and tags are kept in step with which registry, and when."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import Enum
from typing import Annotated, Any
from urllib.parse import urlsplit

import msgspec
from msgspec import UNSET, Meta, UnsetType

from hythe.hub.accounts.namespaces import canonical_name
from hythe.hub.errors import Invalid
from hythe.hub.organizations.name_patterns import any_matches, pattern_problem
from hythe.hub.validation import Checked, problems_by
from hythe.oci.reference import is_name
from hythe.settings import InvalidValue
from hythe.settings.addresses import parse_http_url

MAX_PATTERNS = 100
"""Maximum number of patterns in a list."""

MIN_INTERVAL = 10
"""Minimum seconds between two comparisons by schedule: each asks the other registry for every tag."""

MAX_INTERVAL = 30 * 24 * 3600

DISABLED_UNTIL = datetime(9999, 1, 1, tzinfo=UTC)
"""The end of the pause of a disabled rule: servers of every version keep it."""

_RULE_NAME = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?")
_FIELDS = re.compile(r"\{(\w*)\}")
_KNOWN_FIELDS = frozenset({"repository", "namespace", "name"})
_REFERRER_TAG = re.compile(r"(sha256)-([0-9a-f]{64})(?:\.[a-z]+)?")


class Direction(Enum):
    """Where the content of a rule goes."""

    PUSH = "push"
    PULL = "pull"


class NewReplicationRule(Checked, frozen=True):
    """A rule to add.

    ``repositories`` and ``tags`` are patterns, ``*`` stands for any text; ``destination`` is the name of a repository
    on the other side, made of ``{repository}``, or ``{namespace}`` and ``{name}``. ``deletions``: tags that are
    deleted here are deleted there. ``override``: tags that differ there are moved. ``events``: what changes is copied
    at once; ``interval``: seconds between comparisons, 0: none. ``rate`` is in bytes a second, 0: unlimited.
    """

    name: Annotated[str, Meta(max_length=64)]
    direction: Direction
    url: Annotated[str, Meta(max_length=500)]
    username: Annotated[str, Meta(max_length=255)] = ""
    password: Annotated[str, Meta(max_length=4000)] = ""
    repositories: Annotated[tuple[str, ...], Meta(max_length=MAX_PATTERNS)] = ("*",)
    tags: Annotated[tuple[str, ...], Meta(max_length=MAX_PATTERNS)] = ("*",)
    destination: Annotated[str, Meta(max_length=255)] = "{repository}"
    deletions: bool = False
    override: bool = True
    events: bool = True
    interval: Annotated[int, Meta(ge=0, le=MAX_INTERVAL)] = 3600
    concurrency: Annotated[int, Meta(ge=1, le=16)] = 2
    rate: Annotated[int, Meta(ge=0, le=2**50)] = 0

    @classmethod
    def problems(cls, values: Mapping[str, Any]) -> dict[str, str]:
        """See Checked."""
        found = problems_by(values, name=_name_problem, url=_url_problem, destination=_destination_problem)
        for field in ("repositories", "tags"):
            if field in values and (problem := _patterns_problem(values[field])):
                found[field] = problem
        interval = values.get("interval", MIN_INTERVAL)
        if 0 < interval < MIN_INTERVAL:
            found["interval"] = f"must be 0, or at least {MIN_INTERVAL} seconds"
        if values.get("direction") is Direction.PULL and not interval:
            found["interval"] = "must not be 0: a rule that pulls learns of changes only by comparing"
        if bool(values.get("username")) != bool(values.get("password")):
            found["password"] = "must be given together with username"  # noqa: S105 (a message)
        return found


def _name_problem(name: str) -> str | None:
    return None if _RULE_NAME.fullmatch(name) else "must have 1 to 64 of a-z, 0-9, '.', '_' and '-'"


def _url_problem(url: str) -> str | None:
    try:
        parse_http_url(url, path=True)
    except InvalidValue as error:
        return f"must be the address of a registry: {error.advice}"
    return None


def _destination_problem(destination: str) -> str | None:
    fields = set(_FIELDS.findall(destination))
    if not fields <= _KNOWN_FIELDS or not fields & {"repository", "name"}:
        return "must contain {repository} or {name}, and may contain {namespace}: backup/{name}"
    if not is_name(_FIELDS.sub("x", destination)):
        return "must be the name of a repository once {repository}, {namespace} and {name} are replaced"
    return None


def _patterns_problem(patterns: tuple[str, ...]) -> str | None:
    if not patterns:
        return "must contain a pattern: '*' matches everything"
    for pattern in patterns:
        problem = pattern_problem(pattern)
        if problem or not pattern.isprintable() or " " in pattern:
            return f"{pattern[:100]!r} {problem or 'must not contain spaces'}"
    return None


class ReplicationRuleChange(msgspec.Struct, frozen=True):
    """What to change of a rule; see NewReplicationRule. Fields that are not given stay as they are.

    ``username`` and ``password`` are given together; both empty: no credentials. A rule that is not ``enabled`` copies
    nothing, and what is pushed stays behind. Where a rule leads does not change: its password is for that registry.
    """

    username: Annotated[str, Meta(max_length=255)] | UnsetType = UNSET
    password: Annotated[str, Meta(max_length=4000)] | UnsetType = UNSET
    repositories: Annotated[tuple[str, ...], Meta(max_length=MAX_PATTERNS)] | UnsetType = UNSET
    tags: Annotated[tuple[str, ...], Meta(max_length=MAX_PATTERNS)] | UnsetType = UNSET
    destination: Annotated[str, Meta(max_length=255)] | UnsetType = UNSET
    deletions: bool | UnsetType = UNSET
    override: bool | UnsetType = UNSET
    events: bool | UnsetType = UNSET
    interval: Annotated[int, Meta(ge=0, le=MAX_INTERVAL)] | UnsetType = UNSET
    concurrency: Annotated[int, Meta(ge=1, le=16)] | UnsetType = UNSET
    rate: Annotated[int, Meta(ge=0, le=2**50)] | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET

    @property
    def given(self) -> dict[str, Any]:
        """The fields that are given."""
        return {name: value for name, value in msgspec.structs.asdict(self).items() if value is not UNSET}

    def check(self, direction: Direction) -> None:
        """Raise Invalid if a field is invalid for a rule of this direction."""
        values = self.given | ({"direction": direction} if self.interval is not UNSET else {})
        if bad := NewReplicationRule.problems(values):
            raise Invalid(bad)


class ReplicationRule(msgspec.Struct, frozen=True):
    """A stored rule with its state; see NewReplicationRule. ``sealed`` is the sealed password.

    ``compare_at`` is when the next comparison is due, ``compared_at`` when the last one ended. Until ``paused_until``
    nothing is tried: the other registry failed ``failures`` times in a row, and ``problem`` says how.
    """

    id: int
    name: str
    direction: Direction
    url: str
    username: str
    sealed: str
    repositories: tuple[str, ...]
    tags: tuple[str, ...]
    destination: str
    deletions: bool
    override: bool
    events: bool
    interval: int
    concurrency: int
    rate: int
    created_at: datetime
    created_by: str
    compare_at: datetime | None
    compare_lease: str
    compared_at: datetime | None
    paused_until: datetime | None
    failures: int
    problem: str

    @property
    def enabled(self) -> bool:
        """Whether the rule is worked on."""
        return self.paused_until is None or self.paused_until < DISABLED_UNTIL

    @property
    def address(self) -> str:
        """The HOST or HOST:PORT of the other registry."""
        return urlsplit(self.url).netloc

    def covers_repository(self, repository: str) -> bool:
        """Return whether a repository of the source belongs to the rule."""
        return any_matches(self.repositories, repository) or any_matches(self.repositories, _short(repository))

    def covers_tag(self, tag: str) -> bool:
        """Return whether a tag belongs to the rule by its name; signatures follow what they sign."""
        return any_matches(self.tags, tag)

    def destination_of(self, repository: str) -> str:
        """Return the name of a source's repository at the destination."""
        namespace, _, name = repository.rpartition("/") if "/" in repository else ("", "", repository)
        fields = {"repository": repository, "namespace": namespace, "name": name}
        named = _FIELDS.sub(lambda match: fields[match[1]], self.destination).strip("/")
        return canonical_name(named) if self.direction is Direction.PULL else named

    def source_of(self, destination: str) -> str | None:
        """Return the repository of the source that is kept at this destination, if the names are the same."""
        return destination if self.destination == "{repository}" else None


def _short(repository: str) -> str:
    return repository.removeprefix("library/")


def subject_of_tag(tag: str) -> str | None:
    """Return the digest that a tag of the form ``sha256-HEX[.sig]`` describes: a signature, or a list of referrers."""
    match = _REFERRER_TAG.fullmatch(tag)
    return f"{match[1]}:{match[2]}" if match else None
