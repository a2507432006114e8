"""``team``: manage the teams of an organization, their members and what they may do."""

from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from hythe.cli.command import Command, CommandFailed
from hythe.cli.hub_verbs import HubVerbs, path_segment, print_result, require_yes
from hythe.cli.org import organization_path
from hythe.cli.output import Column, Row, add_list_flags, print_list

if TYPE_CHECKING:
    from hythe.client.hub_api import JSONAPI


def _configure(parser: ArgumentParser) -> None:
    verbs = HubVerbs(parser)
    listing = verbs.add("list", "list the teams of an organization", _list)
    listing.add_argument("name", metavar="[HOST/]ORGANIZATION", help="name of the organization")
    add_list_flags(listing, quiet="print only names")
    create = _verb(verbs, "create", "create a team", _create)
    create.add_argument("-d", "--description", default="", help="what the team is for")
    delete = _verb(verbs, "delete", "delete a team", _delete)
    delete.add_argument("--yes", action="store_true", help="do not ask for confirmation")
    _verb(verbs, "members", "list the members of a team", _members, listing=True)
    for name, summary, run in (
        ("add", "add a member of the organization to a team", _add),
        ("remove", "remove a member from a team", _remove),
    ):
        verb = _verb(verbs, name, summary, run)
        verb.add_argument("user", metavar="USER", help="name of the user")
    _verb(verbs, "grants", "list what a team may do", _grants, listing=True)
    grant = _verb(verbs, "grant", "give a team a role on repositories", _grant)
    revoke = _verb(verbs, "revoke", "take a team's role on repositories away", _revoke)
    for verb in (grant, revoke):
        verb.add_argument("repositories", metavar="PATTERN", help="name of a repository, or a pattern such as 'app-*'")
    grant.add_argument("--role", choices=("read", "write", "admin"), default="write", help="default: write")


def _verb(verbs: HubVerbs, name: str, summary: str, run: Any, *, listing: bool = False) -> ArgumentParser:
    verb = verbs.add(name, summary, run, json=not listing)
    verb.add_argument("name", metavar="[HOST/]ORGANIZATION/TEAM", help="name of the team")
    if listing:
        add_list_flags(verb, quiet="print only names")
    return verb


def _split(name: str) -> tuple[str, str]:
    organization, slash, team = name.partition("/")
    if not slash or not team:
        raise CommandFailed(f"{name!r} names no team", "use ORGANIZATION/TEAM", 2)
    return organization, team


def _path(name: str) -> str:
    organization, team = _split(name)
    return f"{organization_path(organization)}/teams/{path_segment(team)}"


def _list(api: "JSONAPI", arguments: Namespace) -> int:
    found = api.items(f"{organization_path(arguments.name)}/teams")
    rows = [Row({"Name": each["name"], "Description": each["description"]}, each) for each in found]
    print_list(rows, (Column("NAME", "Name"), Column("DESCRIPTION", "Description")), arguments, quiet_field="Name")
    return 0


def _create(api: "JSONAPI", arguments: Namespace) -> int:
    organization, team = _split(arguments.name)
    body = {"name": team, "description": arguments.description}
    made = api.call("POST", f"{organization_path(organization)}/teams", body)
    return print_result(arguments, made, f"Created team {team} of {organization}")


def _delete(api: "JSONAPI", arguments: Namespace) -> int:
    require_yes(arguments, f"Delete the team {arguments.name}?")
    api.call("DELETE", _path(arguments.name))
    return print_result(arguments, None, f"Deleted team {arguments.name}")


def _members(api: "JSONAPI", arguments: Namespace) -> int:
    found = api.items(f"{_path(arguments.name)}/members")
    rows = [Row({"User": each["username"]}, each) for each in found]
    print_list(rows, (Column("USER", "User"),), arguments, quiet_field="User")
    return 0


def _add(api: "JSONAPI", arguments: Namespace) -> int:
    done = api.call("PUT", f"{_path(arguments.name)}/members/{path_segment(arguments.user)}")
    return print_result(arguments, done, f"Added {arguments.user} to {arguments.name}")


def _remove(api: "JSONAPI", arguments: Namespace) -> int:
    api.call("DELETE", f"{_path(arguments.name)}/members/{path_segment(arguments.user)}")
    return print_result(arguments, None, f"Removed {arguments.user} from {arguments.name}")


def _grants(api: "JSONAPI", arguments: Namespace) -> int:
    found = api.items(f"{_path(arguments.name)}/grants")
    rows = [Row({"Repositories": each["repositories"], "Role": each["role"]}, each) for each in found]
    columns = (Column("REPOSITORIES", "Repositories"), Column("ROLE", "Role"))
    print_list(rows, columns, arguments, quiet_field="Repositories")
    return 0


def _grant(api: "JSONAPI", arguments: Namespace) -> int:
    body = {"repositories": arguments.repositories, "role": arguments.role}
    done = api.call("PUT", f"{_path(arguments.name)}/grants", body)
    return print_result(arguments, done, f"{arguments.name} has the role {arguments.role} on {arguments.repositories}")


def _revoke(api: "JSONAPI", arguments: Namespace) -> int:
    query = urlencode({"repositories": arguments.repositories})
    api.call("DELETE", f"{_path(arguments.name)}/grants?{query}")
    return print_result(arguments, None, f"{arguments.name} has no role on {arguments.repositories} any more")


command = Command(
    _configure,
    HubVerbs.run,
    """
hythe team create acme/developers -d 'Who builds the product'
hythe team add acme/developers ben
hythe team grant acme/developers 'app-*' --role write
hythe team grants acme/developers
hythe team list hub.example.org/acme
""",
)
