"""Phases of builds with RUN --network=none."""

from hythe.worker.builders.buildah_phases import needed_stages, phases
from hythe.worker.dockerfiles.parsing import parse

TEXT = """\
ARG V
FROM a AS one
RUN online
RUN  offline1
ENV x=y
RUN  offline2
RUN online2
FROM b AS unused
RUN  offline3
FROM scratch
COPY --from=one /x /x
RUN  offline4
"""
OFFLINE = {3, 5, 8, 11}


def test_the_network_changes_between_phases() -> None:
    """Adjacent steps without network share a phase, which is the start of the Dockerfile up to the last of them."""
    found = phases(TEXT, OFFLINE, "")

    assert [(each.text.splitlines()[-1], each.is_online) for each in found] == [
        ("RUN online", True),
        ("RUN  offline2", False),
        ("COPY --from=one /x /x", True),
        ("RUN  offline4", False),
        ("RUN  offline4", True),
    ]
    assert [each.is_final for each in found] == [False] * 4 + [True]
    assert found[-1].text == TEXT


def test_only_the_stages_of_the_target_are_built() -> None:
    """Stages that the target does not need have no phases."""
    assert [each.text.splitlines()[-1] for each in phases(TEXT, OFFLINE, "unused")][:-1] == [
        "FROM b AS unused",
        "RUN  offline3",
    ]
    assert len(phases(TEXT, OFFLINE, "one")) == 3


def test_a_build_without_such_steps_has_one_phase() -> None:
    """It is built as it is."""
    found = phases("FROM a\nRUN x\n", (), "")

    assert [(each.text, each.is_online, each.is_final) for each in found] == [("FROM a\nRUN x\n", True, True)]


def test_a_first_step_without_network_needs_no_phase_before_it() -> None:
    """There is nothing to build."""
    assert [each.is_online for each in phases("FROM a\nRUN  x\n", {1}, "")] == [False, True]


def test_needed_stages() -> None:
    """A stage is needed as a base, by COPY --from, and by RUN --mount, by name or number."""
    text = (
        "FROM a AS zero\nFROM zero AS one\nFROM a AS two\nFROM a AS three\n"
        "RUN --mount=type=bind,from=two,target=/t x\nFROM a AS four\nCOPY --from=1 x x\nCOPY --from=Three x x\n"
    )

    assert needed_stages(parse(text), "") == {0, 1, 2, 3, 4}
    assert needed_stages(parse(text), "three") == {2, 3}
    assert needed_stages(parse(text), "1") == {0, 1}
