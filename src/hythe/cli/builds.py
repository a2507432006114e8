"""``builds``: configure, start, follow and cancel the Trusted Builds of a repository."""

import sys
import time
from argparse import ArgumentParser, Namespace, _SubParsersAction
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import quote

from hythe.cli.command import Command, CommandFailed
from hythe.cli.connection import add_connection_flags, connected
from hythe.cli.escaping import unfiltered
from hythe.cli.output import add_json_flag, print_json, print_table
from hythe.cli.prompts import ask_password, require_interactive
from hythe.client.client import Client
from hythe.control_characters import escape_log
from hythe.oci.reference import Reference
from hythe.oci.scope import DELETE, PULL, PUSH, Scope

EXAMPLES = """\
hythe builds configure hub.example.org/alice/app --source https://git.example.org/alice/app.git
hythe builds configure hub.example.org/alice/app --account octocat --source octocat/app
hythe builds configure hub.example.org/alice/app --from configuration.json
hythe builds start hub.example.org/alice/app --branch main --follow
hythe builds list hub.example.org/alice/app
hythe builds log hub.example.org/alice/app 7 --follow
hythe builds cancel hub.example.org/alice/app 7
hythe builds secret hub.example.org/alice/app npm-token < token.txt
hythe builds deactivate hub.example.org/alice/app
hythe builds delete hub.example.org/alice/app
hythe builds accounts hub.example.org"""

Verbs: TypeAlias = "_SubParsersAction[ArgumentParser]"
Run: TypeAlias = "Callable[[_Builds, Namespace], int]"

FINAL_STATUSES = ("succeeded", "failed", "cancelled", "superseded")


def _configure(parser: ArgumentParser) -> None:
    verbs = parser.add_subparsers(title="verbs", dest="verb", required=True, metavar="VERB")
    _add_configure_flags(_verb(verbs, "configure", "configure Trusted Builds", _configure_builds))
    start = _verb(verbs, "start", "start a build", _start)
    start.add_argument("--branch", default="", help="branch to build (default: every branch that the rules name)")
    start.add_argument("--source-tag", default="", metavar="TAG", help="source tag to build")
    start.add_argument("--follow", action="store_true", help="print the log until the build ends")
    _verb(verbs, "show", "print the build configuration", _show)
    listing = _verb(verbs, "list", "list builds, newest first", _list)
    listing.add_argument("--status", default="", help=f"filter by status: queued, running, {', '.join(FINAL_STATUSES)}")
    listing.add_argument("--branch", default="", help="filter by branch or source tag")
    listing.add_argument("--limit", type=int, default=25, metavar="N", help="maximum number of builds (default: 25)")
    _verb(verbs, "trigger", "print the trigger URL and its recent calls", _trigger)
    webhook = _verb(verbs, "webhook", "install the webhook at the forge, or print its URL and secret", _webhook)
    _add_token_flag(webhook)
    webhook.add_argument("--hub-url", default="", metavar="URL", help="address at which the forge reaches the hub")
    log = _verb(verbs, "log", "print a build's log", _log, number=True)
    log.add_argument("--follow", action="store_true", help="print the log until the build ends")
    _verb(verbs, "cancel", "cancel a build", _cancel, number=True)
    _verb(verbs, "retry", "build the same commit again", _retry, number=True)
    secret = _verb(verbs, "secret", "set a build secret, read from stdin", _secret)
    secret.add_argument("secret", metavar="SECRET", help="name of the secret")
    _verb(verbs, "deactivate", "stop starting builds, and keep the build configuration", _deactivate)
    _verb(verbs, "activate", "start builds again", _activate)
    _verb(verbs, "delete", "delete the build configuration; users can then push to the repository", _delete)
    _add_token_flag(_verb(verbs, "accounts", "list your linked accounts", _accounts, place="HOST"))


