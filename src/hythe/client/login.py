"""Login: credentials are verified before they are saved (distribution's token specification)."""

from hythe.client.auth_flow import authorize
from hythe.client.authorizer import run_auth_flow
from hythe.client.client import Client
from hythe.client.credentials import Credential
from hythe.client.errors import AccessDenied, RegistryError
from hythe.client.session import error_from
from hythe.oci.challenge import parse_challenges


def check_credential(client: Client, host: str, credential: Credential) -> Credential:
    """Verify a credential and return the one to save: with an identity token if the registry sent one.

    Raises AccessDenied if it is rejected, RegistryError for any other unexpected response.
    """
    session = client.session(host, credential=credential)
    anonymous = client.session(host, credential=Credential())
    with anonymous.ping() as stream:
        response = stream.read()
    if response.status == 200:
        return credential  # anonymous access is allowed; other requests will be challenged
    if response.status != 401:
        raise error_from(response, session, "GET /v2/")
    challenges = parse_challenges(response.headers.get("www-authenticate", ""))
    flow = authorize(challenges, credential, (), offline=True, base=f"{anonymous.base}/v2/")
    authorization = run_auth_flow(flow, anonymous.exchange)
    with anonymous.ping(authorization.header) as stream:
        response = stream.read()
    if response.status in (401, 403):
        raise AccessDenied("unauthorized: incorrect username or password", "check both and try again")
    if response.status != 200:
        raise RegistryError(f"{host} returned status {response.status} for GET /v2/", status=response.status)
    if authorization.refresh_token:
        return Credential(
            username=credential.username, identity_token=authorization.refresh_token, email=credential.email
        )
    return credential
