"""The verbs of ``hythe admin`` and ``hythe registry`` for backups, and for moves of database and blobs."""

from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hythe.cli.command import CommandFailed
from hythe.cli.output import Column, Row, add_list_flags, print_list
from hythe.cli.setting_flags import add_setting_flags, load_settings
from hythe.cli.task_progress import TaskBar
from hythe.cli.units import human_size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hythe.backup.vault import BackupManifest, MissingBlob
    from hythe.server.backups import Installation

PLACE_FLAGS = ("data", "database_url", "blob_store")
"""The settings that say where an installation's data is."""

PLACE_HELP = "a folder, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX"
INVALID_CONTENT = 6
"""The exit code for damaged content (docs/exit-codes.md)."""

_COLUMNS = (
    Column("NAME", "Name"),
    Column("VERSION", "Version"),
    Column("DATABASE", "Database"),
    Column("ROWS", "Rows"),
    Column("BLOBS", "Blobs"),
    Column("SIZE", "Size"),
    Column("MISSING", "Missing"),
)


def add_backup(verbs: Any, kind: str, defaults: Mapping[str, str]) -> None:
    """Add the verbs to those of a command.

    ``verbs`` is the result of ``add_subparsers``, ``kind`` that of the installation, ``defaults`` are its settings.
    """
    flags = (*PLACE_FLAGS, "secret_key") if kind == "hub" else PLACE_FLAGS

    def add(name: str, meaning: str, handler: Callable[["Installation", Namespace], int]) -> ArgumentParser:
        verb: ArgumentParser = verbs.add_parser(name, help=meaning)
        verb.set_defaults(handler=lambda arguments: handler(_installation(arguments, kind, defaults), arguments))
        add_setting_flags(verb, flags)
        return verb

    backup = add("backup", "back up database and blobs; the server can keep running", _back_up)
    backup.add_argument("--keep", type=_count, default=0, metavar="N", help="then delete all but the newest N backups")
    backup.add_argument(
        "--verify",
        choices=("sizes", "new", "full"),
        default="new",
        help="read back no blobs, those that were copied (default), or all that the backup needs",
    )
    backups: ArgumentParser = verbs.add_parser("backups", help="list the backups in a place, oldest first")
    backups.set_defaults(handler=_list)
    add_list_flags(backups)
    restore = add("restore-backup", "restore a backup into an empty installation", _restore)
    restore.add_argument("--at", metavar="NAME", help="which backup (default: the newest one)")
    restore.add_argument(
        "--existing-blobs", action="store_true", help="only the database is lost: add what the blob store lacks"
    )
    if kind == "hub":
        restore.add_argument("--without-secret-key", action="store_true", help="restore although secret.key is lost")
    for verb in (backup, backups, restore):
        verb.add_argument("place", metavar="PLACE", help=PLACE_HELP)
    for verb in (backup, restore):
        verb.add_argument(
            "--passphrase-file",
            type=Path,
            metavar="FILE",
            help="passphrase of encrypted backups, as the file's content",
        )
    migrate = add("migrate", "move the database to another engine, while no server runs", _migrate)
    migrate.add_argument("--to", required=True, metavar="URL", help="postgresql://.., or sqlite for the data folder")
    copy = add("copy-blobs", "copy all blobs to another blob store; the server can keep running", _copy_blobs)
    copy.add_argument("--to", required=True, metavar="URL", help="s3://.., gs:// or az://, or a data folder")
    copy.add_argument(
        "--finish",
        action="store_true",
        help="after the servers were stopped: copy the rest, and switch to the new store",
    )


def _installation(arguments: Namespace, kind: str, defaults: Mapping[str, str]) -> "Installation":
    from hythe.registry.installation import Kind
    from hythe.server.backups import Installation

    return Installation(load_settings(arguments, defaults).settings, Kind(kind))


def _back_up(installation: "Installation", arguments: Namespace) -> int:
    import asyncio

    from hythe.server.backups import BackupPlan, back_up

    _require_database(installation)
    plan = BackupPlan(arguments.place, _passphrase(arguments), arguments.verify, arguments.keep)
    with TaskBar() as progress:
        manifest, pruned = asyncio.run(back_up(installation, plan, progress))
    print(f"made the backup {manifest.name}: {_amount(manifest)}")
    if pruned is not None:
        print(f"deleted {pruned.backups} backups and {pruned.blobs} blobs with {human_size(pruned.bytes)}")
    if manifest.key_fingerprint is not None and not manifest.secret_key:
        print("the backup does not contain the key that seals secrets: keep a copy of secret.key in another place")
    _report_missing(manifest.missing, "they are missing in the backup: run 'verify', and push their images again")
    return 0


