"""``org``: create organizations, invite members and change the rules of an organization."""

from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING, Any

from hythe.cli.command import Command, CommandFailed
from hythe.cli.hub_lists import LIMIT, parse_limit, parse_time, print_audit_entry
from hythe.cli.hub_verbs import HubVerbs, path_segment, print_result, require_yes
from hythe.cli.output import Column, Row, add_list_flags, print_list

if TYPE_CHECKING:
    from hythe.client.hub_api import JSONAPI

ROLES = ("member", "owner")


def _configure(parser: ArgumentParser) -> None:
    verbs = HubVerbs(parser)
    listing = verbs.add("list", "list the organizations that you are a member of", _list)
    add_list_flags(listing, quiet="print only names")
    _verb(verbs, "create", "create an organization", _create)
    _verb(verbs, "view", "print an organization and its rules as JSON", _view)
    edit = _verb(verbs, "edit", "change the rules of an organization", _edit)
    edit.add_argument(
        "--default-visibility", choices=("public", "internal", "private"), help="of repositories that a push creates"
    )
    edit.add_argument(
        "--member-role", choices=("none", "read", "write", "admin"), help="of members on all repositories"
    )
    edit.add_argument("--members-create", choices=("yes", "no"), help="whether members may create repositories")
    edit.add_argument("--require-second-factor", choices=("yes", "no"), help="whether members need a second factor")
    members = _verb(verbs, "members", "list members", _members, listing=True)
    members.set_defaults(quiet_field="User")
    invite = _verb(verbs, "invite", "invite a user by name or e-mail address", _invite)
    invite.add_argument("user", metavar="USER|EMAIL", help="user name or e-mail address")
    invite.add_argument("--role", choices=ROLES, default="member", help="default: member")
    invite.add_argument("--team", default="", help="team to add the user to")
    role = _verb(verbs, "set-role", "make a member an owner, or an owner a member", _set_role)
    role.add_argument("user", metavar="USER", help="name of the member")
    role.add_argument("role", choices=ROLES, help="new role")
    remove = _verb(verbs, "remove-member", "remove a member", _remove)
    remove.add_argument("user", metavar="USER", help="name of the member")
    _verb(verbs, "leave", "leave an organization", _leave)
    invitations = verbs.add("invitations", "list invitations that you have received", _invitations)
    add_list_flags(invitations, quiet="print only ids")
    for name, summary in (("accept", "accept an invitation"), ("decline", "decline an invitation")):
        verb = verbs.add(name, summary, _answer, json=True)
        verb.add_argument("id", type=int, metavar="ID", help="id of the invitation")
        verb.set_defaults(answer=name)
    _add_audit(verbs)
    delete = _verb(verbs, "delete", "delete an organization with all its repositories", _delete)
    delete.add_argument("--yes", action="store_true", help="do not ask for confirmation")


def _add_audit(verbs: HubVerbs) -> None:
    audit = _verb(verbs, "audit", "print the audit log of an organization, or of your account, newest first", _audit)
    for flag, meaning in (
        ("--repository", "only what was done to this repository (NAMESPACE/NAME) and its tags"),
        ("--actor", "only what this user or robot did"),
        ("--action", "only this action, such as tag.move (docs/roles.md lists them)"),
    ):
        audit.add_argument(flag, default="", metavar=flag.removeprefix("--").upper(), help=meaning)
    audit.add_argument("--since", type=parse_time, metavar="TIME", help="the earliest, such as 2026-11-30T12:00 (UTC)")
    audit.add_argument("--until", type=parse_time, metavar="TIME", help="only entries before this time")
    audit.add_argument(
        "--limit", type=parse_limit, default=LIMIT, metavar="N", help=f"most that are printed (default: {LIMIT})"
    )


def _verb(verbs: HubVerbs, name: str, summary: str, run: Any, *, listing: bool = False) -> ArgumentParser:
    verb = verbs.add(name, summary, run, json=not listing)
    verb.add_argument("name", metavar="[HOST/]ORGANIZATION", help="name of the organization")
    if listing:
        add_list_flags(verb, quiet="print only names")
    return verb


def organization_path(name: str) -> str:
    """Return the path of an organization in the API."""
    return f"/api/v1/organizations/{path_segment(name)}"


def _list(api: "JSONAPI", arguments: Namespace) -> int:
    rows = [
        Row({"Name": each["organization"], "Role": each["role"]}, each)
        for each in api.items("/api/v1/users/me/organizations")
    ]
    print_list(rows, (Column("NAME", "Name"), Column("ROLE", "Role")), arguments, quiet_field="Name")
    return 0


