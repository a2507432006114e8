"""Mistakes in Dockerfiles."""

import pytest

from hythe.worker.dockerfiles.checks import check
from hythe.worker.errors import InvalidDockerfile


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("FROM a\n\nRUNN x", "Dockerfile line 3: unknown instruction RUNN (did you mean RUN?)"),
        ("FROM a\nCPOY x y", "Dockerfile line 2: unknown instruction CPOY (did you mean COPY?)"),
        ("FROM a\nQQQQ", "Dockerfile line 2: unknown instruction QQQQ"),
        ("FROM a\nRUN", "Dockerfile line 2: RUN needs an argument"),
        ("FROM a\nCOPY --form=b x y", "Dockerfile line 2: unknown flag --form for COPY (did you mean --from?)"),
        ("FROM a\nRUN --zzz x", "Dockerfile line 2: unknown flag --zzz for RUN (it has --mount, --network"),
        ("FROM a\nCOPY --chown x y z", "Dockerfile line 2: --chown of COPY needs a value"),
        ("FROM a\nRUN --network=lan x", "Dockerfile line 2: unknown network lan: use default, none, host"),
        ("RUN x\nFROM a", "Dockerfile line 1: RUN comes before FROM"),
        ("FROM a b", "Dockerfile line 1: FROM has the form FROM IMAGE [AS NAME]"),
        ("FROM a AS 1", "Dockerfile line 1: 1 is no name for a stage"),
        ("ARG X\nFROM $X", "Dockerfile line 2: FROM names no base image: $X is empty"),
        ("ARG X\nFROM ${X:?unset}", "Dockerfile line 2: X: unset"),
        ("FROM a\nCOPY x", "Dockerfile line 2: COPY needs a source and a destination"),
        ("FROM a\nENV x", "Dockerfile line 2: ENV needs a value: write NAME=VALUE"),
        ("FROM a\nENV =x", "Dockerfile line 2: ENV has a value without a name"),
        ("FROM a\nARG =x", "Dockerfile line 2: ARG has a value without a name"),
        ("FROM a\nSHELL ['/bin/sh']", "Dockerfile line 2: SHELL needs JSON"),
        ("FROM a\nHEALTHCHECK curl x", "Dockerfile line 2: HEALTHCHECK needs CMD or NONE, not curl"),
        ("FROM a\nHEALTHCHECK []", "Dockerfile line 2: HEALTHCHECK needs CMD or NONE"),
        ("FROM a\nONBUILD FROM b", "Dockerfile line 2: ONBUILD cannot have the instruction FROM"),
        ("FROM a\nONBUILD RNU b", "Dockerfile line 2: ONBUILD cannot have the instruction RNU (did you mean RUN?)"),
        ("FROM a AS b\nFROM a AS b", "Dockerfile line 2: there is already a stage b"),
        ("FROM a\nCOPY --from=b x y\nFROM a AS b", "Dockerfile line 2: COPY cannot use the stage b, which comes later"),
        ("FROM a AS b\nCOPY --from=b x y", "Dockerfile line 2: COPY cannot use this stage itself"),
        ("FROM a\nCOPY --from=3 x y", "Dockerfile line 2: there is no stage 3 before this one"),
        ("FROM a\nRUN <<EOF\nx", "Dockerfile line 2: the here-document <<EOF has no end"),
        ("# escape=x\nFROM a", "# escape=x is neither a backslash nor a backtick"),
    ],
)
def test_a_mistake_is_named_with_its_line(text: str, reason: str) -> None:
    """The error has the line, what is wrong, and what was probably meant."""
    with pytest.raises(InvalidDockerfile) as caught:
        check(text, {}, {}, "")

    assert reason in str(caught.value)


@pytest.mark.parametrize("target", ["prod", "PROD", "0", "1", ""])
def test_targets(target: str) -> None:
    """A stage is found by its name, without regard to case, and by its number."""
    assert check("FROM a AS Prod\nFROM b", {}, {}, target) == []


def test_an_unknown_target() -> None:
    """The error names the stages there are."""
    with pytest.raises(InvalidDockerfile, match=r"no stage pord \(did you mean prod\?\): its stages are prod, test"):
        check("FROM a AS prod\nFROM b AS test", {}, {}, "pord")


def test_a_command_that_looks_like_json() -> None:
    """docker runs it with the shell, so it is only a warning."""
    warnings = check("FROM a\nCMD ['x', 'y']\nCMD [ -f x ]\nRUN [ -f x ] && y\n", {}, {}, "")

    assert warnings == [
        "Dockerfile line 2: warning: CMD ['x', 'y'] is not JSON, so the shell runs it as it is"
        " (JSON needs double quotes)"
    ]


def test_a_builder_can_know_more_flags() -> None:
    """BuildKit reports flags that it does not know itself."""
    assert check("FROM a\nRUN --new=x y\n", {}, {}, "", flags=False) == []


def test_nested_brackets_are_read_without_recursion() -> None:
    """A Dockerfile of brackets only is an ordinary command."""
    assert check(f"FROM a\nRUN {'[' * 100_000}\n", {}, {}, "") == []