def _list(arguments: Namespace) -> int:
    import asyncio

    from hythe.server.backups import backups_in

    print_list([_row(manifest) for manifest in asyncio.run(backups_in(arguments.place))], _COLUMNS, arguments, "Name")
    return 0


def _row(manifest: "BackupManifest") -> Row:
    import msgspec

    fields = {
        "Name": manifest.name,
        "Version": manifest.version,
        "Database": manifest.engine,
        "Rows": str(manifest.rows),
        "Blobs": str(manifest.blobs),
        "Size": human_size(manifest.blob_size),
        "Missing": str(len(manifest.missing)),
    }
    return Row(fields, msgspec.to_builtins(manifest))


def _restore(installation: "Installation", arguments: Namespace) -> int:
    import asyncio

    from hythe.server.backups import RestorePlan, restore

    plan = RestorePlan(
        arguments.place,
        _passphrase(arguments),
        arguments.at,
        arguments.existing_blobs,
        getattr(arguments, "without_secret_key", False),
    )
    with TaskBar() as progress:
        manifest, missing = asyncio.run(restore(installation, plan, progress))
    print(f"restored {manifest.name}: {_amount(manifest)}")
    _report_missing((*manifest.missing, *missing), "all else was restored: push the images again that need them")
    return 0


def _migrate(installation: "Installation", arguments: Namespace) -> int:
    import asyncio

    from hythe.server.backups import migrate

    _require_database(installation)
    if arguments.to != "sqlite" and not arguments.to.startswith(("postgresql://", "postgres://")):
        raise CommandFailed(
            f"invalid database: {arguments.to}", "use postgresql://USER:PASSWORD@HOST/NAME, or sqlite", 2
        )
    with TaskBar() as progress:
        contents = asyncio.run(migrate(installation, arguments.to, progress))
    rows = sum(content.rows for content in contents)
    print(f"moved {rows} rows in {len(contents)} tables, and compared them")
    if arguments.to == "sqlite":
        print("now remove database_url from the settings and start the server; then drop the old database")
    else:
        old = installation.settings.data_folder / "hythe.db"
        print(f"now set database_url to that URL and start the server; then delete {old}")
    return 0


def _copy_blobs(installation: "Installation", arguments: Namespace) -> int:
    import asyncio

    from hythe.server.backups import copy_blobs

    _require_database(installation)
    with TaskBar() as progress:
        done = asyncio.run(copy_blobs(installation, arguments.to, progress, finish=arguments.finish))
    hint = "run 'verify', push their images again or delete them, and run copy-blobs again"
    _report_missing(done.missing, hint)
    if arguments.finish:
        print(f"copied the last {done.left} blobs; every recorded blob is there")
        print(f"{_next_step(arguments.to, installation)}; the old blobs can be deleted afterwards")
    else:
        print("copied all blobs that are there now: stop the servers, and run the same command with --finish")
    return 0


def _next_step(to: str, installation: "Installation") -> str:
    if "://" in to:
        return f"now set blob_store to {to} and start the server"
    if Path(to).expanduser().absolute() == installation.settings.data_folder:
        return "now remove blob_store from the settings and start the server"
    return f"now move what is left in the data folder to {to}, set data to it without blob_store, and start the server"


def _amount(manifest: "BackupManifest") -> str:
    return f"{manifest.rows} rows, {manifest.blobs} blobs, {human_size(manifest.blob_size)}"


def _report_missing(missing: "Sequence[MissingBlob]", hint: str) -> None:
    for blob in missing:
        print(f"{blob.digest}: {blob.problem}")
    if missing:
        raise CommandFailed(f"{len(missing)} blobs are missing or damaged", hint, INVALID_CONTENT)


def _require_database(installation: "Installation") -> None:
    from hythe.database.opening import sqlite_in_use

    settings = installation.settings
    if not settings.database_url and not sqlite_in_use(settings.data_folder):
        raise CommandFailed(
            f"there is no {installation.kind.title} in {settings.data_folder}",
            "use --data FOLDER with the folder that the server prints",
        )


def _passphrase(arguments: Namespace) -> bytes | None:
    if arguments.passphrase_file is None:
        return None
    passphrase: bytes = arguments.passphrase_file.read_bytes().strip()
    if not passphrase:
        raise CommandFailed(f"{arguments.passphrase_file} is empty", "write a passphrase into it")
    return passphrase


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise ArgumentTypeError(f"{text!r} is not a number of at least 1")
    return int(text)
