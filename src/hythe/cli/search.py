"""``search``: search a hub for repositories."""

from argparse import ArgumentParser, Namespace

from hythe.cli.command import Command, CommandFailed
from hythe.cli.connection import add_connection_flags, connected
from hythe.cli.output import Column, Row, add_list_flags, parse_boolean, parse_filters, print_list
from hythe.client.hub import DEFAULT_LIMIT, MAX_LIMIT, HubClient, SearchResult
from hythe.oci.reference import split_host

COLUMNS = (
    Column("NAME", "Name"),
    Column("DESCRIPTION", "Description"),
    Column("STARS", "StarCount"),
    Column("OFFICIAL", "IsOfficial"),
    Column("AUTOMATED", "IsAutomated"),
)
FILTERS = ("stars", "is-official", "is-automated")
_MAX_DESCRIPTION_LENGTH = 45


def _configure(parser: ArgumentParser) -> None:
    parser.add_argument(
        "term", metavar="[HOST/]TERM", help="search term, with an optional host (default: the default registry)"
    )
    parser.add_argument(
        "--limit",
        type=int,
        default=DEFAULT_LIMIT,
        metavar="N",
        help=f"maximum number of results, 1 to {MAX_LIMIT} (default: {DEFAULT_LIMIT})",
    )
    parser.add_argument(
        "-f", "--filter", action="append", default=[], metavar="KEY=VALUE", help=f"filter by {', '.join(FILTERS)}"
    )
    add_list_flags(parser, quiet="print only names")
    add_connection_flags(parser)


def _run(arguments: Namespace) -> int:
    filters = parse_filters(arguments.filter, FILTERS)
    if not 1 <= arguments.limit <= MAX_LIMIT:
        raise CommandFailed(f"--limit {arguments.limit} is outside the range of 1 to {MAX_LIMIT}", code=2)
    with connected(arguments) as client:
        host, term = split_host(arguments.term)
        results = HubClient(client, host or client.configuration.default_registry).search(term, arguments.limit)
    matching = [one for one in results if _matches(one, filters)]
    rows = [_row(one, full=arguments.no_trunc) for one in sorted(matching, key=lambda one: -one.stars)]
    print_list(rows, COLUMNS, arguments, quiet_field="Name")
    return 0


def _matches(result: SearchResult, filters: dict[str, list[str]]) -> bool:
    return (
        all(result.stars >= _parse_number(text) for text in filters.get("stars", []))
        and all(result.official == parse_boolean(text) for text in filters.get("is-official", []))
        and all(result.automated == parse_boolean(text) for text in filters.get("is-automated", []))
    )


def _parse_number(text: str) -> int:
    if not text.isdigit():
        raise CommandFailed(f"invalid filter 'stars={text}'", "use a number", 2)
    return int(text)


def _row(result: SearchResult, *, full: bool) -> Row:
    description = " ".join(result.description.split())
    if not full and len(description) > _MAX_DESCRIPTION_LENGTH:
        description = description[: _MAX_DESCRIPTION_LENGTH - 3] + "..."
    fields = {
        "Name": result.name,
        "Description": description,
        "StarCount": str(result.stars),
        "IsOfficial": "[OK]" if result.official else "",
        "IsAutomated": "[OK]" if result.automated else "",
    }
    data = {
        "name": result.name,
        "description": result.description,
        "stars": result.stars,
        "official": result.official,
        "automated": result.automated,
    }
    return Row(fields, data)


command = Command(
    _configure,
    _run,
    """
hythe search centos
hythe search registry.example.com/cent --filter stars=3
hythe search --no-trunc --limit 5 127.0.0.1:5000/app
""",
)
