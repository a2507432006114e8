"""Build rules: which branches and tags build, as which Docker tags.

A rule's source is a name (``main``) or a regular expression between slashes (``/^v([0-9.]+)$/``). Expressions are RE2,
which takes linear time, and match anywhere in the name. The Docker tags are comma-separated templates with

    {sourceref}     the name of the branch or tag
    {\\1} .. {\\9}    what the groups of the expression matched
    {shortsha}      the first seven digits of the commit
    {date}          the date of the build in UTC, YYYYMMDD
"""

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import msgspec
import re2

from hythe.builds.errors import InvalidBuildConfiguration
from hythe.forges.source_ref import SourceRef, SourceType
from hythe.oci.errors import InvalidReference
from hythe.oci.reference import parse_tag

MAX_EXPRESSION_MEMORY = 1 << 20
"""Maximum memory of one compiled expression, in bytes."""
MAX_SOURCE_LENGTH = 250
MAX_TAGS = 20
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_NOT_IN_TAGS = re.compile(r"[^A-Za-z0-9_.-]+")
_GROUP = re.compile(r"\\[1-9]")
_PLATFORM = re.compile(r"[a-z0-9]+/[a-z0-9]+(?:/[a-z0-9.]+)?")
_ARGUMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


HIDDEN = "(hidden)"
"""Replaces the values of build arguments for users who may not write to the repository."""


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """A build rule. ``timeout`` is in seconds (0: the installation's default); paths are relative to the source.

    An empty ``source`` means the default branch.
    """

    source_type: SourceType = SourceType.BRANCH
    source: str = ""
    tags: str = "latest"
    context: str = "/"
    dockerfile: str = "Dockerfile"
    arguments: dict[str, str] = {}
    target: str = ""
    platforms: tuple[str, ...] = ()
    cache: bool = True
    timeout: int = 0
    autobuild: bool = True
    id: int = 0

    def match(self, ref: SourceRef) -> "RuleMatch | None":
        """Return how the rule matches ``ref``, None if it does not."""
        if ref.type is not self.source_type:
            return None
        if not self.is_expression:
            return RuleMatch() if ref.name == self.source else None
        found = _compiled(self.source[1:-1]).search(ref.name)
        return RuleMatch(tuple(group or "" for group in found.groups())) if found else None

    @property
    def is_expression(self) -> bool:
        """Whether the source is a regular expression between slashes."""
        return len(self.source) > 2 and self.source.startswith("/") and self.source.endswith("/")


class RuleMatch(msgspec.Struct, frozen=True):
    """A match of a rule, with what the groups of its expression matched."""

    groups: tuple[str, ...] = ()


class RulePreview(msgspec.Struct, frozen=True):
    """A branch or tag that a rule would build; ``problem`` says why the build would fail."""

    ref: SourceRef
    rule: int
    tags: tuple[str, ...] = ()
    problem: str = ""


def check_rule(rule: Rule) -> Rule:
    """Return the rule with normalized paths. Raises InvalidBuildConfiguration."""
    if not rule.source or len(rule.source) > MAX_SOURCE_LENGTH:
        raise InvalidBuildConfiguration(
            "a rule needs a branch or tag name, or a /regular expression/, of at most 250 characters"
        )
    if rule.is_expression:
        _compiled(rule.source[1:-1])
    _check_templates(rule)
    for platform in rule.platforms:
        if not _PLATFORM.fullmatch(platform):
            raise InvalidBuildConfiguration(
                f"{platform!r} is not a platform: write OS/ARCHITECTURE, such as linux/arm64"
            )
    for name in rule.arguments:
        if not _ARGUMENT.fullmatch(name):
            raise InvalidBuildConfiguration(f"{name!r} is not a build argument: use letters, digits and '_'")
    if HIDDEN in rule.arguments.values():
        raise InvalidBuildConfiguration(
            f"a build argument has the value {HIDDEN!r}, which replaces a value that you could not see",
            "send the value itself",
        )
    if rule.timeout < 0:
        raise InvalidBuildConfiguration("the timeout is negative: use seconds, or 0 for the installation's default")
    context, dockerfile = clean_path(rule.context) or "/", clean_path(rule.dockerfile) or "Dockerfile"
    return msgspec.structs.replace(rule, context=context, dockerfile=dockerfile)


