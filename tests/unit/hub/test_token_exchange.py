"""Keyless CI: which ID tokens are exchanged for tokens, and what hostile clients and issuers cannot do."""

import asyncio
import hmac
import json
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from joserfc.jwk import ECKey, RSAKey
from tests.parts.ci_issuer import DISCOVERY, KEYS, CIIssuer, running_issuer
from tests.parts.docker_registry import Certificate
from tests.parts.process import free_port
from tests.unit.hub.services import Services
from tests.unit.hub.test_credentials import basic

from hythe.egress.policy import EgressPolicy
from hythe.hub.actor import HubActor, Right
from hythe.hub.errors import Invalid, IssuerUnavailable, Refused, SignInNeeded, Taken
from hythe.hub.repositories.repositories import NewRepository
from hythe.hub.tokens import issuers
from hythe.hub.tokens.issuers import TrustedIssuers
from hythe.hub.tokens.robots import NewRobot
from hythe.hub.tokens.token_exchange import ExchangeRequest, TokenExchange
from hythe.hub.tokens.trust_rules import NewTrustRule, TrustRuleChange
from hythe.identity_providers import discovery
from hythe.identity_providers.errors import ProviderUnavailable
from hythe.identity_providers.id_token import only_for, parse_id_token
from hythe.oci.errors import WireError

HUB = "https://hub.example.com"
SUBJECT = "repo:acme/web:ref:refs/heads/main"
PUSH = (Right.READ, Right.WRITE)


@pytest.fixture
def issuer(certificate: Certificate, monkeypatch: pytest.MonkeyPatch) -> Iterator[CIIssuer]:
    """An issuer whose certificate the hub trusts."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.ca))
    with running_issuer(certificate) as running:
        yield running


class Exchanges:
    """A hub that exchanges ID tokens, and the time that its cache of keys sees."""

    def __init__(self, services: Services, policy: EgressPolicy) -> None:
        services.clock.now = datetime.now(UTC)
        self.services = services
        self.seconds = 0.0
        self.issuers = TrustedIssuers(policy, lambda: self.seconds)
        self.service = TokenExchange(services.database, self.issuers, services.clock, HUB)

    def __call__(self, token: str, username: str = "ann", address: str = "192.0.2.1") -> Any:
        """Exchange a token."""
        return self.services.run(self.service.exchange(ExchangeRequest(username, token), address))

    def rule(self, owner: HubActor, issuer: CIIssuer, **changed: Any) -> Any:
        """Create a rule that trusts the issuer's usual job."""
        values = {"name": "deploy", "issuer": issuer.url, "subject": "repo:acme/web:*", "rights": PUSH, **changed}
        return self.services.run(self.services.hub.trust_rules.create(owner, owner.name, NewTrustRule(**values)))


@pytest.fixture
def exchange(services: Services) -> Exchanges:
    """Exchanges on a hub that may connect to this machine."""
    return Exchanges(services, EgressPolicy.parse("127.0.0.1"))


def test_a_job_gets_rights_for_minutes(
    services: Services, exchange: Exchanges, issuer: CIIssuer, ann: HubActor
) -> None:
    """The token pushes to the repositories of the rule until it expires, or the rule goes; histories name the rule."""
    exchange.rule(ann, issuer, repositories=("ann/web",), claims={"ref": "refs/heads/*", "repository_owner_id": "65"})
    services.run(services.hub.repositories.create(ann, NewRepository("ann", "db")))

    given = exchange(issuer.id_token(HUB))
    actor = services.run(services.hub.credentials.by_header(basic("ann+deploy", given.access_token)))
    services.push(actor, "ann/web")

    assert (given.username, given.expires_in, given.repositories) == ("ann+deploy", 900, ("ann/web",))
    assert given.scope == "repo:read repo:write"
    assert actor.credential == f"trust rule deploy ({SUBJECT})"
    with pytest.raises(WireError):
        services.push(actor, "ann/db")
    with pytest.raises(Refused):
        services.run(services.hub.personal_tokens.list(actor))
    services.clock.forward(minutes=15)
    with pytest.raises(SignInNeeded):
        services.run(services.hub.credentials.by_token(given.access_token))
    services.clock.forward(minutes=-15)
    change = TrustRuleChange(lifetime_minutes=5)
    services.run(services.hub.trust_rules.change(ann, "ann", "deploy", change))
    with pytest.raises(SignInNeeded):
        services.run(services.hub.credentials.by_token(given.access_token))
    assert exchange(issuer.id_token(HUB)).expires_in == 300
    assert issuer.requests == [DISCOVERY, KEYS]


