"""Exchanges the ID token of a CI job for a token that works for minutes (keyless CI, in the form of RFC 8693)."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Annotated, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta
from sqlalchemy.exc import IntegrityError

from hythe.database import Database, Session
from hythe.hub.access.actions import HubAction
from hythe.hub.accounts.namespaces import could_be_name
from hythe.hub.actor import HubActor
from hythe.hub.errors import IssuerUnavailable, Refused, SignInNeeded, TooManyAttempts
from hythe.hub.logs import audit
from hythe.hub.sign_in.failure_report import reporting
from hythe.hub.sql import namespaces as namespace_store
from hythe.hub.sql import tokens as token_store
from hythe.hub.sql import trust_rules as store
from hythe.hub.sql.token_limits import words_of
from hythe.hub.sql.tokens import NewTokenRow
from hythe.hub.tokens.issuers import TrustedIssuers
from hythe.hub.tokens.personal_token import TokenKind, digest_of, new_token_secret
from hythe.hub.tokens.robots import robot_name
from hythe.hub.tokens.trust_rule import TrustRule
from hythe.identity_providers.errors import IdTokenRejected, ProviderUnavailable
from hythe.identity_providers.id_token import AudienceRule, IdToken, only_for, parse_id_token

MAX_SIZE = 16 * 1024
"""Maximum characters of the ID token of a job."""

MAX_LIVE_TOKENS = 1000
"""Maximum number of tokens of a namespace that trust rules gave and that still work."""


class ExchangeRequest(msgspec.Struct, frozen=True):
    """An ID token to exchange. ``username``: the namespace, or ``NAMESPACE+RULE``.

    Without RULE, the oldest rule of the namespace that trusts the token applies.
    """

    username: Annotated[str, Meta(min_length=1, max_length=80)]
    subject_token: Annotated[str, Meta(min_length=1, max_length=20_000)]
    subject_token_type: Literal["urn:ietf:params:oauth:token-type:id_token", "urn:ietf:params:oauth:token-type:jwt"] = (
        "urn:ietf:params:oauth:token-type:id_token"  # noqa: S105 (a type)
    )
    grant_type: Literal["urn:ietf:params:oauth:grant-type:token-exchange"] = (
        "urn:ietf:params:oauth:grant-type:token-exchange"
    )


class ExchangedToken(msgspec.Struct, frozen=True):
    """The token, which is also the password of ``username`` for ``docker login``. ``expires_in`` is in seconds.

    ``scope`` has its rights, and ``repositories`` the names and patterns that it is limited to.
    """

    access_token: str
    username: str
    expires_in: int
    scope: str
    repositories: tuple[str, ...]
    issued_token_type: str = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 (a type)
    token_type: str = "Bearer"  # noqa: S105 (a type)


class TokenExchange:
    """Exchanges ID tokens by the trust rules of namespaces."""

    def __init__(
        self, database: Database, issuers: TrustedIssuers, clock: Callable[[], datetime], public_url: str = ""
    ) -> None:
        self._database = database
        self._issuers = issuers
        self._clock = clock
        self._public_url = public_url.rstrip("/")

    @property
    def audience(self) -> str:
        """The audience that ID tokens must be issued for; empty if the hub has no public URL."""
        return self._public_url

    async def exchange(self, request: ExchangeRequest, address: str = "") -> ExchangedToken:
        """Return a token for an ID token that a rule trusts, to a client at ``address``.

        Raises SignInNeeded, Refused, IssuerUnavailable, TooManyAttempts.
        """
        with reporting("ID token", request.username, address):
            return await self._exchange(request, address)

    async def _exchange(self, request: ExchangeRequest, address: str) -> ExchangedToken:
        if not self._public_url:
            raise Refused("this hub cannot check the audience of ID tokens", "ask its operator to set public_url")
        token = _parsed(request.subject_token)
        namespace, _, rule_name = request.username.partition("+")
        owner_id, rules = await self._rules(namespace, rule_name, token.issuer)
        if owner_id is None or not rules:
            # Before any request to the issuer, and without a word on which of the two it is.
            raise Refused(
                f"no trust rule of {request.username!r} names the issuer {token.issuer[:255]!r}",
                "compare it with the rule: https:// and a slash at the end count",
            )
        host = urlsplit(self._public_url).netloc
        audiences = {self._public_url, f"{self._public_url}/", host, f"https://{host}"}
        await self._verify(token, only_for(audiences), owner_id)
        rule = next((rule for rule in rules if rule.trusts(token.claims)), None)
        if rule is None:
            raise Refused(
                f"no trust rule of {request.username!r} trusts the subject {token.subject!r}",
                "compare it, and the other claims, with the rule",
            )
        actor = HubActor(
            robot_name(namespace, rule.name),
            address=address,
            credential=f"ID token of {token.issuer} ({token.subject})",
        )
        return await self._give(actor, namespace, owner_id, rule, token)

    async def _verify(self, token: IdToken, require_audience: AudienceRule, account_id: int) -> None:
        try:
            await self._issuers.verify(token, require_audience, account_id, self._clock())
        except IdTokenRejected as error:
            raise SignInNeeded(error.message, error.hint) from error
        except ProviderUnavailable as error:
            raise IssuerUnavailable(error.message, error.hint) from error

    async def _rules(self, namespace: str, rule_name: str, issuer: str) -> tuple[int | None, tuple[TrustRule, ...]]:
        if not could_be_name(namespace) or "\0" in issuer + rule_name:
            return None, ()
        async with self._database.reading() as session:
            found = await namespace_store.by_name(session, namespace)
            if found is None or found.user_id is None:
                return None, ()
            rules = await store.by_issuer(session, found.user_id, issuer)
        return found.user_id, tuple(rule for rule in rules if rule_name in ("", rule.name))

    async def _give(
        self, actor: HubActor, namespace: str, owner_id: int, rule: TrustRule, token: IdToken
    ) -> ExchangedToken:
        now = self._clock()
        lifetime = timedelta(minutes=rule.lifetime_minutes)
        secret = new_token_secret(TokenKind.CI)
        row = NewTokenRow(
            owner_id,
            TokenKind.CI,
            rule.name,
            digest_of(secret),
            rule.rights,
            rule.repositories,
            now + lifetime,
            rule.id,
            token.subject,
        )
        try:
            async with self._database.writing() as session:
                await store.add_exchanged(session, token.digest, token.ends_at, now)
                present = await store.by_name(session, owner_id, rule.name)
                if present is None or _unused(present) != _unused(rule):
                    raise Refused("the trust rule has just been changed", "try again with a new ID token")
                await self._add(session, row, rule, now, actor.address)
                detail = {"subject": token.subject, "expires_at": row.expires_at}
                action = HubAction.EXCHANGE_ID_TOKEN
                await audit.record(
                    session, actor, action, actor.name, namespace=namespace, detail=detail, at=self._clock()
                )
        except IntegrityError as error:
            raise SignInNeeded("this ID token was exchanged before", "request a new one for each login") from error
        return ExchangedToken(
            secret,
            actor.name,
            int(lifetime.total_seconds()),
            words_of(rule.rights),
            rule.repositories,
        )

    async def _add(self, session: Session, row: NewTokenRow, rule: TrustRule, now: datetime, address: str) -> None:
        await token_store.remove_expired_of_rules(session, now)
        if await token_store.count(session, row.user_id, TokenKind.CI, MAX_LIVE_TOKENS) >= MAX_LIVE_TOKENS:
            raise TooManyAttempts(60, f"the trust rules of a namespace give at most {MAX_LIVE_TOKENS} tokens at a time")
        await token_store.add(session, row, now)
        await store.mark_used(session, rule.id, now, address)


def _unused(rule: TrustRule) -> TrustRule:
    """Return a rule without its last use: another job can use it at the same time."""
    return msgspec.structs.replace(rule, used_at=None, used_from="")


def _parsed(text: str) -> IdToken:
    try:
        return parse_id_token(text, MAX_SIZE)
    except IdTokenRejected as error:
        raise SignInNeeded(error.message, error.hint) from error