def without_values(rule: Rule) -> Rule:
    """Return a rule with the names of its build arguments, but not their values."""
    return msgspec.structs.replace(rule, arguments=dict.fromkeys(rule.arguments, HIDDEN))


def clean_path(path: str) -> str:
    """Return a path without leading ``/``, ``.`` and doubled slashes. Raises InvalidBuildConfiguration on ``..``."""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in parts or "\0" in path:
        raise InvalidBuildConfiguration(
            f"the path {path!r} leads out of the source: use one relative to the root of the source repository"
        )
    return "/".join(parts)


def docker_tags(rule: Rule, ref: SourceRef, match: RuleMatch, now: datetime | None = None) -> tuple[str, ...]:
    """Return the Docker tags of the image. Raises InvalidBuildConfiguration if one of them is not a valid tag.

    Characters that are not allowed in Docker tags become ``-`` (``feature/x`` -> ``feature-x``).
    """
    filled = (_fill(template, ref, match, now or datetime.now(UTC)) for template in _templates(rule.tags))
    return tuple(dict.fromkeys(filled))


def preview(rules: Sequence[Rule], refs: Iterable[SourceRef]) -> list[RulePreview]:
    """Return what the rules would build, in the order of ``refs``; a ref that no rule matches has no line."""
    lines = []
    for ref in refs:
        for number, rule in enumerate(rules, 1):
            match = rule.match(ref)
            if match is not None:
                lines.append(_preview_line(number, rule, ref, match))
    return lines


def _preview_line(number: int, rule: Rule, ref: SourceRef, match: RuleMatch) -> RulePreview:
    try:
        return RulePreview(ref, number, docker_tags(rule, ref, match))
    except InvalidBuildConfiguration as error:
        return RulePreview(ref, number, problem=str(error))


def _templates(tags: str) -> list[str]:
    templates = [template.strip() for template in tags.split(",") if template.strip()]
    if not 1 <= len(templates) <= MAX_TAGS:
        raise InvalidBuildConfiguration(f"a rule has 1 to {MAX_TAGS} Docker tags, separated by commas")
    return templates


def _check_templates(rule: Rule) -> None:
    groups = _compiled(rule.source[1:-1]).groups if rule.is_expression else 0
    for template in _templates(rule.tags):
        for name in _PLACEHOLDER.findall(template):
            if _GROUP.fullmatch(name):
                if int(name[1]) > groups:
                    raise InvalidBuildConfiguration(
                        f"{{{name}}} in {template!r}: the expression has {groups} groups; add a group in ( )"
                    )
            elif name not in ("sourceref", "shortsha", "date"):
                raise InvalidBuildConfiguration(
                    f"unknown variable {{{name}}}: use {{sourceref}}, {{\\1}} to {{\\9}}, {{shortsha}} or {{date}}"
                )
        _as_tag(_PLACEHOLDER.sub("x", template), template)


def _fill(template: str, ref: SourceRef, match: RuleMatch, now: datetime) -> str:
    values = {"sourceref": ref.name, "shortsha": ref.commit[:7], "date": now.strftime("%Y%m%d")}
    values |= {f"\\{number}": value for number, value in enumerate(match.groups, 1)}
    filled = _PLACEHOLDER.sub(lambda found: _NOT_IN_TAGS.sub("-", values.get(found[1], "")), template)
    return _as_tag(filled.lstrip(".-"), template)


def _as_tag(text: str, template: str) -> str:
    try:
        return parse_tag(text)
    except InvalidReference as error:
        raise InvalidBuildConfiguration(f"{template!r} is not a valid Docker tag: {error}") from error


@lru_cache(maxsize=1024)
def _compiled(expression: str) -> Any:
    options = re2.Options()
    options.max_mem = MAX_EXPRESSION_MEMORY
    options.log_errors = False
    try:
        return re2.compile(expression, options)
    except re2.error as error:
        reason = error.args[0].decode(errors="replace") if error.args else "not valid"
        raise InvalidBuildConfiguration(f"/{expression}/ is not a valid RE2 expression: {reason}") from error
