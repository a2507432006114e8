"""Build rules: what they match, and which Docker tags they produce."""

from datetime import UTC, datetime

import pytest

from hythe.builds.errors import InvalidBuildConfiguration
from hythe.builds.rules import Rule, RulePreview, check_rule, docker_tags, preview
from hythe.forges.source_ref import SourceRef, SourceType

COMMIT = "0123456789abcdef0123456789abcdef01234567"
NOW = datetime(2026, 11, 23, 15, tzinfo=UTC)


def branch(name: str) -> SourceRef:
    return SourceRef(SourceType.BRANCH, name, COMMIT)


def tag(name: str) -> SourceRef:
    return SourceRef(SourceType.TAG, name, COMMIT)


def built_as(rule: Rule, ref: SourceRef) -> tuple[str, ...]:
    match = rule.match(ref)
    assert match is not None
    return docker_tags(rule, ref, match, NOW)


def test_a_name_matches_only_itself() -> None:
    """A rule with a plain name matches that branch and no other."""
    rule = Rule(source="main")

    assert rule.match(branch("main"))
    assert rule.match(branch("maintenance")) is None
    assert rule.match(tag("main")) is None


def test_groups_of_the_expression_fill_the_tags() -> None:
    """Docker's documented example: tags v1.2.3 build as 1.2.3, 1.2 and latest."""
    rule = Rule(source_type=SourceType.TAG, source=r"/^v([0-9]+\.[0-9]+)\.([0-9]+)$/", tags=r"{\1}.{\2},{\1},latest")

    assert built_as(rule, tag("v1.2.3")) == ("1.2.3", "1.2", "latest")
    assert rule.match(tag("v1.2")) is None


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{sourceref}", "feature-login"),
        ("x-{shortsha}", "x-0123456"),
        ("{date}-{sourceref}", "20261123-feature-login"),
    ],
)
def test_placeholders(template: str, expected: str) -> None:
    """Every placeholder is filled, and a slash in a branch's name becomes a dash."""
    rule = Rule(source="/.*/", tags=template)

    assert built_as(rule, branch("feature/login")) == (expected,)


def test_equal_tags_are_named_once() -> None:
    """Two templates with the same result produce one tag."""
    rule = Rule(source="main", tags="{sourceref}, main")

    assert built_as(rule, branch("main")) == ("main",)


@pytest.mark.parametrize(
    "rule",
    [
        Rule(source=""),
        Rule(source="/(/"),
        Rule(source="/(?=ahead)/"),
        Rule(source="main", tags=""),
        Rule(source="main", tags="{unknown}"),
        Rule(source="main", tags=r"{\1}"),
        Rule(source="/a(b)/", tags=r"{\2}"),
        Rule(source="main", tags="not a tag"),
        Rule(source="main", context="../.."),
        Rule(source="main", dockerfile="a/../../etc/passwd"),
        Rule(source="main", platforms=("arm64",)),
        Rule(source="main", arguments={"A-B": "1"}),
        Rule(source="main", timeout=-1),
    ],
)
def test_bad_rules_are_refused(rule: Rule) -> None:
    """Rules that can never build are refused."""
    with pytest.raises(InvalidBuildConfiguration):
        check_rule(rule)


def test_paths_are_normalized() -> None:
    """Docker Hub's paths begin with a slash, which means the root of the source."""
    rule = check_rule(Rule(source="main", context="/images/./web/", dockerfile="/docker/Dockerfile"))

    assert (rule.context, rule.dockerfile) == ("images/web", "docker/Dockerfile")


def test_expressions_take_linear_time() -> None:
    """An expression that is exponential with backtracking is matched quickly."""
    rule = Rule(source="/^(a+)+$/")

    assert rule.match(branch("a" * 200_000 + "b")) is None


def test_preview_lists_refs_and_tags() -> None:
    """The preview lists each matching ref and rule, and says why a build would fail."""
    rules = [Rule(source="main"), Rule(source_type=SourceType.TAG, source="/^v(.*)$/", tags=r"{\1}")]

    lines = preview(rules, [branch("main"), branch("other"), tag("v1"), tag("v")])

    assert lines[:2] == [RulePreview(branch("main"), 1, ("latest",)), RulePreview(tag("v1"), 2, ("1",))]
    assert lines[2].tags == ()
    assert "not a valid Docker tag" in lines[2].problem