def test_when_and_from_where_a_rule_was_used(
    services: Services, exchange: Exchanges, issuer: CIIssuer, ann: HubActor
) -> None:
    """The last exchange counts; jobs of a rule at the same time do not disturb each other; a change keeps both."""
    rules = services.hub.trust_rules

    def used() -> tuple[datetime | None, str]:
        rule = services.run(rules.get(ann, "ann", "deploy"))
        return rule.used_at, rule.used_from

    exchange.rule(ann, issuer)
    assert used() == (None, "")
    exchange(issuer.id_token(HUB))
    assert used() == (services.clock.now, "192.0.2.1")
    services.clock.forward(minutes=1)
    address = "2001:db8:1234:5678:9abc:def0:1234:5678"
    exchange(issuer.id_token(HUB), address=address)
    assert used() == (services.clock.now, address)
    services.run(rules.change(ann, "ann", "deploy", TrustRuleChange(lifetime_minutes=5)))
    assert used() == (services.clock.now, address)

    async def together() -> None:
        sent = [
            exchange.service.exchange(ExchangeRequest("ann", issuer.id_token(HUB)), f"192.0.2.{number}")
            for number in (7, 8)
        ]
        await asyncio.gather(*sent)

    services.run(together())
    assert used()[1] in {"192.0.2.7", "192.0.2.8"}


WRONG: tuple[tuple[dict[str, Any], type[Exception], str], ...] = (
    ({"aud": "https://other.example.com"}, SignInNeeded, "another audience"),
    ({"aud": [HUB, "https://other.example.com"]}, SignInNeeded, "another audience"),
    ({"aud": None}, SignInNeeded, "another audience"),
    ({"sub": "repo:evil/web:ref:refs/heads/main"}, Refused, "subject"),
    ({"repository_owner_id": "66"}, Refused, "claims"),
    ({"iss": "https://evil.example.com"}, Refused, "names the issuer"),
    ({"exp": timedelta(seconds=-61)}, SignInNeeded, "has expired"),
    ({"iat": timedelta(seconds=900)}, SignInNeeded, "not valid yet"),
    ({"nbf": timedelta(seconds=900)}, SignInNeeded, "not valid yet"),
    ({"iat": timedelta(seconds=-7 * 3600)}, SignInNeeded, "older than 6 hours"),
    ({"exp": None}, SignInNeeded, "must be a signed JWT"),
    ({"exp": 1e300}, SignInNeeded, "must be a signed JWT"),
)
"""Claims (times as distances from now), the error and what its message says."""


def test_wrong_claims(exchange: Exchanges, issuer: CIIssuer, ann: HubActor) -> None:
    """Each wrong claim is refused with what is wrong about it; clocks may differ by a minute."""
    exchange.rule(ann, issuer, claims={"repository_owner_id": "65"})
    now = int(exchange.services.clock.now.timestamp())
    for claims, error, message in WRONG:
        timely = {
            name: now + int(value.total_seconds()) if isinstance(value, timedelta) else value
            for name, value in claims.items()
        }
        with pytest.raises(error, match=message):
            exchange(issuer.id_token(HUB, **timely))
    exchange(issuer.id_token(HUB, exp=now - 40))
    exchange(issuer.id_token("hub.example.com", iat=now + 40, nbf=now + 40))


def test_replay(exchange: Exchanges, issuer: CIIssuer, ann: HubActor) -> None:
    """An ID token is exchanged once, also without jti."""
    exchange.rule(ann, issuer)
    for token in (issuer.id_token(HUB), issuer.id_token(HUB, jti=None)):
        exchange(token)
        with pytest.raises(SignInNeeded, match="exchanged before"):
            exchange(token)


