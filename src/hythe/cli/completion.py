"""``completion``: shell completion scripts. They call ``hythe completion words`` at each Tab."""

from argparse import REMAINDER, ArgumentParser, Namespace, _SubParsersAction
from collections.abc import Iterator

from hythe.cli.command import Command, CommandFailed
from hythe.cli.main import VERBS, find_verb, load, make_parser

SCRIPTS = {
    "bash": """\
_hythe() {
    local IFS=$'\\n'
    COMPREPLY=($(hythe completion words -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
}
COMP_WORDBREAKS=${COMP_WORDBREAKS//:}
complete -o default -F _hythe hythe
""",
    "zsh": """\
#compdef hythe
_hythe() {
    local -a found
    found=("${(@f)$(hythe completion words -- "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    if [[ -n "$found" ]]; then compadd -a found; else _files; fi
}
if [[ "${funcstack[1]}" == _hythe ]]; then _hythe "$@"; else compdef _hythe hythe; fi
""",
    "fish": """\
function __hythe_words
    set -l words (commandline -opc) (commandline -ct)
    hythe completion words -- $words[2..-1] 2>/dev/null
end
complete -c hythe -a '(__hythe_words)'
""",
}
_IMAGES = ("IMAGE", "SOURCE", "NAME[:TAG]", "NAME[:TAG|@DIGEST]", "NAME", "REPOSITORY[:TAG]")
_CONTAINERS = ("CONTAINER",)
_SERVERS = ("SERVER",)
_LOCATIONS = ("SRC", "DST")


def _configure(parser: ArgumentParser) -> None:
    parser.add_argument(
        "shell", choices=(*SCRIPTS, "words"), help="shell to print the script for; the scripts themselves use 'words'"
    )
    parser.add_argument("words", nargs=REMAINDER, metavar="WORD", help="for 'words': command line up to the cursor")


def _run(arguments: Namespace) -> int:
    if arguments.shell != "words":
        print(SCRIPTS[arguments.shell], end="")
        return 0
    typed = arguments.words[1:] if arguments.words[:1] == ["--"] else arguments.words
    for word in sorted(set(candidates(typed or [""]))):
        print(word)
    return 0


def candidates(typed: list[str]) -> Iterator[str]:
    """Yield the completions of the last word of ``typed``."""
    *before, current = typed
    found = _verb_names() if not before else _words_of_verb(before, current)
    return (word for word in found if word.startswith(current))


def _verb_names() -> Iterator[str]:
    yield from (verb.name for verb in VERBS)
    yield from ("--help", "--version")


def _words_of_verb(before: list[str], current: str) -> Iterator[str]:
    """Yield flags if the current word begins with a dash, else values of the verb's arguments."""
    try:
        verb = find_verb(before[0])
    except CommandFailed:
        return
    if verb.name == "help":
        yield from _verb_names()
        return
    parser = make_parser(verb, load(verb))
    awaiting = next((action for action in parser._actions if before[-1] in action.option_strings), None)
    if awaiting is not None and awaiting.nargs is None:
        yield from map(str, awaiting.choices or ())  # without choices, the shell offers files
        return
    for action in parser._actions:
        if isinstance(action, _SubParsersAction):
            chosen = next((word for word in before[1:] if word in action.choices), None)
            yield from action.choices if chosen is None else _flags(action.choices[chosen], current)
            if chosen is not None:
                yield from _arguments(action.choices[chosen])
    yield from _flags(parser, current)
    yield from _arguments(parser)


def _flags(parser: ArgumentParser, current: str) -> Iterator[str]:
    if current.startswith("-"):
        yield from (flag for action in parser._actions for flag in action.option_strings)


def _arguments(parser: ArgumentParser) -> Iterator[str]:
    for action in parser._actions:
        if action.option_strings or isinstance(action, _SubParsersAction):
            continue
        if action.choices:
            yield from map(str, action.choices)
        elif action.metavar in _IMAGES:
            yield from _image_names()
        elif action.metavar in _LOCATIONS:
            yield from (f"store:{name}" for name in _image_names())
        elif action.metavar in _CONTAINERS:
            yield from _container_names()
        elif action.metavar in _SERVERS:
            yield from _known_servers()


def _image_names() -> Iterator[str]:
    from hythe.client.client import Client

    for entry in Client().store.entries():
        yield from (name.familiar() for name in entry.references)


def _container_names() -> Iterator[str]:
    from hythe.containers.store import ContainerStore

    yield from (container.name for container in ContainerStore().all())


def _known_servers() -> Iterator[str]:
    from hythe.client.credential_files import CredentialFiles
    from hythe.client.credentials import key_target

    yield from map(key_target, CredentialFiles().hosts())


command = Command(
    _configure,
    _run,
    """
source <(hythe completion bash)
hythe completion zsh > ~/.zfunc/_hythe
hythe completion fish > ~/.config/fish/completions/hythe.fish
""",
)
