"""``repo``: list, create, change, rename, transfer and delete the repositories of a hub, and answer offers."""

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from hythe.cli.command import Command, CommandFailed
from hythe.cli.hub_verbs import HubVerbs, path_segment, print_result, require_yes, split_name
from hythe.cli.output import Column, Row, add_list_flags, print_list
from hythe.cli.units import exact_time, human_age

if TYPE_CHECKING:
    from hythe.client.hub_api import JSONAPI

COLUMNS = (
    Column("NAME", "Name"),
    Column("VISIBILITY", "Visibility"),
    Column("PULLS", "Pulls"),
    Column("STARS", "Stars"),
    Column("UPDATED", "Updated"),
)
VISIBILITIES = ("public", "internal", "private")


def _configure(parser: ArgumentParser) -> None:
    verbs = HubVerbs(parser)
    listing = verbs.add("list", "list repositories, most recently changed first", _list)
    listing.add_argument("name", metavar="[HOST/]NAMESPACE", nargs="?", default="", help="default: all of yours")
    listing.add_argument("--limit", type=int, default=100, metavar="N", help="maximum number (default: 100; 0: all)")
    add_list_flags(listing, quiet="print only names")
    create = _verb(verbs, "create", "create an empty repository", _create)
    create.add_argument("--visibility", choices=VISIBILITIES, default="public", help="who may see it")
    create.add_argument("-d", "--description", default="", help="short description")
    _verb(verbs, "view", "print a repository as JSON", _view)
    edit = _verb(verbs, "edit", "change the visibility or the description", _edit)
    edit.add_argument("--visibility", choices=VISIBILITIES, help="who may see it")
    edit.add_argument("-d", "--description", help="short description")
    rename = _verb(verbs, "rename", "rename a repository; pulls of the old name keep working", _rename)
    rename.add_argument("new", metavar="NEW-NAME", help="new name, without the namespace")
    transfer = _verb(verbs, "transfer", "hand a repository over to another account", _transfer)
    transfer.add_argument("receiver", metavar="NAMESPACE", help="user or organization that receives it")
    offers = verbs.add("offers", "list the repositories that others want to transfer to you", _offers)
    offers.add_argument(
        "name", metavar="[HOST/]NAMESPACE", nargs="?", default="", help="default: you, and the organizations you own"
    )
    add_list_flags(offers, quiet="print only names")
    _verb(verbs, "accept", "accept a repository that is offered to you or your organization", _accept)
    _verb(verbs, "decline", "decline a repository that is offered to you or your organization", _decline)
    delete = _verb(verbs, "delete", "delete a repository with all its images", _delete)
    delete.add_argument("--yes", action="store_true", help="do not ask for confirmation")
    _verb(verbs, "collaborators", "list who has a role on a repository", _collaborators, listing=True)
    add = _verb(verbs, "add-collaborator", "give a user a role on a repository", _add_collaborator)
    add.add_argument("user", metavar="USER", help="name of the user")
    add.add_argument("--role", choices=("read", "write", "admin"), default="write", help="default: write")
    remove = _verb(verbs, "remove-collaborator", "take a user's role on a repository away", _remove_collaborator)
    remove.add_argument("user", metavar="USER", help="name of the user")


def _verb(verbs: HubVerbs, name: str, summary: str, run: Any, *, listing: bool = False) -> ArgumentParser:
    verb = verbs.add(name, summary, run, json=not listing)
    verb.add_argument("name", metavar="[HOST/]NAMESPACE/NAME", help="name of the repository")
    if listing:
        add_list_flags(verb, quiet="print only names")
    return verb


def _path(name: str) -> str:
    from hythe.client.hub_api import repository_path

    return repository_path("/".join(split_name(name)))


def _list(api: "JSONAPI", arguments: Namespace) -> int:
    path = f"/api/v1/repositories/{path_segment(arguments.name)}" if arguments.name else "/api/v1/users/me/repositories"
    rows = [
        Row(
            {
                "Name": f"{each['namespace']}/{each['name']}",
                "Visibility": each["visibility"],
                "Pulls": str(each["pulls"]),
                "Stars": str(each["stars"]),
                "Updated": human_age(each["updated_at"]),
            },
            each,
        )
        for each in api.items(path, arguments.limit)
    ]
    print_list(rows, COLUMNS, arguments, quiet_field="Name")
    return 0


def _create(api: "JSONAPI", arguments: Namespace) -> int:
    namespace, name = split_name(arguments.name)
    body = {
        "namespace": namespace,
        "name": name,
        "visibility": arguments.visibility,
        "description": arguments.description,
    }
    made = api.call("POST", "/api/v1/repositories", body)
    return print_result(arguments, made, f"Created {arguments.name}: docker push {api.host}/{arguments.name}")


def _view(api: "JSONAPI", arguments: Namespace) -> int:
    arguments.json = True
    return print_result(arguments, api.call("GET", _path(arguments.name)), "")


