"""Wires all services of the hub to one database."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from argon2 import PasswordHasher

from hythe.database import Database
from hythe.database.liveness import DatabaseLiveness
from hythe.database.maintenance import Maintenance, for_upkeep, maintenance_of
from hythe.egress.policy import EgressPolicy
from hythe.hub.access.decision import HubAccess
from hythe.hub.accounts.account_events import AccountListener
from hythe.hub.accounts.email_addresses import EmailAddresses
from hythe.hub.accounts.plan import Plan
from hythe.hub.accounts.sign_ups import SignUpLimit
from hythe.hub.accounts.user_administration import UserAdministration
from hythe.hub.accounts.users import UserService
from hythe.hub.actor import SECOND_SITE
from hythe.hub.administration.administration import Administration, make_administration
from hythe.hub.logs.audit_log import AuditLog
from hythe.hub.logs.tag_log import TagLogService
from hythe.hub.logs.tag_log_sequencer import TagLogSequencer
from hythe.hub.mail.mail import MailQueue, MailService
from hythe.hub.mail.mail_links import MailLinks
from hythe.hub.mail.mailer import Mailer
from hythe.hub.organizations.invitations import Invitations, InvitationService
from hythe.hub.organizations.members import MemberService
from hythe.hub.organizations.organizations import OrganizationService
from hythe.hub.organizations.teams import TeamService
from hythe.hub.renaming.relocation import Relocation
from hythe.hub.renaming.renames import RenameService
from hythe.hub.renaming.transfers import TransferService
from hythe.hub.repositories.collaborators import CollaboratorService
from hythe.hub.repositories.descriptions import Descriptions
from hythe.hub.repositories.images import ImageService
from hythe.hub.repositories.platforms import Platforms
from hythe.hub.repositories.pulls import PullCounter
from hythe.hub.repositories.registry_listener import HubRegistryListener
from hythe.hub.repositories.repositories import RepositoryService
from hythe.hub.repositories.tags import TagService
from hythe.hub.search.search import SearchService
from hythe.hub.secret_box import SecretBox, SecretBoxError
from hythe.hub.sign_in.account_throttle import AccountThrottle
from hythe.hub.sign_in.confirmations import ConfirmationService
from hythe.hub.sign_in.credentials import CredentialService
from hythe.hub.sign_in.directory_sign_in import DirectorySignIn
from hythe.hub.sign_in.factor_checks import FactorChecks
from hythe.hub.sign_in.identities import IdentityService
from hythe.hub.sign_in.identity_accounts import IdentityAccounts
from hythe.hub.sign_in.login_throttle import LoginThrottle
from hythe.hub.sign_in.passkeys import Passkeys
from hythe.hub.sign_in.password_resets import PasswordResets
from hythe.hub.sign_in.passwords import DEFAULT_HASHER, Passwords
from hythe.hub.sign_in.pending_sign_ins import PendingSignIns
from hythe.hub.sign_in.second_factors import SecondFactorService
from hythe.hub.sign_in.sessions import SessionService
from hythe.hub.sign_in.sign_in_states import SignInStates
from hythe.hub.tokens.issuers import TrustedIssuers
from hythe.hub.tokens.keys import SigningKeys, open_secret_box
from hythe.hub.tokens.leaked_tokens import LeakedTokenService
from hythe.hub.tokens.personal_tokens import PersonalTokenService
from hythe.hub.tokens.robots import RobotService
from hythe.hub.tokens.token_exchange import TokenExchange
from hythe.hub.tokens.token_terms import TokenTerms
from hythe.hub.tokens.tokens import TokenService
from hythe.hub.tokens.trust_rules import TrustRuleService
from hythe.identity_providers.configured import NO_PROVIDERS, IdentityProviders
from hythe.identity_providers.ldap.directory import Directory, parse_ldap
from hythe.offload import OffloadPool
from hythe.registry.clock import Clock, now
from hythe.registry.mirror.upstreams import Upstreams
from hythe.registry.service import RegistryServices
from hythe.settings import Settings


@dataclass(frozen=True, slots=True)
class HubFoundation:
    """The parts of the hub that the registry needs before it starts: authentication, access and the listener."""

    database: Database
    settings: Settings
    passwords: Passwords
    attempts: LoginThrottle
    secret_box: SecretBox
    keys: SigningKeys
    credentials: CredentialService
    access: HubAccess
    pulls: PullCounter
    listener: HubRegistryListener
    offload: OffloadPool
    clock: Clock
    mailer: Mailer
    mail_queue: MailQueue
    identity_accounts: IdentityAccounts


@dataclass(frozen=True, slots=True)
class HubServices:
    """All services of the hub."""

    collaborators: CollaboratorService
    organizations: OrganizationService
    members: MemberService
    teams: TeamService
    invitations: InvitationService
    tags: TagService
    tag_log: TagLogService
    tag_log_sequencer: TagLogSequencer
    images: ImageService
    search: SearchService
    tokens: TokenService
    personal_tokens: PersonalTokenService
    robots: RobotService
    trust_rules: TrustRuleService
    token_exchange: TokenExchange
    leaked_tokens: LeakedTokenService
    settings: Settings
    access: HubAccess
    credentials: CredentialService
    audit_log: AuditLog
    users: UserService
    administration: UserAdministration
    hub_administration: Administration
    sessions: SessionService
    emails: EmailAddresses
    password_resets: PasswordResets
    mailer: Mailer
    mail_queue: MailQueue
    mail: MailService
    pending_sign_ins: PendingSignIns
    second_factors: SecondFactorService
    confirmations: ConfirmationService
    identities: IdentityService
    repositories: RepositoryService
    renames: RenameService
    transfers: TransferService
    descriptions: Descriptions
    keys: SigningKeys
    liveness: DatabaseLiveness
    maintenance: Maintenance

    def apply(self, settings: Settings) -> None:
        """Take over changed settings."""
        self.users.apply(settings)
        self.identities.accounts.apply(settings)
        self.organizations.apply(settings)
        self.access.closed = settings.require_sign_in
        self.access.confirmed_only = settings.require_confirmed_email
        self.sessions.apply(settings.session_lifetime)
        self.mailer.apply(settings)
        self.tokens.apply(settings.token_lifetime)
        self.personal_tokens.terms.apply(settings.token_max_age)
        self.audit_log.apply(settings.audit_retention)
        self.keys.apply(settings)
        self.hub_administration.settings.apply(settings)


@contextlib.asynccontextmanager
async def open_foundation(
    database: Database, settings: Settings, clock: Clock = now, hasher: PasswordHasher = DEFAULT_HASHER
) -> AsyncIterator[HubFoundation]:
    """Load or create the signing keys, and count pulls until the block ends. Raises SecretBoxError."""
    secret_box, keys = await _open_keys(database, settings, clock)
    passwords = Passwords(hasher=hasher)
    upkeep = for_upkeep(database)
    attempts = LoginThrottle(upkeep, secret_box.derive("failed sign-ins"), clock)
    guesses = AccountThrottle(upkeep, clock)
    sign_up_limit = SignUpLimit(database, settings.sign_ups_per_address, clock)
    identity_accounts = IdentityAccounts(database, clock, sign_up_limit, settings)
    credentials = CredentialService(
        upkeep,
        passwords,
        attempts,
        guesses,
        keys,
        clock,
        settings.public_url,
        _directory(settings, identity_accounts),
    )
    credentials.second_site = secret_box.derive(SECOND_SITE) if settings.second_sites else ""
    access = HubAccess(database, credentials, clock, settings.public_url, Upstreams(settings.mirrors).names)
    access.closed = settings.require_sign_in
    access.confirmed_only = settings.require_confirmed_email
    pulls = PullCounter(database)
    listener = HubRegistryListener(access, pulls, clock)
    offload = OffloadPool()
    mailer = Mailer(settings)
    async with _closing(passwords, offload, pulls.run(), keys.run()):
        yield HubFoundation(
            database,
            settings,
            passwords,
            attempts,
            secret_box,
            keys,
            credentials,
            access,
            pulls,
            listener,
            offload,
            clock,
            mailer,
            MailQueue(database, mailer, clock),
            identity_accounts,
        )


async def _open_keys(database: Database, settings: Settings, clock: Clock) -> tuple[SecretBox, SigningKeys]:
    secret_box = await open_secret_box(database, settings)
    keys = SigningKeys(for_upkeep(database), secret_box, clock, timedelta(seconds=settings.token_lifetime))
    try:
        await keys.open()
    except SecretBoxError:
        secret_box.discard_new_file()
        raise
    return secret_box, keys


@contextlib.asynccontextmanager
async def _closing(
    passwords: Passwords, offload: OffloadPool, *background: Coroutine[Any, Any, None]
) -> AsyncIterator[None]:
    """Run the coroutines until the block ends, then close both pools."""
    tasks = [asyncio.create_task(each) for each in background]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        passwords.close()
        offload.close()


def _directory(settings: Settings, accounts: IdentityAccounts) -> DirectorySignIn | None:
    if not settings.ldap:
        return None
    policy = EgressPolicy.parse(settings.internal_networks)
    return DirectorySignIn(Directory(parse_ldap(settings.ldap), policy), accounts)


def make_hub(
    foundation: HubFoundation,
    registry: RegistryServices,
    account_listeners: Sequence[AccountListener] = (),
    providers: IdentityProviders = NO_PROVIDERS,
) -> HubServices:
    """Return the services; all content comes from ``registry``."""
    database, access, clock = foundation.database, foundation.access, foundation.clock
    credentials, keys, settings = foundation.credentials, foundation.keys, foundation.settings
    descriptions = Descriptions(database, foundation.offload)
    administration = UserAdministration(database, access, registry.repositories, account_listeners, clock)
    states = SignInStates(foundation.secret_box, clock)
    pending, factors, confirmations = _second_factors(foundation, states)
    emails, resets = _email(foundation, confirmations)
    relocation = Relocation(account_listeners, clock)
    transfers = TransferService(database, access, relocation, foundation.mail_queue, clock, settings.hub_url)
    groups = (
        *_organization_services(foundation, administration, confirmations),
        *_content_services(foundation, registry),
        *_token_services(foundation),
    )
    return HubServices(
        *groups,
        settings=settings,
        audit_log=AuditLog(database, access, clock, settings.audit_retention),
        access=access,
        credentials=credentials,
        users=_user_service(foundation, emails, confirmations),
        administration=administration,
        hub_administration=make_administration(database, access, registry, transfers, confirmations, clock, settings),
        sessions=SessionService(database, access, credentials, states, clock, settings.session_lifetime),
        emails=emails,
        password_resets=resets,
        mailer=foundation.mailer,
        mail_queue=foundation.mail_queue,
        mail=MailService(database, access, confirmations, foundation.mailer),
        pending_sign_ins=pending,
        second_factors=factors,
        confirmations=confirmations,
        identities=_identity_service(foundation, confirmations, emails, states, providers),
        renames=RenameService(database, access, relocation, account_listeners, clock),
        transfers=transfers,
        repositories=RepositoryService(database, access, registry.repositories, descriptions, clock),
        descriptions=descriptions,
        keys=keys,
        liveness=registry.liveness,
        maintenance=maintenance_of(database),
    )


def _organization_services(
    foundation: HubFoundation, administration: UserAdministration, confirmations: ConfirmationService
) -> tuple[CollaboratorService, OrganizationService, MemberService, TeamService, InvitationService]:
    database, access, clock, settings = foundation.database, foundation.access, foundation.clock, foundation.settings
    sending = Invitations(foundation.mail_queue, clock, settings.public_url)
    return (
        CollaboratorService(database, access, sending, clock),
        OrganizationService(database, access, administration, confirmations, clock, settings),
        MemberService(database, access, confirmations, clock),
        TeamService(database, access, clock),
        InvitationService(database, access, sending, clock),
    )


def _content_services(
    foundation: HubFoundation, registry: RegistryServices
) -> tuple[TagService, TagLogService, TagLogSequencer, ImageService, SearchService]:
    database, access, offload = foundation.database, foundation.access, foundation.offload
    return (
        TagService(database, access, Platforms(registry.blobs, offload), registry.tags, offload),
        TagLogService(database, access),
        TagLogSequencer(database, foundation.secret_box, foundation.settings.public_url),
        ImageService(access, registry.manifests, registry.blobs, offload),
        SearchService(database, access),
    )


def _token_services(
    foundation: HubFoundation,
) -> tuple[TokenService, PersonalTokenService, RobotService, TrustRuleService, TokenExchange, LeakedTokenService]:
    database, access, clock, settings = foundation.database, foundation.access, foundation.clock, foundation.settings
    terms = TokenTerms(clock, settings.token_max_age)
    issuers = TrustedIssuers(EgressPolicy.parse(settings.internal_networks))
    return (
        TokenService(database, access, foundation.credentials, foundation.keys, clock, settings.token_lifetime),
        PersonalTokenService(database, access, clock, terms),
        RobotService(database, access, clock, terms),
        TrustRuleService(database, access, clock),
        TokenExchange(database, issuers, clock, settings.public_url),
        LeakedTokenService(database, foundation.mail_queue, clock, settings.public_url),
    )


def _user_service(foundation: HubFoundation, emails: EmailAddresses, confirmations: ConfirmationService) -> UserService:
    database, clock, settings = foundation.database, foundation.clock, foundation.settings
    return UserService(
        database,
        foundation.access,
        foundation.credentials,
        emails,
        foundation.passwords,
        foundation.attempts,
        confirmations,
        clock,
        sign_up=settings.sign_up,
        sign_up_limit=SignUpLimit(database, settings.sign_ups_per_address, clock),
        plan=Plan.of(settings),
    )


def _identity_service(
    foundation: HubFoundation,
    confirmations: ConfirmationService,
    emails: EmailAddresses,
    states: SignInStates,
    providers: IdentityProviders,
) -> IdentityService:
    return IdentityService(
        foundation.database,
        foundation.access,
        confirmations,
        foundation.identity_accounts,
        emails,
        states,
        foundation.secret_box,
        providers,
        foundation.clock,
    )


def _email(foundation: HubFoundation, confirmations: ConfirmationService) -> tuple[EmailAddresses, PasswordResets]:
    database, access, clock, mail = foundation.database, foundation.access, foundation.clock, foundation.mail_queue
    links = MailLinks(foundation.settings.hub_url, clock)
    emails = EmailAddresses(database, access, foundation.credentials, confirmations, mail, links, clock)
    resets = PasswordResets(database, confirmations, foundation.passwords, foundation.attempts, mail, links, clock)
    return emails, resets


def _second_factors(
    foundation: HubFoundation, states: SignInStates
) -> tuple[PendingSignIns, SecondFactorService, ConfirmationService]:
    database, access, secret_box, clock = (
        foundation.database,
        foundation.access,
        foundation.secret_box,
        foundation.clock,
    )
    passkeys = Passkeys(states, clock)
    guesses = AccountThrottle(for_upkeep(database), clock)
    checks = FactorChecks(database, foundation.attempts, guesses, secret_box, passkeys, clock)
    confirmations = ConfirmationService(database, access, foundation.credentials, checks, passkeys, clock)
    pending = PendingSignIns(database, checks, passkeys, states, clock)
    factors = SecondFactorService(database, access, confirmations, passkeys, states, secret_box, clock)
    return pending, factors, confirmations
