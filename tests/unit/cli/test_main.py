"""The command as a whole: table of verbs, help, errors."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module

import pytest

from hythe.cli.command import Command, CommandFailed, Verb
from hythe.cli.failure import EXIT_STATUSES, report
from hythe.cli.main import GROUPS, VERBS, find_verb, load, main, make_parser, normalize_switches
from hythe.cli.setting_flags import PLACEHOLDERS
from hythe.settings import Settings


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.name)
def test_every_verb_has_help_with_examples(verb: Verb) -> None:
    """Each row of the table loads a command whose help has flags and examples of that verb."""
    command = load(verb)
    text = make_parser(verb, command).format_help()

    assert isinstance(command, Command)
    assert verb.group in GROUPS
    assert f"hythe {verb.name}" in command.examples
    assert "examples:" in text


def test_verbs_are_named_once() -> None:
    """Verb names are unique."""
    names = [verb.name for verb in VERBS]

    assert sorted(set(names)) == sorted(names)


def test_help_lists_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    """``hythe --help``, ``hythe help`` and ``hythe`` print the same."""
    texts = []
    for words in (["--help"], ["help"], []):
        assert main(words) == 0
        texts.append(capsys.readouterr().out)

    assert texts[0] == texts[1] == texts[2]
    assert all(f"  {verb.name} " in texts[0] for verb in VERBS)


def test_a_mistyped_verb_suggests_the_closest(capsys: pytest.CaptureFixture[str]) -> None:
    """An unknown verb exits with 2 and a hint on stderr; stdout stays empty."""
    code = main(["halp"])
    captured = capsys.readouterr()

    assert code == 2
    assert captured.out == ""
    assert "error: unknown verb 'halp'" in captured.err
    assert "hint: did you mean 'hythe help'?" in captured.err


def test_an_unknown_flag_is_a_usage_error_with_a_hint(capsys: pytest.CaptureFixture[str]) -> None:
    """An unknown flag exits with 2 and a hint that names the verb's help."""
    code = main(["help", "--no-such-flag"])
    captured = capsys.readouterr()

    assert code == 2
    assert "hint: 'hythe help help' shows flags" in captured.err


def test_an_unexpected_error_shows_no_stack_trace(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bug in hythe prints one line and a hint; HYTHE_DEBUG adds the stack trace."""
    monkeypatch.delenv("HYTHE_DEBUG", raising=False)
    code = report(ZeroDivisionError("division by zero"))
    captured = capsys.readouterr().err

    assert code == 1
    assert "Traceback" not in captured
    assert "hint:" in captured


def test_missing_server_dependencies_say_what_to_install(capsys: pytest.CaptureFixture[str]) -> None:
    """A missing dependency of the server is not reported as a bug; a missing module of hythe is."""
    for name, hint in (("uvloop", "pip install 'hythe[server]'"), ("hythe.cli.gone", "HYTHE_DEBUG=1")):
        assert report(ModuleNotFoundError(f"No module named {name!r}", name=name)) == 1
        assert hint in capsys.readouterr().err


def test_a_system_error_names_the_file_first(capsys: pytest.CaptureFixture[str]) -> None:
    """A system error prints the file and the reason, without Python's error number."""
    report(FileNotFoundError(2, "No such file or directory", "app.tar"))

    assert capsys.readouterr().err.startswith("error: app.tar: No such file or directory\n")


def test_interruption_has_its_own_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    """Ctrl-C exits with 130, as shells expect."""
    assert report(KeyboardInterrupt()) == 130


def test_every_exit_status_names_an_exception() -> None:
    """The class names in the table of exit codes exist, in the module that defines them."""
    for name in EXIT_STATUSES:
        module, _, class_name = name.rpartition(".")
        exception = getattr(import_module(module), class_name)
        assert issubclass(exception, BaseException), name
        assert exception.__module__ == module, name


def test_exit_codes_are_documented() -> None:
    """docs/exit-codes.md documents every exit code of the table."""
    from tests.parts.process import ROOT

    text = (ROOT / "docs" / "exit-codes.md").read_text()

    assert all(f"| {outcome.code} |" in text for outcome in EXIT_STATUSES.values())


def test_find_verb_raises_for_an_unknown_verb() -> None:
    """find_verb raises, it never returns None."""
    with pytest.raises(CommandFailed):
        find_verb("nothing-like-it")


@pytest.mark.parametrize(
    ("words", "switches", "rest"),
    [
        ("-d=true --rm=true box", {"detach": True, "rm": True}, []),
        ("--tty=false -i=1 --rm=F box", {"tty": False, "interactive": True, "rm": False}, []),
        ("--name web -e A=true -tdw /srv --rm=true box", {"rm": True, "tty": True, "detach": True}, []),
        ("--rm box prog --rm=true -t=false", {"rm": True}, ["prog", "--rm=true", "-t=false"]),
        ("--rm box -- prog -- -t", {"rm": True}, ["--", "prog", "--", "-t"]),
        ("--rm -- box -- prog", {"rm": True}, ["--", "prog"]),
    ],
)
def test_switches_accept_dockers_values(words: str, switches: dict[str, bool], rest: list[str]) -> None:
    """``--rm=true`` and ``=false`` set switches before the image; after it they belong to the program."""
    verb = find_verb("run")
    parser = make_parser(verb, load(verb))
    arguments = parser.parse_args(normalize_switches(parser, words.split()))

    assert {name: getattr(arguments, name) for name in switches} == switches
    assert (arguments.image, arguments.words) == ("box", rest)


def test_a_default_switch_can_be_cleared() -> None:
    """``docker commit --pause=false``, the spelling before ``--no-pause``."""
    verb = find_verb("commit")
    parser = make_parser(verb, load(verb))

    assert parser.parse_args(normalize_switches(parser, ["--pause=false", "web"])).pause is False


def test_placeholders_of_setting_flags_name_settings() -> None:
    """Each placeholder belongs to an existing setting."""
    assert set(PLACEHOLDERS) <= set(Settings.__struct_fields__)


def test_help_imports_no_verb_and_no_server() -> None:
    """``hythe --help`` starts fast because it imports only the table of verbs."""
    program = "import sys; from hythe.cli.main import main; main(['--help']); print(*sys.modules, file=sys.stderr)"

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    loaded = {name for name in done.stderr.split() if name.startswith("hythe")}
    assert loaded == {"hythe", "hythe.cli", "hythe.cli.command", "hythe.cli.main"}
    assert "msgspec" not in done.stderr.split()
