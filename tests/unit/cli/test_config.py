"""config: the client's settings; and what completes words."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.parts.process import program
from tests.unit.client.sample_images import add_image

from hythe.cli.completion import SCRIPTS, candidates
from hythe.cli.main import VERBS, main
from hythe.client.store import LocalStore
from hythe.oci.reference import Reference

HYTHE = subprocess.list2cmdline([sys.executable, "-m", "hythe.cli.main"])


@pytest.fixture
def configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the file is, with nothing in the environment."""
    monkeypatch.setenv("HYTHE_CONFIG", str(tmp_path / "config.json"))
    monkeypatch.setenv("HYTHE_STORE", str(tmp_path / "store"))
    monkeypatch.delenv("HYTHE_DEFAULT_REGISTRY", raising=False)
    return tmp_path / "config.json"


def test_what_is_set_is_got_and_can_be_unset(configuration: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Only what differs from the defaults stands in the file."""
    assert main(["config", "set", "default-registry", "https://hub.example.com/"]) == 0
    assert main(["config", "set", "plain-http", "a:1, http://b"]) == 0
    written = json.loads(configuration.read_text())
    main(["config", "get", "default-registry"])
    got = capsys.readouterr().out
    assert main(["config", "unset", "default-registry"]) == 0

    assert written == {"default-registry": "hub.example.com", "plain-http": ["a:1", "b"]}
    assert got == "hub.example.com\n"
    assert "default-registry" not in configuration.read_text()


def test_the_environment_stands_above_the_file(
    configuration: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """HYTHE_DEFAULT_REGISTRY for one shell."""
    main(["config", "set", "default-registry", "file.example.com"])
    monkeypatch.setenv("HYTHE_DEFAULT_REGISTRY", "environment.example.com")
    main(["config", "get", "default-registry", "--json"])

    assert json.loads(capsys.readouterr().out) == {"default-registry": "environment.example.com"}


@pytest.mark.parametrize(
    "words",
    [
        ["set", "colour", "red"],
        ["set", "parallel-transfers", "many"],
        ["set", "default-registry", " "],
        ["set", "default-registry", "no host"],
    ],
)
def test_what_makes_no_sense_is_refused(configuration: Path, words: list[str]) -> None:
    """The file is not touched."""
    assert main(["config", *words]) != 0
    assert not configuration.exists()


def test_a_broken_file_is_named(configuration: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And how it is repaired."""
    configuration.write_text('{"colour": "red"}')

    assert main(["images"]) == 1
    assert str(configuration) in capsys.readouterr().err


@pytest.mark.parametrize(
    ("typed", "some"),
    [
        ([""], ["pull", "push", "--help"]),
        (["pu"], ["pull", "push"]),
        (["push", "--al"], ["--all-tags"]),
        (["help", "se"], ["search"]),
        (["config", "s"], ["set"]),
        (["config", "get", "def"], ["default-registry"]),
        (["completion", "b"], ["bash"]),
        (["start", "-a", "--at"], ["--attach"]),
        (["no-such-verb", ""], []),
    ],
)
def test_words_are_completed(configuration: Path, typed: list[str], some: list[str]) -> None:
    """Verbs, flags, actions and choices."""
    found = list(candidates(typed))

    assert set(some) <= set(found)
    assert all(word.startswith(typed[-1]) for word in found)


def test_names_are_completed_but_not_as_the_value_of_a_flag(configuration: Path) -> None:
    """Images for `save`, with store: in front for `copy`; after `save -o` the shell offers files."""
    store = LocalStore()
    store.put(add_image(store, {"a": b"1"}), Reference.parse("tiny:1"))

    assert list(candidates(["save", "ti"])) == ["tiny:1"]
    assert set(candidates(["copy", "store:"])) == {"store:tiny:1"}
    assert list(candidates(["save", "-o", "ti"])) == []


def test_servers_are_completed_from_the_credentials(configuration: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where one is logged in is where one can log out."""
    folder = configuration.parent / "docker"
    folder.mkdir()
    (folder / "config.json").write_text('{"auths": {"https://index.docker.io/v1/": {}, "hub.example.com": {}}}')
    monkeypatch.setenv("DOCKER_CONFIG", str(folder))
    monkeypatch.setenv("HOME", str(configuration.parent))

    assert list(candidates(["logout", "hub"])) == ["hub.example.com"]
    assert "docker.io" in candidates(["login", ""])


def test_every_verb_can_be_completed(configuration: Path) -> None:
    """No verb's parser breaks the completion of its words."""
    for verb in VERBS:
        assert "--help" in candidates([verb.name, "--he"])


@pytest.mark.parametrize("shell", SCRIPTS)
def test_scripts_are_printed(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    """For bash, zsh and fish."""
    assert main(["completion", shell]) == 0
    assert "hythe completion words" in capsys.readouterr().out


def test_zsh_completes_at_the_first_tab(tmp_path: Path) -> None:
    """The file is sourced by the first Tab, in the function that it defines: it must complete at once."""
    (tmp_path / "_hythe").write_text(SCRIPTS["zsh"])
    command = f"""
    hythe() {{ {HYTHE} "$@"; }}
    compadd() {{ print -r -- ${{(P)2}} }}
    fpath=({tmp_path} $fpath); autoload -Uz _hythe
    words=(hythe pu) CURRENT=2; _hythe; _hythe
    """
    done = subprocess.run([program("zsh", "zsh"), "-fc", command], capture_output=True, text=True, check=True)

    assert done.stdout == "pull push\npull push\n"


def test_fish_completes_by_the_script() -> None:
    """A real fish, asked what Tab would give."""
    command = f'function hythe; {HYTHE} $argv; end; hythe completion fish | source; complete -C "hythe pu"'
    done = subprocess.run([program("fish", "fish"), "-Nc", command], capture_output=True, text=True, check=True)

    assert done.stdout.split() == ["pull", "push"]


def test_bash_completes_by_the_script(tmp_path: Path) -> None:
    """A real bash, asked what Tab would give."""
    command = f"""
    hythe() {{ {HYTHE} "$@"; }}
    source <(hythe completion bash)
    COMP_WORDS=(hythe pu); COMP_CWORD=1; _hythe; printf '%s ' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True, cwd=tmp_path)

    assert done.stdout == "pull push "
