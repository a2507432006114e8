"""Docker's verbs that hythe lacks: each hint says what to use instead, never a verb that does something else."""

from __future__ import annotations

import re
import subprocess

import pytest
from tests.parts.engines import docker_command

from hythe.cli.command import CommandFailed
from hythe.cli.docker_verbs import GROUPS, HINTS
from hythe.cli.main import VERBS, dispatch, find_verb, load, make_parser

NAMES = {verb.name for verb in VERBS}


def verbs_of_docker(*group: str) -> set[str]:
    """Return the verbs that `docker --help` or `docker GROUP --help` lists."""
    help_text = subprocess.run([docker_command(), *group, "--help"], capture_output=True, text=True, check=True).stdout
    return set(re.findall(r"^  ([a-z]+)\*? {2,}[A-Z]", help_text, re.MULTILINE))


def hint_of(*words: str) -> str:
    """Return the hint for a command line with an unknown verb."""
    with pytest.raises(CommandFailed, match=f"unknown verb '{words[0]}'") as caught:
        dispatch(list(words))
    return caught.value.hint


def test_every_verb_of_docker_is_known_or_explained() -> None:
    """Those of the installed docker; `docker version` is `hythe version`."""
    found = verbs_of_docker()

    assert {"run", "cp", "exec", "system", "swarm"} <= found
    assert found - NAMES - HINTS.keys() == {"version"}
    assert HINTS.keys() & NAMES == set()


@pytest.mark.parametrize("group", GROUPS)
def test_every_verb_of_a_group_is_explained(group: str) -> None:
    """`container ls` is `ps`; other verbs of the group have the hint that they have alone."""
    for verb in verbs_of_docker(group):
        same = GROUPS[group].get(verb, verb)
        assert hint_of(group, verb) == (f"use 'hythe {same}'" if same in NAMES else HINTS[same])
    assert hint_of(group) == HINTS[group]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["cp", "a", "b"], "hythe run -v"),
        (["container", "ls"], "use 'hythe ps'"),
        (["container", "exec", "web"], "--volumes-from"),
        (["image", "ls"], "use 'hythe images'"),
        (["image", "rm", "x"], "use 'hythe rmi'"),
        (["build", "."], "hythe commit"),
        (["system", "prune"], "hythe rmi"),
        (["cpy"], "did you mean 'hythe copy'?"),
        (["halp"], "did you mean 'hythe help'?"),
        (["xyzzy"], "'hythe --help' lists all verbs"),
    ],
)
def test_hints(words: list[str], expected: str) -> None:
    """Docker's verbs first; only other words are taken for a slip."""
    assert expected in hint_of(*words)


def test_hints_name_existing_verbs_and_flags() -> None:
    """What they recommend works."""
    for text in HINTS.values():
        assert len(text) <= 120
        for verb, rest in re.findall(r"'hythe ([a-z]+)([^']*)'", text):
            parser = make_parser(find_verb(verb), load(find_verb(verb)))
            flags = {flag for action in parser._actions for flag in action.option_strings}
            assert set(re.findall(r"(?<!\S)--?[a-z][a-z-]*", rest.partition("|")[0])) <= flags
