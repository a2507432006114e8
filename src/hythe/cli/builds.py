"""``hythe builds``: set up, start, follow and cancel Trusted Builds of a repository."""

import sys
import time
from argparse import ArgumentParser, Namespace, _SubParsersAction
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import quote

from hythe.cli.command import Command, CommandFailed
from hythe.cli.connection import add_connection_flags, connected
from hythe.cli.output import add_json_flag, print_json, print_table
from hythe.cli.prompts import ask_password, require_interactive
from hythe.client.client import Client
from hythe.oci.reference import Reference
from hythe.oci.scope import DELETE, PULL, PUSH, Scope

EXAMPLES = """\
hythe builds set-up hub.example.org/alice/app --source https://git.example.org/alice/app.git
hythe builds set-up hub.example.org/alice/app --link octocat --source octocat/app
hythe builds set-up hub.example.org/alice/app --from configuration.json
hythe builds start hub.example.org/alice/app --branch main --follow
hythe builds list hub.example.org/alice/app
hythe builds log hub.example.org/alice/app 7 --follow
hythe builds cancel hub.example.org/alice/app 7
hythe builds secret hub.example.org/alice/app npm-token < token.txt
hythe builds deactivate hub.example.org/alice/app
hythe builds delete hub.example.org/alice/app
hythe builds links hub.example.org"""

Verbs: TypeAlias = "_SubParsersAction[ArgumentParser]"
Work: TypeAlias = "Callable[[_Builds, Namespace], int]"

OVER = ("succeeded", "failed", "cancelled", "superseded")


def _configure(parser: ArgumentParser) -> None:
    verbs = parser.add_subparsers(title="verbs", dest="verb", required=True, metavar="VERB")
    _configure_set_up(_verb(verbs, "set-up", "set up Trusted Builds", _set_up))
    start = _verb(verbs, "start", "build by hand", _start)
    start.add_argument("--branch", default="", help="the branch to build; default: all that rules name")
    start.add_argument("--source-tag", default="", metavar="TAG", help="the tag of the source to build")
    start.add_argument("--follow", action="store_true", help="print the log until the build is over")
    _verb(verbs, "show", "print the set-up", _show)
    listing = _verb(verbs, "list", "list builds, newest first", _list)
    listing.add_argument("--status", default="", help=f"only queued, running, {', '.join(OVER)} ones")
    listing.add_argument("--branch", default="", help="only those of this branch or tag")
    listing.add_argument("--limit", type=int, default=25, metavar="N", help="at most so many (default: 25)")
    _verb(verbs, "trigger", "print the trigger URL and its last calls", _trigger)
    webhook = _verb(verbs, "webhook", "install the webhook at the forge, or print what to paste there", _webhook)
    _add_token_flag(webhook)
    webhook.add_argument("--hub-url", default="", metavar="URL", help="how the forge reaches the hub")
    log = _verb(verbs, "log", "print a build's log", _log, number=True)
    log.add_argument("--follow", action="store_true", help="wait for more")
    _verb(verbs, "cancel", "cancel a build", _cancel, number=True)
    _verb(verbs, "retry", "build the same commit again", _retry, number=True)
    secret = _verb(verbs, "secret", "keep a build secret, read from standard input", _secret)
    secret.add_argument("secret", metavar="SECRET", help="the secret's name")
    _verb(verbs, "deactivate", "switch the set-up off: everything is kept, and nothing starts builds", _deactivate)
    _verb(verbs, "activate", "switch the set-up on again", _activate)
    _verb(verbs, "delete", "remove the set-up; the repository can be pushed to by hand again", _delete)
    _add_token_flag(_verb(verbs, "links", "list your linked accounts", _links, place="HOST"))


def _verb(
    verbs: Verbs, name: str, about: str, work: Work, *, number: bool = False, place: str = "HOST/NAMESPACE/NAME"
) -> ArgumentParser:
    """Add a verb on what ``place`` names, or on one of its builds by ``number``."""
    verb = verbs.add_parser(name, help=about)
    verb.add_argument("name", metavar=place, help="the hub" if place == "HOST" else "the repository")
    if number:
        verb.add_argument("number", type=int, help="the build's number")
    add_json_flag(verb)
    add_connection_flags(verb)
    verb.set_defaults(work=work)
    return verb


