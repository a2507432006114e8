"""Docker's credential helpers: programs ``docker-credential-NAME`` that keep secrets for us."""

from json import dumps, loads
from typing import NamedTuple

from hythe.client.credentials import ANONYMOUS, Credential
from hythe.client.errors import ClientError

TOKEN_USER = "<token>"  # noqa: S105 - the user name by which helpers mark an identity token
MISS = "credentials not found"
"""Part of what every helper says when it has nothing."""
_SECONDS = 30


class HelperOutput(NamedTuple):
    """What a helper printed, and its exit code."""

    words: str
    code: int


class HelperFailed(ClientError):
    """A credential helper is missing, or did not do what it was asked."""


def get(helper: str, server: str) -> Credential:
    """Return what the helper keeps for ``server``; anonymous when it has nothing. Raises HelperFailed."""
    answer = _run(helper, "get", server)
    if answer.code != 0:
        if MISS in answer.words:
            return ANONYMOUS
        raise _failure(helper, answer)
    try:
        fields = loads(answer.words)
        name, secret = str(fields["Username"]), str(fields["Secret"])
    except (ValueError, KeyError, TypeError) as error:
        raise HelperFailed(f"docker-credential-{helper} answered {answer.words[:100]!r}") from error
    return Credential(identity_token=secret) if name == TOKEN_USER else Credential(name, secret)


def store(helper: str, server: str, credential: Credential) -> None:
    """Give the helper a credential to keep; raises HelperFailed."""
    name = TOKEN_USER if credential.identity_token else credential.username
    secret = credential.identity_token or credential.password
    answer = _run(helper, "store", dumps({"ServerURL": server, "Username": name, "Secret": secret}))
    if answer.code != 0:
        raise _failure(helper, answer)


def erase(helper: str, server: str) -> None:
    """Let the helper forget ``server``; raises HelperFailed. That it knew nothing is no failure."""
    answer = _run(helper, "erase", server)
    if answer.code != 0 and MISS not in answer.words:
        raise _failure(helper, answer)


def _run(helper: str, verb: str, words: str) -> HelperOutput:
    import subprocess  # most users have no helper, and a command starts sooner without

    command = [f"docker-credential-{helper}", verb]
    try:
        done = subprocess.run(command, input=words, capture_output=True, text=True, timeout=_SECONDS, check=False)
    except FileNotFoundError as error:
        raise HelperFailed(f"{command[0]} is not installed", "install it, or take it out of config.json") from error
    except subprocess.TimeoutExpired as error:
        raise HelperFailed(f"{command[0]} {verb} did not answer in {_SECONDS} seconds") from error
    return HelperOutput(done.stdout if done.returncode == 0 else done.stdout + done.stderr, done.returncode)


def _failure(helper: str, answer: HelperOutput) -> HelperFailed:
    return HelperFailed(f"docker-credential-{helper}: {answer.words.strip() or f'exit code {answer.code}'}")
