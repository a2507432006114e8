"""The verb config, and shell completion."""

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
    """The default path, without environment variables."""
    monkeypatch.setenv("HYTHE_CONFIG", str(tmp_path / "config.json"))
    monkeypatch.setenv("HYTHE_STORE", str(tmp_path / "store"))
    monkeypatch.delenv("HYTHE_DEFAULT_REGISTRY", raising=False)
    return tmp_path / "config.json"


def test_set_get_and_unset(configuration: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The file holds only values that differ from the defaults."""
    assert main(["config", "set", "default-registry", "https://hub.example.com/"]) == 0
    assert main(["config", "set", "plain-http", "a:1, http://b"]) == 0
    written = json.loads(configuration.read_text())
    main(["config", "get", "default-registry"])
    got = capsys.readouterr().out
    assert main(["config", "unset", "default-registry"]) == 0

    assert written == {"default-registry": "hub.example.com", "plain-http": ["a:1", "b"]}
    assert got == "hub.example.com\n"
    assert "default-registry" not in configuration.read_text()


def test_the_environment_overrides_the_file(
    configuration: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """HYTHE_DEFAULT_REGISTRY overrides the file."""
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
def test_an_invalid_value_is_refused(configuration: Path, words: list[str]) -> None:
    """An invalid value leaves the file unchanged."""
    assert main(["config", *words]) != 0
    assert not configuration.exists()


def test_a_broken_file_is_named(configuration: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The error names the invalid file."""
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
def test_verbs_and_flags_are_completed(configuration: Path, typed: list[str], some: list[str]) -> None:
    """Completes verbs, flags, actions and choices."""
    found = list(candidates(typed))

    assert set(some) <= set(found)
    assert all(word.startswith(typed[-1]) for word in found)


def test_image_names_are_completed(configuration: Path) -> None:
    """Completes images for `save`, with the prefix store: for `copy`; after `save -o` the shell offers files."""
    store = LocalStore()
    store.put(add_image(store, {"a": b"1"}), Reference.parse("tiny:1"))

    assert list(candidates(["save", "ti"])) == ["tiny:1"]
    assert set(candidates(["copy", "store:"])) == {"store:tiny:1"}
    assert list(candidates(["save", "-o", "ti"])) == []


def test_servers_are_completed_from_the_credentials(configuration: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`logout` completes the hosts with stored credentials."""
    folder = configuration.parent / "docker"
    folder.mkdir()
    (folder / "config.json").write_text('{"auths": {"https://index.docker.io/v1/": {}, "hub.example.com": {}}}')
    monkeypatch.setenv("DOCKER_CONFIG", str(folder))
    monkeypatch.setenv("HOME", str(configuration.parent))

    assert list(candidates(["logout", "hub"])) == ["hub.example.com"]
    assert "docker.io" in candidates(["login", ""])


def test_every_verb_can_be_completed(configuration: Path) -> None:
    """Completion works for the parser of every verb."""
    for verb in VERBS:
        assert "--help" in candidates([verb.name, "--he"])


@pytest.mark.parametrize("shell", SCRIPTS)
def test_scripts_are_printed(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    """There is a script for bash, zsh and fish."""
    assert main(["completion", shell]) == 0
    assert "hythe completion words" in capsys.readouterr().out


def test_zsh_completes_at_the_first_tab(tmp_path: Path) -> None:
    """The first Tab sources the file within the function that it defines, and must complete at once."""
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
    """A real fish completes a verb."""
    command = f'function hythe; {HYTHE} $argv; end; hythe completion fish | source; complete -C "hythe pu"'
    done = subprocess.run([program("fish", "fish"), "-Nc", command], capture_output=True, text=True, check=True)

    assert done.stdout.split() == ["pull", "push"]


def test_bash_completes_by_the_script(tmp_path: Path) -> None:
    """A real bash completes a verb."""
    command = f"""
    hythe() {{ {HYTHE} "$@"; }}
    source <(hythe completion bash)
    COMP_WORDS=(hythe pu); COMP_CWORD=1; _hythe; printf '%s ' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True, cwd=tmp_path)

    assert done.stdout == "pull push "
