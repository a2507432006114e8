"""``hythe verify --log``: checks that every move of a tag is in the hub's log, which only grows.

The key of a hub's log is trusted at first use. Afterwards each checkpoint must continue the last one that this client
saw, and with ``--checkpoint`` one that someone else saw.
"""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from hythe.cli.command import CommandFailed
from hythe.cli.output import print_json
from hythe.cli.units import exact_time
from hythe.client.client import Client
from hythe.client.errors import RegistryError, RemoteNotFound, as_client_errors
from hythe.client.known_logs import KnownLog, KnownLogs
from hythe.client.session import error_from
from hythe.client.urls import is_http_url
from hythe.control_characters import escape_line
from hythe.oci.reference import DEFAULT_NAMESPACE, Reference
from hythe.oci.scope import PULL, Scope

if TYPE_CHECKING:
    from hythe.transparency.checkpoint import Checkpoint
    from hythe.transparency.note import VerifierKey
    from hythe.transparency.verification import LogPage, VerifiedHistory

TAMPERED = 6
"""Exit code: the log contradicts itself, what was seen before, or what the registry serves (docs/exit-codes.md)."""

LOG = "/api/v1/tag-log"
ATTEMPTS = 4
PAUSE = 0.8
"""A new move takes up to about a second to be in the log."""

SHOWN = 10
"""Moves to print."""


class LogVerdict(msgspec.Struct, frozen=True):
    """What was verified."""

    image: str
    digest: str
    moves: tuple[dict[str, Any], ...]
    log: str
    key: str
    size: int
    seen_before: int | None
    """The size of the checkpoint that this client saw before; None: this is the first one."""
    compared_with: int | None
    """The size of the checkpoint of ``--checkpoint``."""
    complete: bool
    earlier_repository_ended: int | None
    checkpoint: str


class HubTagLog:
    """The log of one hub, and a tag's entries in it: a ``TagLogSource`` over HTTP."""

    def __init__(self, client: Client, reference: Reference) -> None:
        self._session = client.session(reference.host, reference.repository)
        self._scopes = (Scope.repository(reference.repository, PULL),)
        self._host = reference.host
        self._tag = reference.tag
        self._authenticated = False
        namespace, _, name = canonical_name(reference).partition("/")
        self._path = f"/api/v1/repositories/{namespace}/{quote(name, safe='')}/tags/{quote(reference.tag or '')}/log"

    def text(self, name: str) -> str:
        """Return the checkpoint or the key. Raises RemoteNotFound if the registry has no log."""
        try:
            return self._get(f"{LOG}/{name}", "the tag log").decode()
        except RemoteNotFound as error:
            raise RemoteNotFound(f"{self._host} has no tag log", "only hythe hubs have one") from error
        except UnicodeDecodeError as error:
            raise RegistryError(f"{self._host} sent an invalid {name}") from error

    def consistency(self, old: int, new: int) -> list[bytes]:
        """See TagLogSource."""
        content = self._get(f"{LOG}/consistency?{urlencode({'old': old, 'new': new})}", "a proof of consistency")
        try:
            return [bytes.fromhex(each) for each in msgspec.json.decode(content, type=dict[str, list[str]])["proof"]]
        except (msgspec.MsgspecError, ValueError, KeyError) as error:
            raise RegistryError(f"{self._host} sent an invalid proof") from error

    def page(self, size: int, before: int) -> "LogPage":
        """See TagLogSource."""
        from hythe.transparency.verification import LogPage

        content = self._get(f"{self._path}?{urlencode({'size': size, 'before': before})}", "the tag's log entries")
        try:
            return msgspec.json.decode(content, type=LogPage)
        except msgspec.MsgspecError as error:
            raise RegistryError(f"{self._host} sent invalid log entries: {error}") from error

    def bundle(self, number: int, width: int) -> bytes:
        """See TagLogSource."""
        from hythe.transparency.tiles import path_of

        return self._get(f"{LOG}/tile/entries/{path_of(number, width)}", "entries of the log")

    @as_client_errors()
    def _get(self, path: str, what: str) -> bytes:
        if not self._authenticated:
            self._session.request_token(self._scopes)
            self._authenticated = True
        response = self._session.request("GET", path, self._scopes)
        if response.status != 200:
            raise error_from(response, self._session, what)
        return response.body


def canonical_name(reference: Reference) -> str:
    """Return the name of the repository in the log: a top-level repository is in the namespace library."""
    name = reference.repository
    return name if "/" in name else f"{DEFAULT_NAMESPACE}/{name}"


def verify_log(
    client: Client, reference: Reference, shared: str = "", *, complete: bool = False, known: KnownLogs | None = None
) -> LogVerdict:
    """Verify a tag's history in the log. ``shared``: the file or URL of a checkpoint that someone else saw.

    Raises CommandFailed if something contradicts the log, and the client's errors.
    """
    if reference.digest is not None or not reference.tag:
        raise CommandFailed("the log is about tags", "name the image with a tag, such as NAME:latest", 2)
    try:
        from hythe.transparency.note import InvalidNote
        from hythe.transparency.verification import TamperedLog
    except ImportError as error:
        raise CommandFailed(
            "verifying signatures needs the package cryptography", "pip install cryptography"
        ) from error
    known = known or KnownLogs()
    try:
        return _Verification(client, reference, known).run(shared, complete=complete)
    except InvalidNote as error:
        raise CommandFailed(
            f"the checkpoint of {reference.host} is not valid: {error}",
            "do not use its images, and ask its operator; a checkpoint for --checkpoint that an earlier key of the log "
            "signed can no longer be compared (docs/tag-log.md)",
            TAMPERED,
        ) from error
    except TamperedLog as error:
        raise CommandFailed(
            f"{reference} does not verify: {error}",
            "do not use this image; ask its owner what moved the tag, and the hub's operator (docs/tag-log.md)",
            TAMPERED,
        ) from error