def _verb(
    verbs: Verbs, name: str, summary: str, run: Run, *, number: bool = False, place: str = "HOST/NAMESPACE/NAME"
) -> ArgumentParser:
    """Add a verb that takes a hub or a repository and, with ``number``, the number of a build."""
    verb = verbs.add_parser(name, help=summary)
    verb.add_argument("name", metavar=place, help="address of the hub" if place == "HOST" else "name of the repository")
    if number:
        verb.add_argument("number", type=int, metavar="NUMBER", help="number of the build")
    add_json_flag(verb)
    add_connection_flags(verb)
    verb.set_defaults(run=run)
    return verb


def _add_configure_flags(verb: ArgumentParser) -> None:
    verb.add_argument("--source", default="", metavar="URL", help="clone URL of the source repository")
    verb.add_argument(
        "--account", default="", metavar="ACCOUNT", help="linked account to use; --source is then OWNER/NAME"
    )
    _add_token_flag(verb)
    verb.add_argument("--branch", default="", help="branch to build (default: the default branch of the source)")
    verb.add_argument("--tags", default="latest", help="image tags, separated by commas (default: latest)")
    verb.add_argument(
        "--dockerfile", default="Dockerfile", help="path of the Dockerfile in the source (default: Dockerfile)"
    )
    verb.add_argument("--private", action="store_true", help="create the repository as private")
    verb.add_argument(
        "--from",
        dest="file",
        type=Path,
        metavar="FILE",
        help="read the build configuration from a JSON file (see docs/builds.md)",
    )


def _add_token_flag(verb: ArgumentParser) -> None:
    """Add ``--token-stdin``: the tokens of ``hythe login`` give access to repositories only, not to linked accounts."""
    verb.add_argument(
        "--token-stdin", action="store_true", help="read a personal access token with account access from stdin"
    )


def _run(arguments: Namespace) -> int:
    with connected(arguments) as client:
        # Reference would read a host without a path as an image name.
        host_alone = arguments.run is _accounts
        reference = client.reference(f"{arguments.name}/any/repository" if host_alone else arguments.name)
        code: int = arguments.run(_Builds(client, reference), arguments)
        return code


class _Builds:
    """A client of the hub's JSON API for the builds of one repository, with the user's credentials."""

    def __init__(self, client: Client, reference: Reference) -> None:
        self._session = client.session(reference.host, reference.repository)
        # 'hythe login' stores no password, so request a token for the repository.
        self._scopes = (Scope.repository(reference.repository, PULL, PUSH, DELETE),)
        self._prepared = False
        self._account_token = ""
        namespace, _, name = reference.repository.partition("/")
        # An encoded slash is always part of the name: ann/app%2Fbuilds is no list of builds.
        self.path = f"/api/v1/repositories/{namespace}/{quote(name, safe='')}"
        self.host = reference.host

    @property
    def url(self) -> str:
        """The hub's address."""
        return self._session.base.rstrip("/")

    def sign_in(self, arguments: Namespace) -> None:
        """Read a token with account access, which requests for linked accounts need."""
        if arguments.token_stdin:
            self._account_token = sys.stdin.readline().strip()
        else:
            require_interactive("read a token", "use --token-stdin")
            self._account_token = ask_password("Personal access token")

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Return the decoded response. Raises CommandFailed with the hub's error message."""
        return self.request(method, f"{self.path}{path}", body)

    def raw(self, method: str, path: str, body: Any = None) -> bytes:
        """Return the response body. Raises CommandFailed if the hub returns an error."""
        return self._send(method, f"{self.path}{path}", body)

    def request(self, method: str, path: str, body: Any = None) -> Any:
        """Return the decoded response of any path of the hub. Raises CommandFailed if the hub returns an error."""
        content = self._send(method, path, body)
        import msgspec

        try:
            return msgspec.json.decode(content) if content else None
        except msgspec.MsgspecError as error:
            hint = "check its address; a proxy in between may have responded instead"
            raise CommandFailed(f"{self.host} did not return JSON", hint, 5) from error

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
            reply = response.read()
        if reply.status >= 400:
            raise _error_of(reply.status, reply.body, self.host)
        return reply.body

    def follow(self, number: int) -> str:
        """Print a build's log until the build ends; returns its final status."""
        start = 0
        while True:
            build = self.call("GET", f"/builds/{number}")
            chunk = self.raw("GET", f"/builds/{number}/log?start={start}")
            _print_log(chunk)
            start += len(chunk)
            if build["status"] in FINAL_STATUSES and not chunk:
                return str(build["status"])
            time.sleep(0.5)