def _edit(api: "JSONAPI", arguments: Namespace) -> int:
    fields = ("visibility", "description")
    changes = {name: value for name in fields if (value := getattr(arguments, name)) is not None}
    if not changes:
        raise CommandFailed("nothing to change", "use --visibility or --description", 2)
    return print_result(arguments, api.call("PATCH", _path(arguments.name), changes), f"Changed {arguments.name}")


def _rename(api: "JSONAPI", arguments: Namespace) -> int:
    renamed = api.call("POST", f"{_path(arguments.name)}/rename", {"name": arguments.new})
    namespace, _ = split_name(arguments.name)
    return print_result(arguments, renamed, f"Renamed {arguments.name} to {namespace}/{arguments.new}")


def _transfer(api: "JSONAPI", arguments: Namespace) -> int:
    done = api.call("POST", f"{_path(arguments.name)}/transfer", {"to": arguments.receiver})
    said = f"Transferred {arguments.name} to {arguments.receiver}"
    if not done["done"]:
        until = exact_time(done["expires_at"])
        said = f"Offered {arguments.name} to {arguments.receiver}, who can accept it until {until}"
    return print_result(arguments, done, said)


def _offers(api: "JSONAPI", arguments: Namespace) -> int:
    columns = (
        Column("REPOSITORY", "Repository"),
        Column("NEW NAME", "NewName"),
        Column("FROM", "From"),
        Column("EXPIRES", "Expires"),
    )
    rows = [
        Row(
            {
                "Repository": each["repository"],
                "NewName": f"{each['to']}/{each['name']}",
                "From": each["requested_by"],
                "Expires": exact_time(each["expires_at"]),
            },
            each,
        )
        for each in _offers_to(api, arguments.name)
    ]
    print_list(rows, columns, arguments, quiet_field="Repository")
    return 0


def _offers_to(api: "JSONAPI", namespace: str) -> Iterator[dict[str, Any]]:
    """Yield the offers to an account; without a name those to the user and the organizations that the user owns."""
    accounts = [namespace] if namespace else _own_accounts(api)
    for account in accounts:
        yield from api.items(f"/api/v1/namespaces/{path_segment(account)}/offers")


def _own_accounts(api: "JSONAPI") -> Iterator[str]:
    yield api.call("GET", "/api/v1/users/me")["username"]
    for each in api.items("/api/v1/users/me/organizations"):
        if each["role"] == "owner":
            yield each["organization"]


def _accept(api: "JSONAPI", arguments: Namespace) -> int:
    done = api.call("POST", f"{_offer_path(api, arguments.name)}/accept")
    return print_result(arguments, done, f"Accepted {arguments.name}, which is now {done['repository']}")


def _decline(api: "JSONAPI", arguments: Namespace) -> int:
    api.call("DELETE", _offer_path(api, arguments.name))
    return print_result(arguments, None, f"Declined {arguments.name}")


def _offer_path(api: "JSONAPI", name: str) -> str:
    """Return the path of the offer of a repository. Raises RemoteNotFound."""
    from hythe.client.errors import RemoteNotFound

    repository = "/".join(split_name(name))
    for each in _offers_to(api, ""):
        if each["repository"] == repository:
            return f"/api/v1/namespaces/{path_segment(each['to'])}/offers/{each['repository_id']}"
    raise RemoteNotFound(
        f"{repository} is not offered to you, or the offer has expired", "'hythe repo offers' lists what is offered"
    )


def _delete(api: "JSONAPI", arguments: Namespace) -> int:
    require_yes(arguments, f"Delete {arguments.name} with all its images?")
    api.call("DELETE", _path(arguments.name))
    return print_result(arguments, None, f"Deleted {arguments.name}")


def _collaborators(api: "JSONAPI", arguments: Namespace) -> int:
    columns = (Column("USER", "User"), Column("ROLE", "Role"))
    found = api.items(f"{_path(arguments.name)}/collaborators")
    rows = [Row({"User": each["username"], "Role": each["role"]}, each) for each in found]
    print_list(rows, columns, arguments, quiet_field="User")
    return 0


def _add_collaborator(api: "JSONAPI", arguments: Namespace) -> int:
    body = {"username": arguments.user, "role": arguments.role}
    done = api.call("POST", f"{_path(arguments.name)}/collaborators", body)
    gave = f"Gave {arguments.user} the role {arguments.role} on"
    said = f"Invited {arguments.user} to" if done["pending"] else gave
    return print_result(arguments, done, f"{said} {arguments.name}")


def _remove_collaborator(api: "JSONAPI", arguments: Namespace) -> int:
    api.call("DELETE", f"{_path(arguments.name)}/collaborators/{path_segment(arguments.user)}")
    return print_result(arguments, None, f"{arguments.user} is no longer a collaborator of {arguments.name}")


command = Command(
    _configure,
    HubVerbs.run,
    """
hythe repo list
hythe repo create acme/web --visibility private -d 'Our web site'
hythe repo edit acme/web --visibility internal
hythe repo rename acme/web site
hythe repo transfer ann/tool acme
hythe repo offers
hythe repo accept ann/tool
hythe repo add-collaborator ann/tool ben --role write
hythe repo delete hub.example.org/acme/site --yes
""",
)