def _configure_set_up(verb: ArgumentParser) -> None:
    verb.add_argument("--source", default="", metavar="URL", help="the address that git clones")
    verb.add_argument(
        "--link", default="", metavar="ACCOUNT", help="a linked account, whose repository --source OWNER/NAME names"
    )
    _add_token_flag(verb)
    verb.add_argument("--branch", default="", help="the branch to build (default: the source's default branch)")
    verb.add_argument("--tags", default="latest", help="Docker tags, parted by commas (default: latest)")
    verb.add_argument("--dockerfile", default="Dockerfile", help="the Dockerfile's path in the source")
    verb.add_argument("--private", action="store_true", help="make the repository private, if it is new")
    verb.add_argument(
        "--from", dest="file", type=Path, metavar="FILE", help="the whole set-up as JSON (docs/builds.md)"
    )


def _add_token_flag(verb: ArgumentParser) -> None:
    """Linked accounts are not reached by what ``hythe login`` keeps: that is for repositories alone."""
    verb.add_argument(
        "--token-stdin", action="store_true", help="read a personal token that may manage your account from stdin"
    )


def _run(arguments: Namespace) -> int:
    with connected(arguments) as client:
        # A host alone is the hub, and no image of its name.
        host_alone = arguments.work is _links
        reference = client.reference(f"{arguments.name}/any/repository" if host_alone else arguments.name)
        code: int = arguments.work(_Builds(client, reference), arguments)
        return code


class _Builds:
    """The JSON API of one repository's builds, as the user whose credentials we have."""

    def __init__(self, client: Client, reference: Reference) -> None:
        self._session = client.session(reference.host, reference.repository)
        # A token for the repository: after 'hythe login' the password is not kept.
        self._scopes = (Scope.repository(reference.repository, PULL, PUSH, DELETE),)
        self._prepared = False
        self._account_token = ""
        self.path = f"/api/v1/repositories/{reference.repository}"
        self.host = reference.host

    @property
    def url(self) -> str:
        """The hub's address as we reach it."""
        return self._session.base.rstrip("/")

    def sign_in(self, arguments: Namespace) -> None:
        """Get a token that may manage the user's account, for what linked accounts are needed for."""
        if arguments.token_stdin:
            self._account_token = sys.stdin.readline().strip()
        else:
            require_interactive("ask for a token", "use --token-stdin")
            self._account_token = ask_password("Personal token that may manage your account")

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Return the answer's value. Raises CommandFailed with the hub's own words."""
        return self.ask_hub(method, f"{self.path}{path}", body)

    def raw(self, method: str, path: str, body: Any = None) -> bytes:
        """Return the answer's bytes. Raises CommandFailed."""
        return self._send(method, f"{self.path}{path}", body)

    def ask_hub(self, method: str, path: str, body: Any = None) -> Any:
        """Return the answer's value of any address of the hub. Raises CommandFailed."""
        content = self._send(method, path, body)
        import msgspec

        return msgspec.json.decode(content) if content else None

    def _send(self, method: str, path: str, body: Any = None) -> bytes:
        import msgspec

        from hythe.client.connection import BytesBody

        headers = {"Content-Type": "application/json"}
        if self._account_token:
            headers["Authorization"] = f"Bearer {self._account_token}"
        elif not self._prepared:
            self._session.request_token(self._scopes)
            self._prepared = True
        sent = BytesBody(b"" if body is None else msgspec.json.encode(body)) if method != "GET" else None
        with self._session.send(method, path, self._scopes, headers, sent) as response:
            answer = response.read()
        if answer.status >= 400:
            raise _refusal(answer.status, answer.body, self.host)
        return answer.body

    def follow(self, number: int) -> str:
        """Print a build's log until it is over; returns how it ended."""
        start = 0
        while True:
            build = self.call("GET", f"/builds/{number}")
            piece = self.raw("GET", f"/builds/{number}/log?start={start}")
            sys.stdout.buffer.write(piece)
            sys.stdout.flush()
            start += len(piece)
            if build["status"] in OVER and not piece:
                return str(build["status"])
            time.sleep(0.5)