def _configure_builds(builds: _Builds, arguments: Namespace) -> int:
    if arguments.file:
        import msgspec

        try:
            body = msgspec.json.decode(arguments.file.read_bytes(), type=dict[str, Any])
        except msgspec.MsgspecError as error:
            raise CommandFailed(
                f"{arguments.file}: {error}", "use a JSON object, as docs/trusted-builds.md shows"
            ) from error
    elif arguments.source:
        rule = {"source": arguments.branch, "tags": arguments.tags, "dockerfile": arguments.dockerfile}
        source = _linked_source(builds, arguments) if arguments.account else {"url": arguments.source}
        body = {"source": source, "rules": [rule]}
    else:
        raise CommandFailed("no source given", "use --source URL or --from FILE", 2)
    if arguments.private:
        body["visibility"] = "private"
    # A file exported from Docker Hub's automated builds has a list of build_settings.
    path = "/build-configuration/docker-hub" if "build_settings" in body else "/build-configuration"
    created = builds.call("POST", path, body)
    if arguments.account:
        hook = builds.call("POST", "/build-configuration/forge-webhook", {"hub_url": builds.url})
        if not arguments.json:
            _print_webhook(hook)
    return _print_result(
        arguments, created, f"Configured Trusted Builds of {arguments.name} from {created['source']['url']}"
    )


def _linked_source(builds: _Builds, arguments: Namespace) -> dict[str, Any]:
    """Return the source that ``--account`` and ``--source OWNER/NAME`` name. Raises CommandFailed."""
    builds.sign_in(arguments)
    accounts = builds.request("GET", "/api/v1/linked-accounts")["items"]
    matching = [account for account in accounts if arguments.account in (account["login"], str(account["id"]))]
    if len(matching) != 1:
        count = f"{len(matching)} linked accounts are" if matching else "no linked account is"
        raise CommandFailed(
            f"{count} named {arguments.account}",
            f"use an ID from 'hythe builds accounts {builds.host}', or link the account on the hub's web page",
        )
    [account] = matching
    query = quote(arguments.source.rpartition("/")[2])
    repositories = builds.request("GET", f"/api/v1/linked-accounts/{account['id']}/repositories?q={query}")["items"]
    repository = next((one for one in repositories if one["name"].lower() == arguments.source.lower()), None)
    if repository is None:
        raise CommandFailed(
            f"account {account['login']} cannot access the repository {arguments.source}",
            "use OWNER/NAME as the forge spells it",
            3,
        )
    return {
        "url": repository["clone_url"],
        "forge": account["kind"],
        "forge_repository": repository["name"],
        "linked_account_id": account["id"],
        "default_branch": repository["default_branch"],
    }


def _accounts(builds: _Builds, arguments: Namespace) -> int:
    builds.sign_in(arguments)
    items = builds.request("GET", "/api/v1/linked-accounts")["items"]
    if arguments.json:
        print_json(items)
        return 0
    rows = [[str(one["id"]), one["url"], one["login"], one["problem"]] for one in items]
    print_table(("ID", "FORGE", "ACCOUNT", "PROBLEM"), rows)
    return 0


def _show(builds: _Builds, _arguments: Namespace) -> int:
    print_json(builds.call("GET", "/build-configuration"))
    return 0


def _delete(builds: _Builds, arguments: Namespace) -> int:
    builds.call("DELETE", "/build-configuration")
    return _print_result(arguments, {}, f"Deleted the build configuration of {arguments.name}")


def _deactivate(builds: _Builds, arguments: Namespace) -> int:
    return _print_result(
        arguments, _set_active(builds, active=False), f"Deactivated Trusted Builds of {arguments.name}"
    )


