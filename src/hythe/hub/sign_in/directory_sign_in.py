"""Sign-in with a name and password of the LDAP directory: in pages, by ``docker login`` and by the API alike."""

from hythe.hub.actor import HubActor
from hythe.hub.errors import Invalid, ProviderDown, Refused, Taken
from hythe.hub.sign_in.credentials import DIRECTORY_PASSWORD
from hythe.hub.sign_in.identity_accounts import IdentityAccounts, NewAccount, suggested_name
from hythe.hub.sql.identities import IdentityHolder
from hythe.identity_providers.errors import IdentityRejected, ProviderUnavailable
from hythe.identity_providers.external_identity import ExternalIdentity
from hythe.identity_providers.ldap.directory import Directory

MAX_NAME_LENGTH = 255


class DirectorySignIn:
    """Finds or makes the accounts of the directory's users."""

    def __init__(self, directory: Directory, accounts: IdentityAccounts) -> None:
        self._directory = directory
        self._accounts = accounts

    async def sign_in(self, name: str, password: str, address: str) -> IdentityHolder | None:
        """Return the account of the directory's user with this name and password; None if no user has both.

        Raises ProviderDown, Refused, AccountBlocked, TooManyAttempts.
        """
        if not name or len(name) > MAX_NAME_LENGTH or not name.isprintable():
            return None
        try:
            identity = await self._directory.identify(name, password)
        except ProviderUnavailable as error:
            raise ProviderDown(
                error.message, "try again later; accounts with a password of this hub can still sign in"
            ) from error
        except IdentityRejected as error:
            raise Refused(error.message, error.hint) from error
        if identity is None:
            return None
        actor = HubActor(name, address=address, credential=DIRECTORY_PASSWORD)
        found = await self._accounts.sign_in(identity, self._directory.rules, actor)
        return found or await self._create(identity, actor)

    async def _create(self, identity: ExternalIdentity, actor: HubActor) -> IdentityHolder:
        if not identity.email:
            raise Refused("your entry in the LDAP directory has no e-mail address", "ask an administrator to add one")
        new = NewAccount(suggested_name(identity), identity.email, confirmed=True)
        try:
            return await self._accounts.create(identity, self._directory.rules, new, actor)
        except (Taken, Invalid) as error:
            what = " and ".join("user name" if field == "username" else "e-mail address" for field in error.fields)
            problem = " and ".join(dict.fromkeys(error.fields.values()))
            raise Refused(
                f"the {what} of your entry in the LDAP directory {problem} on this hub", "ask an administrator"
            ) from error
