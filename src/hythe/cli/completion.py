"""``completion``: shell completion scripts. They call ``hythe completion words`` at each Tab."""

from argparse import ONE_OR_MORE, REMAINDER, ZERO_OR_MORE, Action, ArgumentParser, Namespace, _SubParsersAction
from collections.abc import Iterator, Sequence

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
_IMAGES = ("IMAGE", "SOURCE", "NAME[:TAG]", "NAME[:TAG|@DIGEST]", "TARGET", "REPOSITORY[:TAG]")
_LOCATIONS = ("SRC", "DST")
_RUNNING = ("stop",)
_NOT_RUNNING = ("start", "rm")
"""Verbs that act on containers in some states only; ``rm -f`` acts on all."""
_REPEATED = (ONE_OR_MORE, ZERO_OR_MORE, REMAINDER)


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
    """Yield flags if the current word begins with a dash, else values of the argument at its place."""
    try:
        verb = find_verb(before[0])
    except CommandFailed:
        return
    if verb.name == "help":
        yield from _verb_names()
        return
    parser, typed = make_parser(verb, load(verb)), before[1:]
    while groups := [action for action in parser._actions if isinstance(action, _SubParsersAction)]:
        chosen = next((word for word in typed if word in groups[0].choices), None)
        if chosen is None:
            yield from groups[0].choices
            break
        parser, typed = groups[0].choices[chosen], typed[typed.index(chosen) + 1 :]
    awaiting = next((action for action in parser._actions if before[-1] in action.option_strings), None)
    if awaiting is not None and awaiting.nargs is None:
        yield from map(str, awaiting.choices or ())  # without choices, the shell offers files
        return
    if current.startswith("-"):
        yield from (flag for action in parser._actions for flag in action.option_strings)
    values = _positional_words(parser, typed)
    action = _action_at(parser, len(values))
    if action is not None:
        given = set(values) if action.nargs in _REPEATED else set()
        yield from (word for word in _values(verb.name, action, typed) if word not in given)


def _positional_words(parser: ArgumentParser, typed: Sequence[str]) -> list[str]:
    """Return the words that are neither flags nor their values."""
    actions = {name: action for action in parser._actions for name in action.option_strings}
    values: list[str] = []
    is_value = False
    for number, word in enumerate(typed):
        if word == "--":
            return values + list(typed[number + 1 :])
        if is_value:
            is_value = False
        elif word.startswith("-") and word != "-":
            action = actions.get(word)
            is_value = action is not None and action.nargs is None
        else:
            values.append(word)
    return values


def _action_at(parser: ArgumentParser, place: int) -> Action | None:
    """Return the argument that the word at this place, counted without flags, belongs to."""
    positional = [a for a in parser._actions if not a.option_strings and not isinstance(a, _SubParsersAction)]
    for number, action in enumerate(positional):
        if number == place or action.nargs in _REPEATED:
            return action
    return None


def _values(verb: str, action: Action, typed: Sequence[str]) -> Iterator[str]:
    """Yield the values of an argument that the verb can act on."""
    if action.choices:
        yield from map(str, action.choices)
    elif action.metavar in _LOCATIONS:
        yield from (f"store:{name}" for name in _image_names())
    elif action.metavar == "CONTAINER":
        yield from _container_names(verb, typed)
    elif action.metavar == "SERVER":
        yield from _known_servers()
    elif verb == "tags":
        yield from _repository_names()
    elif verb == "rmi":
        yield from _image_names(removable=True)
    elif action.metavar in _IMAGES:
        yield from _image_names()
    elif verb == "inspect":
        yield from _image_names()
        yield from _container_names(verb, typed)


def _image_names(*, removable: bool = False) -> Iterator[str]:
    """Yield the names of local images; ``removable`` leaves out the only name of an image that a container uses."""
    from hythe.client.client import Client

    store = Client().store
    used = {str(digest) for digest in store.pins().values()} if removable else set()
    for entry in store.entries():
        if len(entry.names) > 1 or entry.descriptor.digest not in used:
            yield from (name.familiar() for name in entry.references)


def _repository_names() -> Iterator[str]:
    from hythe.client.client import Client

    yield from (name.familiar_name for entry in Client().store.entries() for name in entry.references)


def _container_names(verb: str, typed: Sequence[str]) -> Iterator[str]:
    from hythe.containers.container import ContainerState
    from hythe.containers.store import ContainerStore

    store = ContainerStore()
    is_forced = verb == "rm" and bool({"-f", "--force"} & set(typed))
    for container in store.all():
        is_running = store.status(container).state is ContainerState.RUNNING
        if (verb in _RUNNING and not is_running) or (verb in _NOT_RUNNING and is_running and not is_forced):
            continue
        yield container.name


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
