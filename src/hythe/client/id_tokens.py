"""ID tokens of CI jobs, which a hub exchanges for a password that works for minutes (keyless CI)."""

import os
import urllib.error
import urllib.request
from collections.abc import Mapping
from urllib.parse import urlencode, urlsplit

import msgspec

from hythe.client.client import Client
from hythe.client.credentials import Credential
from hythe.client.error_body import error_reason
from hythe.client.errors import AccessDenied, ClientError, RegistryError, Unreachable
from hythe.client.http1 import HTTPRequest
from hythe.client.session import error_from

TOKEN_VARIABLE = "HYTHE_ID_TOKEN"  # noqa: S105 (a variable's name)
"""Has the ID token in GitLab CI and elsewhere."""

GITHUB_URL = "ACTIONS_ID_TOKEN_REQUEST_URL"
GITHUB_TOKEN = "ACTIONS_ID_TOKEN_REQUEST_TOKEN"  # noqa: S105 (a variable's name)

EXCHANGE_PATH = "/api/v1/oidc/token"

_TIMEOUT = 20
_MAX_SIZE = 64 * 1024
_JSON = {"Content-Type": "application/json", "Accept": "application/json"}


class _JobToken(msgspec.Struct):
    value: str


class _Exchanged(msgspec.Struct):
    access_token: str
    username: str


def id_token_of_job(host: str, environment: Mapping[str, str] = os.environ) -> str:
    """Return the ID token of the running CI job for the hub at ``host``.

    Raises ClientError if the job has none, Unreachable.
    """
    if token := environment.get(TOKEN_VARIABLE, "").strip():
        return token
    url = environment.get(GITHUB_URL, "")
    if url:
        return _github_token(url, environment.get(GITHUB_TOKEN, ""), host)
    hint = f"GitHub Actions: permissions: id-token: write. GitLab CI: id_tokens: {TOKEN_VARIABLE}: aud: https://{host}"
    if environment.get("GITHUB_ACTIONS"):
        raise ClientError("this job may not request an ID token", "add to the job: permissions: id-token: write")
    raise ClientError("there is no ID token here", hint)


def _github_token(url: str, request_token: str, host: str) -> str:
    """Request a token for the audience from GitHub's endpoint of the running job."""
    if urlsplit(url).scheme != "https":
        raise ClientError(f"{GITHUB_URL} is not an https URL", "run this in a job of GitHub Actions")
    separator = "&" if urlsplit(url).query else "?"
    request = urllib.request.Request(  # noqa: S310 (https, see above)
        f"{url}{separator}{urlencode({'audience': f'https://{host}'})}",
        headers={"Authorization": f"bearer {request_token}", "Accept": "application/json; api-version=2.0"},
    )
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as response:  # noqa: S310 (https, see above)
            return msgspec.json.decode(response.read(_MAX_SIZE), type=_JobToken).value
    except urllib.error.HTTPError as error:
        error.close()
        hint = "add to the job: permissions: id-token: write"
        raise AccessDenied(f"GitHub returned status {error.code} for an ID token", hint) from error
    except (OSError, ValueError) as error:
        raise Unreachable(f"GitHub did not give an ID token: {error}", "run the job again") from error


def exchange_id_token(client: Client, host: str, username: str, id_token: str) -> Credential:
    """Return the name and short-lived password that the hub gives for an ID token.

    Raises AccessDenied if no trust rule of ``username`` (NAMESPACE, or NAMESPACE+RULE) trusts it, RegistryError.
    """
    fields = {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "subject_token_type": "urn:ietf:params:oauth:token-type:id_token",
        "subject_token": id_token,
        "username": username,
    }
    session = client.session(host, credential=Credential())
    with session.ping() as stream:  # finds out whether the server speaks TLS
        stream.read()
    # As it is: a 401 is about the ID token, and no challenge to answer.
    response = session.exchange(
        HTTPRequest("POST", f"{session.base}{EXCHANGE_PATH}", _JSON, msgspec.json.encode(fields))
    )
    if response.status in (404, 405):
        raise RegistryError(f"{host} does not exchange ID tokens", "log in with a password or token", status=404)
    if response.status in (401, 403, 422):
        raise AccessDenied(error_reason(response.body) or f"{host} refused the ID token", "see docs/keyless-ci.md")
    if response.status != 200:
        raise error_from(response, session, "the exchange of the ID token")
    try:
        exchanged = msgspec.json.decode(response.body, type=_Exchanged)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise RegistryError(f"invalid response of {host} to an ID token", status=200) from error
    return Credential(exchanged.username, exchanged.access_token)