def test_an_unknown_issuer_is_not_contacted(
    exchange: Exchanges, issuer: CIIssuer, ann: HubActor, ben: HubActor
) -> None:
    """Only issuers that a rule of the namespace names are; namespaces that do not exist look the same."""
    exchange.rule(ann, issuer)
    for username in ("ben", "ghost", "ann+other", "ann\0", "../x"):
        with pytest.raises(Refused, match="names the issuer"):
            exchange(issuer.id_token(HUB), username)
    assert issuer.requests == []


def test_forged_signatures(exchange: Exchanges, issuer: CIIssuer, ann: HubActor) -> None:
    """Another key, none, and the public key used as a shared secret sign nothing."""
    exchange.rule(ann, issuer)
    genuine, key = issuer.id_token(HUB), issuer.key
    _, payload, signature = genuine.split(".")
    signed = f"{_part({'alg': 'HS256', 'kid': key.kid})}.{payload}"
    shared = hmac.digest(key.as_pem(private=False), signed.encode(), "sha256")
    forged = [
        f"{signed}.{urlsafe_b64encode(shared).decode().rstrip('=')}",
        f"{_part({'alg': 'none', 'kid': key.kid})}.{payload}.",
        f"{_part({'alg': 'RS256', 'kid': key.kid, 'crit': ['b64'], 'b64': False})}.{payload}.{signature}",
        f"{_part({'alg': 'ES256', 'kid': key.kid})}.{payload}.{signature}",
        genuine[:-10] + "AAAAAAAAAA",
        "x", "a.b.c", "..", "é.é.é", f"{_part([])}.{_part([])}.x", _part({"alg": "RS256"}) + "." + "A" * 20_000 + ".x",
    ]  # fmt: skip
    issuer.key = RSAKey.generate_key(2048, auto_kid=True)
    issuer.key.ensure_kid()
    forged.append(issuer.sign(issuer.claims(HUB), kid=key.kid))
    issuer.key = key
    for token in forged:
        with pytest.raises(SignInNeeded):
            exchange(token)
    exchange(genuine)


def _part(value: object) -> str:
    return urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def test_new_keys(exchange: Exchanges, issuer: CIIssuer, ann: HubActor) -> None:
    """An unknown key makes the hub look again, at most once a minute; EC keys work, too."""
    exchange.rule(ann, issuer)
    exchange(issuer.id_token(HUB))
    issuer.key = ECKey.generate_key("P-256", auto_kid=True)
    for _ in range(3):
        with pytest.raises(SignInNeeded):
            exchange(issuer.id_token(HUB))
    assert len(issuer.requests) == 2
    exchange.seconds += discovery.MIN_KEY_INTERVAL
    exchange(issuer.id_token(HUB))
    assert len(issuer.requests) == 4


def _huge(issuer: CIIssuer) -> None:
    issuer.documents[KEYS] = b'{"keys": [' + b" " * issuers.MAX_SIZE + b"]}"


def _many_keys(issuer: CIIssuer) -> None:
    issuer.documents[KEYS] = json.dumps({"keys": [{"kty": "RSA"}] * 101}).encode()


def _huge_key(issuer: CIIssuer) -> None:
    key = {**issuer.key.as_dict(private=False), "n": "_" * 20_000}
    issuer.documents[KEYS] = json.dumps({"keys": [key]}).encode()


def _another(issuer: CIIssuer) -> None:
    issuer.documents[DISCOVERY] = json.dumps({"issuer": "https://a.example", "jwks_uri": issuer.url + KEYS}).encode()


def _plain(issuer: CIIssuer) -> None:
    document = {"issuer": issuer.url, "jwks_uri": f"http://{issuer.url.removeprefix('https://')}{KEYS}"}
    issuer.documents[DISCOVERY] = json.dumps(document).encode()


def _metadata_service(issuer: CIIssuer) -> None:
    document = {"issuer": issuer.url, "jwks_uri": "https://169.254.169.254/latest"}
    issuer.documents[DISCOVERY] = json.dumps(document).encode()


def _slow(issuer: CIIssuer) -> None:
    issuer.delay = 1.0


def _nonsense(issuer: CIIssuer) -> None:
    issuer.documents[DISCOVERY] = b"[" * 5000