def _create(api: "JSONAPI", arguments: Namespace) -> int:
    made = api.call("POST", "/api/v1/organizations", {"name": arguments.name})
    return print_result(arguments, made, f"Created {arguments.name}: docker push {api.host}/{arguments.name}/IMAGE")


def _view(api: "JSONAPI", arguments: Namespace) -> int:
    arguments.json = True
    return print_result(arguments, api.call("GET", organization_path(arguments.name)), "")


def _edit(api: "JSONAPI", arguments: Namespace) -> int:
    chosen = {
        "default_visibility": arguments.default_visibility,
        "member_role": arguments.member_role,
        "members_create": arguments.members_create and arguments.members_create == "yes",
        "require_second_factor": arguments.require_second_factor and arguments.require_second_factor == "yes",
    }
    changes = {name: value for name, value in chosen.items() if value is not None}
    if not changes:
        raise CommandFailed("nothing to change", "'hythe org edit --help' lists the rules", 2)
    done = api.call("PATCH", organization_path(arguments.name), changes)
    return print_result(arguments, done, f"Changed {arguments.name}")


def _members(api: "JSONAPI", arguments: Namespace) -> int:
    found = api.items(f"{organization_path(arguments.name)}/members")
    rows = [Row({"User": each["username"], "Role": each["role"]}, each) for each in found]
    print_list(rows, (Column("USER", "User"), Column("ROLE", "Role")), arguments, quiet_field="User")
    return 0


def _invite(api: "JSONAPI", arguments: Namespace) -> int:
    kind = "email" if "@" in arguments.user else "username"
    body = {kind: arguments.user, "role": arguments.role} | ({"team": arguments.team} if arguments.team else {})
    done = api.call("POST", f"{organization_path(arguments.name)}/invitations", body)
    return print_result(arguments, done, f"Invited {arguments.user} to {arguments.name}")


def _set_role(api: "JSONAPI", arguments: Namespace) -> int:
    path = f"{organization_path(arguments.name)}/members/{path_segment(arguments.user)}"
    done = api.call("PATCH", path, {"role": arguments.role})
    return print_result(arguments, done, f"{arguments.user} is {arguments.role} of {arguments.name}")


def _remove(api: "JSONAPI", arguments: Namespace) -> int:
    api.call("DELETE", f"{organization_path(arguments.name)}/members/{path_segment(arguments.user)}")
    return print_result(arguments, None, f"{arguments.user} is no longer a member of {arguments.name}")


def _leave(api: "JSONAPI", arguments: Namespace) -> int:
    api.call("DELETE", f"/api/v1/users/me/organizations/{path_segment(arguments.name)}")
    return print_result(arguments, None, f"You are no longer a member of {arguments.name}")


def _invitations(api: "JSONAPI", arguments: Namespace) -> int:
    columns = (Column("ID", "ID"), Column("TO", "To"), Column("ROLE", "Role"), Column("FROM", "From"))
    rows = [
        Row(
            {
                "ID": str(each["id"]),
                "To": each.get("repository") or each.get("organization") or "",
                "Role": each["role"],
                "From": each.get("invited_by") or "",
            },
            each,
        )
        for each in api.items("/api/v1/invitations")
    ]
    print_list(rows, columns, arguments)
    return 0


def _answer(api: "JSONAPI", arguments: Namespace) -> int:
    done = api.call("POST", f"/api/v1/invitations/{arguments.id}/{arguments.answer}")
    return print_result(
        arguments, done, f"{arguments.answer.capitalize().removesuffix('e')}ed invitation {arguments.id}"
    )


def _audit(api: "JSONAPI", arguments: Namespace) -> int:
    filters = {
        "namespace": arguments.name,
        "repository": arguments.repository,
        "actor": arguments.actor,
        "action": arguments.action,
        "since": arguments.since.isoformat() if arguments.since else "",
        "until": arguments.until.isoformat() if arguments.until else "",
    }
    given = {name: value for name, value in filters.items() if value}
    for entry in api.items("/api/v1/audit", arguments.limit, **given):
        print_audit_entry(entry, arguments)
    return 0


def _delete(api: "JSONAPI", arguments: Namespace) -> int:
    require_yes(arguments, f"Delete {arguments.name} with all its repositories?")
    done = api.call("DELETE", f"{organization_path(arguments.name)}?confirm={path_segment(arguments.name)}")
    return print_result(arguments, done, f"Deleted {arguments.name}")


command = Command(
    _configure,
    HubVerbs.run,
    """
hythe org create acme
hythe org invite acme ben --role owner
hythe org invite acme eve@example.com --team developers
hythe org edit acme --member-role read --require-second-factor yes
hythe org members hub.example.org/acme
hythe org invitations
hythe org accept 7
hythe org audit acme --action tag.delete --since 2026-11-01
""",
)