def _set_up(builds: _Builds, arguments: Namespace) -> int:
    if arguments.file:
        import msgspec

        body = msgspec.json.decode(arguments.file.read_bytes())
    elif arguments.source:
        rule = {"source": arguments.branch, "tags": arguments.tags, "dockerfile": arguments.dockerfile}
        source = _linked_source(builds, arguments) if arguments.link else {"url": arguments.source}
        body = {"source": source, "rules": [rule]}
    else:
        raise CommandFailed("nothing says where the source is", "give --source URL, or --from FILE", 2)
    if arguments.private:
        body["visibility"] = "private"
    # Settings of Docker Hub's automated builds are told by their list of rules.
    path = "/build-configuration/docker-hub" if "build_settings" in body else "/build-configuration"
    made = builds.call("POST", path, body)
    if arguments.link:
        hook = builds.call("POST", "/build-configuration/forge-webhook", {"hub_url": builds.url})
        if not arguments.json:
            _print_hook(hook)
    return _said(arguments, made, f"{arguments.name} is built from {made['source']['url']}")


def _linked_source(builds: _Builds, arguments: Namespace) -> dict[str, Any]:
    """Return the source that ``--link`` and ``--source OWNER/NAME`` mean. Raises CommandFailed."""
    builds.sign_in(arguments)
    links = builds.ask_hub("GET", "/api/v1/linked-accounts")["items"]
    fitting = [link for link in links if arguments.link in (link["login"], str(link["id"]))]
    if len(fitting) != 1:
        wrong = f"{len(fitting)} linked accounts are called" if fitting else "no linked account is called"
        raise CommandFailed(
            f"{wrong} {arguments.link}", f"'hythe builds links {builds.host}' lists them; a number is one"
        )
    [link] = fitting
    query = quote(arguments.source.rpartition("/")[2])
    found = builds.ask_hub("GET", f"/api/v1/linked-accounts/{link['id']}/repositories?q={query}")["items"]
    one = next((each for each in found if each["name"].lower() == arguments.source.lower()), None)
    if one is None:
        raise CommandFailed(f"{link['login']} reaches no repository {arguments.source}", "write OWNER/NAME", 3)
    return {
        "url": one["clone_url"],
        "forge": link["kind"],
        "forge_repository": one["name"],
        "linked_account_id": link["id"],
        "default_branch": one["default_branch"],
    }


def _links(builds: _Builds, arguments: Namespace) -> int:
    builds.sign_in(arguments)
    items = builds.ask_hub("GET", "/api/v1/linked-accounts")["items"]
    if arguments.json:
        print_json(items)
        return 0
    rows = [[str(link["id"]), link["url"], link["login"], link["problem"]] for link in items]
    print_table(("ID", "FORGE", "ACCOUNT", "TROUBLE"), rows)
    return 0


def _show(builds: _Builds, _arguments: Namespace) -> int:
    print_json(builds.call("GET", "/build-configuration"))
    return 0


def _delete(builds: _Builds, arguments: Namespace) -> int:
    builds.call("DELETE", "/build-configuration")
    return _said(arguments, {}, f"{arguments.name} has no Trusted Builds any more")


def _deactivate(builds: _Builds, arguments: Namespace) -> int:
    return _said(arguments, _switched(builds, active=False), f"{arguments.name} is built by nothing any more")


def _activate(builds: _Builds, arguments: Namespace) -> int:
    return _said(arguments, _switched(builds, active=True), f"{arguments.name} is built again")


def _switched(builds: _Builds, *, active: bool) -> Any:
    return builds.call("PATCH", "/build-configuration", {"active": active})


def _secret(builds: _Builds, arguments: Namespace) -> int:
    builds.call("PUT", f"/build-configuration/secrets/{arguments.secret}", {"value": sys.stdin.read().rstrip("\n")})
    return _said(arguments, {}, f"kept the secret {arguments.secret}")