def _activate(builds: _Builds, arguments: Namespace) -> int:
    return _print_result(arguments, _set_active(builds, active=True), f"Activated Trusted Builds of {arguments.name}")


def _set_active(builds: _Builds, *, active: bool) -> Any:
    return builds.call("PATCH", "/build-configuration", {"active": active})


def _secret(builds: _Builds, arguments: Namespace) -> int:
    builds.call("PUT", f"/build-configuration/secrets/{arguments.secret}", {"value": sys.stdin.read().rstrip("\n")})
    return _print_result(arguments, {}, f"Set secret {arguments.secret}")


def _start(builds: _Builds, arguments: Namespace) -> int:
    kind, name = ("tag", arguments.source_tag) if arguments.source_tag else ("branch", arguments.branch)
    started = builds.call("POST", "/builds", {"source_type": kind, "source_name": name})["items"]
    numbers = [build["number"] for build in started]
    if not arguments.follow:
        return _print_result(arguments, started, "\n".join(map(str, numbers)))
    statuses = [builds.follow(number) for number in numbers]
    return 0 if set(statuses) == {"succeeded"} else 1


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
    trigger = builds.call("GET", "/build-configuration/trigger")
    if arguments.json:
        print_json(trigger)
        return 0
    print(f"{builds.host}{trigger['path']}")
    for call in trigger["calls"]:
        print(f"{call['at']}  {call['address']}  {call['outcome']}", file=sys.stderr)
    return 0


def _webhook(builds: _Builds, arguments: Namespace) -> int:
    if arguments.token_stdin:
        builds.sign_in(arguments)
    hook = builds.call("POST", "/build-configuration/forge-webhook", {"hub_url": arguments.hub_url or builds.url})
    if arguments.json:
        print_json(hook)
    else:
        _print_webhook(hook)
    return 0


def _print_webhook(hook: dict[str, Any]) -> None:
    if hook["installed"]:
        print(f"The webhook of {hook['forge_repository']} is installed.")
    else:
        print(f"Add a webhook for push events at the forge:\n  URL:     {hook['url']}\n  secret:  {hook['secret']}")
    if hook["public_key"] and not hook["key_installed"]:
        print(f"Add this read-only deploy key at the forge:\n  {hook['public_key']}")


def _log(builds: _Builds, arguments: Namespace) -> int:
    if arguments.follow:
        return 0 if builds.follow(arguments.number) == "succeeded" else 1
    _print_log(builds.raw("GET", f"/builds/{arguments.number}/log"))
    return 0


def _print_log(content: bytes) -> None:
    """Print a part of a build's log: as it is, but on a terminal nothing except for text and colours."""
    if sys.stdout.isatty():
        unfiltered(sys.stdout).write(escape_log(content.decode(errors="surrogateescape")))
    else:
        sys.stdout.buffer.write(content)
    sys.stdout.flush()


def _cancel(builds: _Builds, arguments: Namespace) -> int:
    build = builds.call("POST", f"/builds/{arguments.number}/cancel")
    return _print_result(arguments, build, f"Requested cancellation of build {arguments.number}")


def _retry(builds: _Builds, arguments: Namespace) -> int:
    build = builds.call("POST", f"/builds/{arguments.number}/retry")
    return _print_result(arguments, build, str(build["number"]))


def _print_result(arguments: Namespace, value: Any, text: str) -> int:
    if arguments.json:
        print_json(value)
    else:
        print(text)
    return 0


def _error_of(status: int, body: bytes, host: str) -> CommandFailed:
    import msgspec

    from hythe.client.error_body import error_reason

    try:
        problem = msgspec.json.decode(body, type=dict[str, Any])
    except msgspec.MsgspecError:
        problem = {}
    hint = str(problem.get("hint") or (f"log in with 'hythe login {host}'" if status in (401, 403, 404) else ""))
    return CommandFailed(
        error_reason(body) or f"the hub returned HTTP {status}", hint, {404: 3, 401: 4, 403: 4}.get(status, 1)
    )


command = Command(_configure, _run, EXAMPLES)
"""``hythe builds``."""
