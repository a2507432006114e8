"""What a worker, the process that forks, and the process of a build send each other, each message as JSON.

Messages of a build go through pipes, a line each; requests to fork through a socket that keeps messages apart.
"""

from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import msgspec

from hythe.worker.isolation.selection import Isolation
from hythe.worker.protocol import BuildOutcome, Job


class BuildStart(msgspec.Struct, frozen=True):
    """The first and only message to the process: a build, and the hub that it belongs to.

    ``deadline`` is a time of CLOCK_MONOTONIC, which all processes share. ``groups`` are the folders of the build's
    control group; empty: this machine has none.
    """

    job: Job
    hub_url: str
    worker_token: str
    isolation: Isolation
    deadline: float
    groups: dict[str, str] = {}


class LogLine(msgspec.Struct, frozen=True, tag=True):
    """A line for the log, with its secrets not masked yet."""

    text: str


class LogFull(msgspec.Struct, frozen=True, tag=True):
    """The log has reached its limit, and further lines are discarded."""


class HiddenTexts(msgspec.Struct, frozen=True, tag=True):
    """More texts to mask in the log."""

    texts: tuple[str, ...]


class StepBegan(msgspec.Struct, frozen=True, tag=True):
    """A step of the build began; times are in seconds since the epoch."""

    name: str
    time: float


class StepEnded(msgspec.Struct, frozen=True, tag=True):
    """A step ended. ``number`` counts from 0."""

    number: int
    time: float


class Closing(msgspec.Struct, frozen=True, tag=True):
    """The build's work is over, and its disk is being released."""


class Ended(msgspec.Struct, frozen=True, tag=True):
    """The last message: how the build ended."""

    outcome: BuildOutcome


BuildMessage: TypeAlias = LogLine | LogFull | HiddenTexts | StepBegan | StepEnded | Closing | Ended
"""What the process sends."""


class ForkRequest(msgspec.Struct, frozen=True, tag=True):
    """Start a process for a build, with the descriptors that come along as its standard input and output."""


class ForkReply(msgspec.Struct, frozen=True):
    """The ID of the new process; 0 if there is none, and why."""

    pid: int
    error: str = ""


class ExitRequest(msgspec.Struct, frozen=True, tag=True):
    """Has a process ended? Until the reply says so, no other process gets its ID."""

    pid: int


class ExitReply(msgspec.Struct, frozen=True):
    """The exit code of a process, or minus the signal that ended it; None while it runs."""

    code: int | None


Reply = TypeVar("Reply", ForkReply, ExitReply)

MAX_REQUEST_SIZE = 1024
"""Maximum bytes of a request to fork and of its reply."""


def encode_message(message: BuildMessage | BuildStart) -> bytes:
    """Return a message as a line."""
    return msgspec.json.encode(message, enc_hook=str) + b"\n"


def decode_message(line: bytes) -> BuildMessage:
    """Return the message in a line. Raises MsgspecError."""
    found: BuildMessage = msgspec.json.decode(line, type=BuildMessage)
    return found


def decode_start(line: bytes) -> BuildStart:
    """Return the message in a line. Raises MsgspecError."""
    return msgspec.json.decode(line, type=BuildStart, dec_hook=_path)


def encode_request(request: ForkRequest | ExitRequest) -> bytes:
    """Return a request to the process that forks."""
    return msgspec.json.encode(request)


def decode_request(message: bytes) -> ForkRequest | ExitRequest:
    """Return the request in a message. Raises MsgspecError."""
    found: ForkRequest | ExitRequest = msgspec.json.decode(message, type=ForkRequest | ExitRequest)
    return found


def encode_reply(reply: ForkReply | ExitReply) -> bytes:
    """Return the reply to a request."""
    return msgspec.json.encode(reply)


def decode_reply(message: bytes, kind: type[Reply]) -> Reply:
    """Return the reply in a message. Raises MsgspecError."""
    return msgspec.json.decode(message, type=kind)


def _path(wanted: type, value: Any) -> Path:
    if wanted is not Path:
        raise NotImplementedError(wanted)
    return Path(value)