class _Verification:
    """One run: the key, the checkpoints, the tag's history."""

    def __init__(self, client: Client, reference: Reference, known: KnownLogs) -> None:
        self._client = client
        self._reference = reference
        self._known = known
        self._log = HubTagLog(client, reference)
        self._seen = known.find(reference.host)

    def run(self, shared: str, *, complete: bool) -> LogVerdict:
        from hythe.transparency.checkpoint import open_checkpoint
        from hythe.transparency.note import VerifierKey
        from hythe.transparency.verification import verify_complete, verify_growth

        key = VerifierKey.parse(self._log.text("key"))
        if self._seen is not None and str(key) != self._seen.key:
            raise self._key_changed(self._seen.key, str(key))
        seen = open_checkpoint(self._seen.checkpoint, key) if self._seen else None
        other = open_checkpoint(_read_shared(self._client, shared), key) if shared else None
        checkpoint, note, digest, history = self._verified(key, seen)
        if other is not None:
            verify_growth(other, checkpoint, self._log)
        ended = None
        if complete:
            ended = verify_complete(checkpoint, self._tag, history, self._log)
        return LogVerdict(
            image=str(self._reference),
            digest=digest,
            moves=tuple(msgspec.to_builtins(move) for move in history.moves),
            log=checkpoint.origin,
            key=str(key),
            size=checkpoint.size,
            seen_before=seen.size if seen else None,
            compared_with=other.size if other else None,
            complete=complete,
            earlier_repository_ended=ended,
            checkpoint=note,
        )

    def _key_changed(self, known: str, present: str) -> CommandFailed:
        host = self._reference.host
        return CommandFailed(
            f"the key of the log of {host} changed: it was {known}, and is {present}",
            "ask the hub's operator in another way for the new key (docs/tag-log.md); if it is this one, delete "
            f"{self._known.path(host)}; otherwise do not use the hub's images",
            TAMPERED,
        )

    @property
    def _tag(self) -> str:
        return self._reference.tag or ""

    def _verified(
        self, key: "VerifierKey", seen: "Checkpoint | None"
    ) -> tuple["Checkpoint", str, str, "VerifiedHistory"]:
        """Return the checkpoint, its note, the tag's target and its history, once the newest move is in the log."""
        from hythe.transparency.verification import TargetNotLogged, verify_history

        for attempt in range(ATTEMPTS):
            digest = self._target()
            checkpoint, note = self._checkpoint(key, seen)
            try:
                name = canonical_name(self._reference)
                return checkpoint, note, digest, verify_history(checkpoint, name, self._tag, digest, self._log)
            except TargetNotLogged:
                if attempt + 1 == ATTEMPTS:
                    raise
            time.sleep(PAUSE)
        raise RegistryError(f"{self._reference.host} did not respond")

    def _target(self) -> str:
        repository = self._client.repository(self._reference)
        return str(repository.manifest_digest(self._tag) or repository.get_manifest(self._tag).digest())

    def _checkpoint(self, key: "VerifierKey", seen: "Checkpoint | None") -> tuple["Checkpoint", str]:
        """Return the present checkpoint if it continues the last one, and remember it."""
        from hythe.transparency.checkpoint import open_checkpoint
        from hythe.transparency.verification import verify_growth

        note = self._log.text("checkpoint")
        checkpoint = open_checkpoint(note, key)
        if seen is not None:
            verify_growth(seen, checkpoint, self._log)
        log = KnownLog(str(key), note)
        if log != self._seen:
            self._known.remember(self._reference.host, self._seen, log)
            self._seen = log
        return checkpoint, note


def _read_shared(client: Client, place: str) -> str:
    """Return the checkpoint that someone else saw. Raises OSError, RemoteNotFound, RegistryError."""
    if not is_http_url(place):
        return Path(place).read_text(errors="replace")
    session = client.session(urlsplit(place).netloc)
    response = session.request("GET", place)
    if response.status != 200:
        raise error_from(response, session, "the checkpoint")
    return response.body.decode(errors="replace")


def print_verdict(verdict: LogVerdict, *, as_json: bool) -> None:
    """Print what was verified, and the checkpoint for others to compare with."""
    if as_json:
        print_json(msgspec.to_builtins(verdict))
        return
    print(escape_line(f"{verdict.image} -> {verdict.digest}"))
    for move in verdict.moves[:SHOWN]:
        target = move["digest"] or "deleted"
        print(escape_line(f"  entry {move['number']}  {exact_time(move['at'])}  {move['repository']}  {target}"))
    if len(verdict.moves) > SHOWN:
        print(f"  and {len(verdict.moves) - SHOWN} earlier moves, all in the log")
    seen = verdict.seen_before
    since = "first use: its key is remembered now" if seen is None else f"continues the log of size {seen} seen before"
    print(escape_line(f"log {verdict.log}: size {verdict.size}; {since}"))
    if verdict.compared_with is not None:
        print(f"it continues the checkpoint to compare with, of size {verdict.compared_with}")
    if verdict.complete:
        print("read the whole log: it has no other move of this tag")
    if verdict.earlier_repository_ended is not None:
        print(f"an earlier repository of this name ended at entry {verdict.earlier_repository_ended}")
    print(f"\n{verdict.checkpoint}", end="")
