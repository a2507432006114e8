"""``token``: create, list, change, rotate and revoke personal access tokens."""

from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING

from hythe.cli.command import Command, CommandFailed
from hythe.cli.hub_verbs import HubVerbs, print_result
from hythe.cli.output import Column, Row, add_list_flags, print_json, print_list, print_message
from hythe.cli.units import exact_time, human_age

if TYPE_CHECKING:
    from hythe.client.hub_api import JSONAPI

RIGHTS = {
    "pull": "repo:read",
    "push": "repo:write",
    "delete": "repo:delete",
    "builds": "builds",
    "admin": "repo:admin",
    "account": "account",
}
"""The rights of a token in the words of the command line, and in those of the API."""

COLUMNS = (
    Column("ID", "ID"),
    Column("NAME", "Name"),
    Column("RIGHTS", "Rights"),
    Column("REPOSITORIES", "Repositories"),
    Column("EXPIRES", "Expires"),
    Column("LAST USED", "Used"),
    Column("FROM", "UsedFrom"),
)


def _configure(parser: ArgumentParser) -> None:
    verbs = HubVerbs(parser)
    add_list_flags(verbs.add("list", "list your tokens", _list), quiet="print only ids")
    create = verbs.add("create", "create a token, and print it once", _create, json=True)
    create.add_argument("token_name", metavar="NAME", help="what the token is for")
    _add_limits(create, "what it may be used for; can be repeated (default: pull and push)")
    create.add_argument("--expires-in", type=int, metavar="DAYS", help="days until it expires (default: never)")
    edit = verbs.add("edit", "change the name or the limits of a token; its secret stays", _edit, json=True)
    edit.add_argument("--name", dest="new_name", metavar="NAME", help="what the token is for")
    _add_limits(edit, "what it may be used for from now on; can be repeated")
    edit.add_argument("--all-repositories", action="store_true", help="no longer limit it to some repositories")
    rotate = verbs.add("rotate", "replace the secret of a token, and print the new one", _rotate, json=True)
    rotate.add_argument("--overlap", type=int, default=0, metavar="HOURS", help="how long the old one works: 0 to 24")
    rotate.add_argument("--expires-in", type=int, metavar="DAYS", help="days until it expires (default: as before)")
    revoke = verbs.add("revoke", "revoke a token: it ends at once, with all logins that used it", _revoke, json=True)
    for verb in (edit, rotate, revoke):
        verb.add_argument("id", type=int, metavar="ID", help="id of the token")


def _add_limits(verb: ArgumentParser, rights: str) -> None:
    verb.add_argument("--right", action="append", choices=tuple(RIGHTS), default=[], help=rights)
    verb.add_argument(
        "--repository",
        action="append",
        default=[],
        metavar="PATTERN",
        help="limit it to these repositories: acme/app-*; can be repeated",
    )


def _list(api: "JSONAPI", arguments: Namespace) -> int:
    words = {value: word for word, value in RIGHTS.items()}
    rows = [
        Row(
            {
                "ID": str(each["id"]),
                "Name": each["name"],
                "Rights": ",".join(words.get(right, right) for right in each["rights"]),
                "Repositories": ",".join(each.get("repositories") or ()) or "all",
                "Expires": exact_time(each["expires_at"]) if each.get("expires_at") else "never",
                "Used": human_age(each["used_at"]) if each.get("used_at") else "never",
                "UsedFrom": each.get("used_from", ""),
            },
            each,
        )
        for each in api.call("GET", "/api/v1/tokens")["items"]
    ]
    print_list(rows, COLUMNS, arguments)
    return 0


def _create(api: "JSONAPI", arguments: Namespace) -> int:
    body = {
        "name": arguments.token_name,
        "rights": [RIGHTS[word] for word in arguments.right or ("pull", "push")],
        **({"repositories": arguments.repository} if arguments.repository else {}),
        **_expiry(arguments),
    }
    return _print_secret(arguments, api.call("POST", "/api/v1/tokens", body))


def _expiry(arguments: Namespace) -> dict[str, int]:
    return {} if arguments.expires_in is None else {"expires_in_days": arguments.expires_in}


def _edit(api: "JSONAPI", arguments: Namespace) -> int:
    if arguments.repository and arguments.all_repositories:
        raise CommandFailed("--repository and --all-repositories contradict each other", "use one of them", 2)
    changes = {
        **({"name": arguments.new_name} if arguments.new_name is not None else {}),
        **({"rights": [RIGHTS[word] for word in arguments.right]} if arguments.right else {}),
        **({"repositories": arguments.repository} if arguments.repository else {}),
        **({"repositories": None} if arguments.all_repositories else {}),
    }
    if not changes:
        raise CommandFailed("nothing to change", "use --name, --right, --repository or --all-repositories", 2)
    changed = api.call("PATCH", f"/api/v1/tokens/{arguments.id}", changes)
    return print_result(arguments, changed, f"Changed token {arguments.id}")


def _rotate(api: "JSONAPI", arguments: Namespace) -> int:
    body = {"overlap_hours": arguments.overlap, **_expiry(arguments)}
    return _print_secret(arguments, api.call("POST", f"/api/v1/tokens/{arguments.id}/rotate", body))


def _revoke(api: "JSONAPI", arguments: Namespace) -> int:
    api.call("DELETE", f"/api/v1/tokens/{arguments.id}")
    return print_result(arguments, None, f"Revoked token {arguments.id}")


def _print_secret(arguments: Namespace, made: dict[str, str]) -> int:
    """Print the secret alone on stdout, so that a script can read it."""
    if arguments.json:
        print_json(made)
    else:
        print_message("This is shown only once:")
        print(made["token"])
    return 0


command = Command(
    _configure,
    HubVerbs.run,
    """
hythe token create ci --right pull --right push --repository 'acme/app-*' --expires-in 90
hythe token list
hythe token edit 7 --right pull --repository acme/app-web
hythe token rotate 7 --overlap 2 --expires-in 90
hythe token revoke 7 --host hub.example.org
""",
)