HOSTILE: tuple[tuple[Callable[[CIIssuer], None], str], ...] = (
    (_huge, "larger than 65536 bytes"),
    (_many_keys, "more than 100 keys"),
    (_huge_key, "not signed by a key"),
    (_another, "another issuer"),
    (_plain, "not an https URL"),
    (_metadata_service, "not on the public internet"),
    (_slow, "no response within 0.5 seconds"),
    (_nonsense, "sent an invalid response"),
)


def test_hostile_issuers(exchange: Exchanges, issuer: CIIssuer, ann: HubActor, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an owner's issuer responds with takes neither memory nor time, and is not asked again for a minute."""
    monkeypatch.setattr(issuers, "TIMEOUT", 0.5)
    exchange.rule(ann, issuer)
    for misbehave, message in HOSTILE:
        issuer.documents.clear()
        issuer.delay, exchange.seconds = 0.0, exchange.seconds + 2 * discovery.STALE
        misbehave(issuer)
        started = time.monotonic()
        for _ in range(2):
            with pytest.raises((IssuerUnavailable, SignInNeeded), match=message):
                exchange(issuer.id_token(HUB))
        assert time.monotonic() - started < 2, message
        assert len(issuer.requests) <= 2, message
        issuer.requests.clear()


def test_a_private_network(services: Services, issuer: CIIssuer, ann: HubActor) -> None:
    """Without the setting, an issuer at an address of this machine is not contacted."""
    exchange = Exchanges(services, EgressPolicy())
    exchange.rule(ann, issuer)
    with pytest.raises(IssuerUnavailable, match="internal_networks"):
        exchange(issuer.id_token(HUB))
    assert issuer.requests == []


def test_an_issuer_that_is_not_there(exchange: Exchanges, ann: HubActor, caplog: pytest.LogCaptureFixture) -> None:
    """The owner of a rule does not learn what the network says of a host; the operator does, in the log."""
    absent = CIIssuer(f"https://127.0.0.1:{free_port()}")
    exchange.rule(ann, absent)
    with pytest.raises(IssuerUnavailable) as caught:
        exchange(absent.id_token(HUB))

    assert caught.value.message == f"cannot connect to {absent.url}"
    assert f"cannot connect to {absent.url}: " in caplog.text


def test_caches_of_accounts_are_separate(
    services: Services, exchange: Exchanges, issuer: CIIssuer, ann: HubActor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An account with many issuers displaces its own keys, not those of others."""
    monkeypatch.setattr(issuers, "MAX_ISSUERS_OF_ACCOUNT", 2)

    async def look(account_id: int, *urls: str) -> None:
        for url in urls:
            token = parse_id_token(issuer.id_token(HUB, iss=url))
            try:
                await exchange.issuers.verify(token, only_for({HUB}), account_id, services.clock())
            except ProviderUnavailable:
                continue

    services.run(look(1, issuer.url))
    services.run(look(2, *(f"https://127.0.0.1:1/{number}" for number in range(5))))
    services.run(look(1, issuer.url))
    assert len(issuer.requests) == 2
    assert len(exchange.issuers._cache) == 3


def test_rules_that_trust_too_many(exchange: Exchanges, services: Services, ann: HubActor) -> None:
    """A rule must say whose jobs of a public CI system it trusts; robots and rules share names."""
    github = "https://token.actions.githubusercontent.com"
    for issuer, subject in (
        (github, "*"), (github, "repo:acme*"), (github, "repo:*/web:*"), ("https://gitlab.com", "project_path:*"),
        ("http://ci.example.com", "x"), ("https://ann@ci.example.com", "x"), ("https://ci.example.com", "**"),
        ("https://[", "x"), ("https://ci.example.com?x", "x"),
    ):  # fmt: skip
        rule = NewTrustRule("x", issuer, subject, PUSH)
        with pytest.raises(Invalid):
            services.run(services.hub.trust_rules.create(ann, "ann", rule))
    by_claim = NewTrustRule("x", github, "*", PUSH, claims={"repository_owner_id": "65"})
    services.run(services.hub.trust_rules.create(ann, "ann", by_claim))
    with pytest.raises(Taken):
        services.run(services.hub.robots.create(ann, "ann", NewRobot("x", PUSH)))
