"""Docker's credential helpers: programs named ``docker-credential-NAME`` that store secrets."""

from json import dumps, loads
from typing import NamedTuple

from hythe.client.credentials import ANONYMOUS, Credential
from hythe.client.errors import ClientError

TOKEN_USER = "<token>"  # noqa: S105 - the user name that marks an identity token
NOT_FOUND = "credentials not found"
"""Part of every helper's error message if it has no credential."""
_TIMEOUT = 30


class HelperOutput(NamedTuple):
    """A helper's output and exit code."""

    text: str
    code: int


class HelperFailed(ClientError):
    """A credential helper is not installed, or failed."""


def get(helper: str, server: str) -> Credential:
    """Return the helper's credential for ``server``, ANONYMOUS if it has none. Raises HelperFailed."""
    result = _run(helper, "get", server)
    if result.code != 0:
        if NOT_FOUND in result.text:
            return ANONYMOUS
        raise _failure(helper, result)
    try:
        fields = loads(result.text)
        name, secret = str(fields["Username"]), str(fields["Secret"])
    except (ValueError, KeyError, TypeError) as error:
        raise HelperFailed(f"docker-credential-{helper} returned invalid output: {result.text[:100]!r}") from error
    return Credential(identity_token=secret) if name == TOKEN_USER else Credential(name, secret)


def store(helper: str, server: str, credential: Credential) -> None:
    """Store a credential in the helper; raises HelperFailed."""
    name = TOKEN_USER if credential.identity_token else credential.username
    secret = credential.identity_token or credential.password
    result = _run(helper, "store", dumps({"ServerURL": server, "Username": name, "Secret": secret}))
    if result.code != 0:
        raise _failure(helper, result)


def erase(helper: str, server: str) -> None:
    """Erase the credential for ``server``, if the helper has one; raises HelperFailed."""
    result = _run(helper, "erase", server)
    if result.code != 0 and NOT_FOUND not in result.text:
        raise _failure(helper, result)


def _run(helper: str, verb: str, text: str) -> HelperOutput:
    import subprocess  # few users have a helper, and commands start faster without it

    command = [f"docker-credential-{helper}", verb]
    try:
        done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=_TIMEOUT, check=False)
    except FileNotFoundError as error:
        raise HelperFailed(f"{command[0]} is not installed", "install it, or remove it from config.json") from error
    except subprocess.TimeoutExpired as error:
        raise HelperFailed(f"{command[0]} {verb} timed out after {_TIMEOUT} seconds") from error
    except (OSError, UnicodeDecodeError) as error:
        raise HelperFailed(
            f"{command[0]} cannot be run: {error}", "repair it, or remove it from config.json"
        ) from error
    return HelperOutput(done.stdout if done.returncode == 0 else done.stdout + done.stderr, done.returncode)


def _failure(helper: str, result: HelperOutput) -> HelperFailed:
    return HelperFailed(f"docker-credential-{helper}: {result.text.strip() or f'exit code {result.code}'}")