def _start(builds: _Builds, arguments: Namespace) -> int:
    kind, name = ("tag", arguments.source_tag) if arguments.source_tag else ("branch", arguments.branch)
    started = builds.call("POST", "/builds", {"source_type": kind, "source_name": name})["items"]
    numbers = [build["number"] for build in started]
    if not arguments.follow:
        return _said(arguments, started, "\n".join(map(str, numbers)))
    ends = [builds.follow(number) for number in numbers]
    return 0 if set(ends) == {"succeeded"} else 1


def _list(builds: _Builds, arguments: Namespace) -> int:
    query = f"limit={arguments.limit}&status={quote(arguments.status)}&source_name={quote(arguments.branch)}"
    items = builds.call("GET", f"/builds?{query}")["items"]
    if arguments.json:
        print_json(items)
        return 0
    headings = ("BUILD", "STATUS", "SOURCE", "COMMIT", "CAUSE", "TAGS", "REASON")
    print_table(headings, [_row(build) for build in items])
    return 0


def _row(build: dict[str, Any]) -> list[str]:
    ref = build["ref"]
    tags = ", ".join(build["tags"])
    return [
        str(build["number"]),
        build["status"],
        ref["name"],
        ref["commit"][:12],
        build["cause"],
        tags,
        build["reason"],
    ]


def _trigger(builds: _Builds, arguments: Namespace) -> int:
    found = builds.call("GET", "/build-configuration/trigger")
    if arguments.json:
        print_json(found)
        return 0
    print(f"{builds.host}{found['path']}")
    for call in found["calls"]:
        print(f"{call['at']}  {call['address']}  {call['outcome']}", file=sys.stderr)
    return 0


def _webhook(builds: _Builds, arguments: Namespace) -> int:
    if arguments.token_stdin:
        builds.sign_in(arguments)
    hook = builds.call("POST", "/build-configuration/forge-webhook", {"hub_url": arguments.hub_url or builds.url})
    if arguments.json:
        print_json(hook)
    else:
        _print_hook(hook)
    return 0


def _print_hook(hook: dict[str, Any]) -> None:
    if hook["installed"]:
        print(f"The webhook of {hook['forge_repository']} is installed.")
    else:
        print(f"Add a webhook for pushes at the forge:\n  address: {hook['url']}\n  secret:  {hook['secret']}")
    if hook["public_key"] and not hook["key_installed"]:
        print(f"Add this deploy key, which needs to read only:\n  {hook['public_key']}")


def _log(builds: _Builds, arguments: Namespace) -> int:
    if arguments.follow:
        return 0 if builds.follow(arguments.number) == "succeeded" else 1
    sys.stdout.buffer.write(builds.raw("GET", f"/builds/{arguments.number}/log"))
    return 0


def _cancel(builds: _Builds, arguments: Namespace) -> int:
    build = builds.call("POST", f"/builds/{arguments.number}/cancel")
    return _said(arguments, build, f"build {arguments.number} is asked to stop")


def _retry(builds: _Builds, arguments: Namespace) -> int:
    build = builds.call("POST", f"/builds/{arguments.number}/retry")
    return _said(arguments, build, str(build["number"]))


def _said(arguments: Namespace, value: Any, words: str) -> int:
    if arguments.json:
        print_json(value)
    else:
        print(words)
    return 0


def _refusal(status: int, body: bytes, host: str) -> CommandFailed:
    import msgspec

    try:
        problem = msgspec.json.decode(body, type=dict[str, Any])
    except msgspec.MsgspecError:
        problem = {}
    hint = str(problem.get("hint") or (f"log in with 'hythe login {host}'" if status in (401, 403, 404) else ""))
    return CommandFailed(
        str(problem.get("detail") or f"the hub answered {status}"), hint, {404: 3, 401: 4, 403: 4}.get(status, 1)
    )


command = Command(_configure, _run, EXAMPLES)
"""``hythe builds``."""
