"""``builds``: configure, start, follow and cancel the Trusted Builds of a repository."""

import sys
import time
from argparse import ArgumentParser, Namespace, _SubParsersAction
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import quote, urlencode

from hythe.cli.command import Command, CommandFailed
from hythe.cli.connection import add_connection_flags, connected
from hythe.cli.escaping import unfiltered
from hythe.cli.output import add_json_flag, print_json, print_table
from hythe.control_characters import escape_log
from hythe.oci.reference import Reference

if TYPE_CHECKING:
    from hythe.client.hub_api import JSONAPI

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

LINKED_ACCOUNTS = "/api/v1/linked-accounts"

POLL_INTERVAL = 0.5
"""Seconds between two requests for new lines of a log."""


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
    listing.add_argument("--limit", type=int, default=25, metavar="N", help="maximum number (default: 25; 0: all)")
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
    verb.add_argument(
        "--token-stdin", action="store_true", help="use a token from stdin instead of the credentials of 'hythe login'"
    )


def _run(arguments: Namespace) -> int:
    from hythe.client.credentials import Credential
    from hythe.client.hub_api import JSONAPI

    with connected(arguments) as client:
        # Reference would read a host without a path as an image name.
        host_alone = arguments.run is _accounts
        reference = client.reference(f"{arguments.name}/any/repository" if host_alone else arguments.name)
        given = Credential(identity_token=_read_token()) if getattr(arguments, "token_stdin", False) else None
        about = "" if host_alone else reference.repository
        code: int = arguments.run(_Builds(JSONAPI(client, reference.host, about, given), reference), arguments)
        return code


def _read_token() -> str:
    token = sys.stdin.readline().strip()
    if not token:
        raise CommandFailed("stdin has no token", "for example: hythe builds accounts HOST --token-stdin < token", 2)
    return token


class _Builds:
    """The builds of one repository in the hub's JSON API."""

    def __init__(self, api: "JSONAPI", reference: Reference) -> None:
        from hythe.client.hub_api import repository_path

        self.api = api
        self.path = repository_path(reference.repository)

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Call the API below the repository, and return the decoded response. Raises ClientError."""
        return self.api.call(method, f"{self.path}{path}", body)

    def log(self, number: int, start: int = 0) -> bytes:
        """Return the log of a build from a byte on. Raises ClientError."""
        return self.api.get(f"{self.path}/builds/{number}/log?start={start}")

    def follow(self, number: int) -> str:
        """Print a build's log until the build ends; returns its final status."""
        start = 0
        while True:
            build = self.call("GET", f"/builds/{number}")
            chunk = self.log(number, start)
            _print_log(chunk)
            start += len(chunk)
            if build["status"] in FINAL_STATUSES and not chunk:
                return str(build["status"])
            time.sleep(POLL_INTERVAL)


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
        hook = builds.call("POST", "/build-configuration/forge-webhook", {"hub_url": builds.api.url})
        if not arguments.json:
            _print_webhook(hook)
    return _print_result(
        arguments, created, f"Configured Trusted Builds of {arguments.name} from {created['source']['url']}"
    )


def _linked_source(builds: _Builds, arguments: Namespace) -> dict[str, Any]:
    """Return the source that ``--account`` and ``--source OWNER/NAME`` name. Raises CommandFailed."""
    accounts = builds.api.call("GET", LINKED_ACCOUNTS)["items"]
    matching = [account for account in accounts if arguments.account in (account["login"], str(account["id"]))]
    if len(matching) != 1:
        count = f"{len(matching)} linked accounts are" if matching else "no linked account is"
        raise CommandFailed(
            f"{count} named {arguments.account}",
            f"use an ID from 'hythe builds accounts {builds.api.host}', or link the account on the hub's web page",
        )
    [account] = matching
    repository = _forge_repository(builds.api, account["id"], arguments.source)
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


def _forge_repository(api: "JSONAPI", account: int, name: str) -> dict[str, Any] | None:
    """Return the repository OWNER/NAME of a linked account; None if the account cannot access it."""
    number, more = 1, True
    while more:
        query = urlencode({"q": name.rpartition("/")[2], "page": number})
        page = api.call("GET", f"{LINKED_ACCOUNTS}/{account}/repositories?{query}")
        for repository in page["items"]:
            if repository["name"].lower() == name.lower():
                return dict(repository)
        number, more = number + 1, page["more"]
    return None


def _accounts(builds: _Builds, arguments: Namespace) -> int:
    items = builds.api.call("GET", LINKED_ACCOUNTS)["items"]
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
    path = f"/build-configuration/secrets/{quote(arguments.secret, safe='')}"
    builds.call("PUT", path, {"value": sys.stdin.read().rstrip("\n")})
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
    query = {"status": arguments.status, "source_name": arguments.branch}
    items = list(builds.api.items(f"{builds.path}/builds", arguments.limit, **query))
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
    print(f"{builds.api.url}{trigger['path']}")
    for call in trigger["calls"]:
        print(f"{call['at']}  {call['address']}  {call['outcome']}", file=sys.stderr)
    return 0


def _webhook(builds: _Builds, arguments: Namespace) -> int:
    address = arguments.hub_url or builds.api.url
    hook = builds.call("POST", "/build-configuration/forge-webhook", {"hub_url": address})
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
    _print_log(builds.log(arguments.number))
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


command = Command(_configure, _run, EXAMPLES)
"""``hythe builds``."""
