"""The token handshake, as a table: what is sent for which challenge and credential, and what comes of the answers."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest

from hythe.client.auth_flow import Authorization, authorize
from hythe.client.authorizer import Authorizer, run_auth_flow
from hythe.client.credentials import ANONYMOUS, Credential
from hythe.client.errors import AccessDenied, RegistryError
from hythe.client.http1 import HTTPRequest, HTTPResponse
from hythe.oci.challenge import parse_challenges
from hythe.oci.scope import Scope

BEARER = 'Bearer realm="https://auth.example.com/token",service="registry.example.com"'
PULL = (Scope.repository("ann/app", "pull"),)
BOTH = (Scope.repository("ann/app", "pull", "push"), Scope.repository("bob/base", "pull"))
ANN = Credential("ann", "pw")


def token(**fields: object) -> HTTPResponse:
    return HTTPResponse(200, {}, msgspec.json.encode(fields))


class Server:
    """Answers a handshake's requests in turn and keeps them."""

    def __init__(self, *answers: HTTPResponse) -> None:
        self.requests: list[HTTPRequest] = []
        self._answers = list(answers)

    def __call__(self, request: HTTPRequest) -> HTTPResponse:
        self.requests.append(request)
        return self._answers.pop(0)

    @property
    def query(self) -> dict[str, list[str]]:
        return parse_qs(urlsplit(self.requests[-1].url).query)

    @property
    def form(self) -> dict[str, list[str]]:
        return parse_qs(self.requests[-1].body.decode())


def run(
    challenge: str, credential: Credential, server: Server, scopes: tuple[Scope, ...] = PULL, **more: bool
) -> Authorization:
    return run_auth_flow(authorize(parse_challenges(challenge), credential, scopes, **more), server)


def test_nobody_gets_a_token_by_a_plain_get() -> None:
    """Token specification, "Requesting a Token": service and scope in the query, no Authorization."""
    server = Server(token(token="t", expires_in=300))

    assert run(BEARER, ANONYMOUS, server) == Authorization("Bearer t", 300)
    assert server.requests[0].method == "GET"
    assert server.requests[0].url.startswith("https://auth.example.com/token?")
    assert server.query == {"service": ["registry.example.com"], "scope": ["repository:ann/app:pull"]}
    assert "Authorization" not in server.requests[0].headers


def test_a_password_goes_as_basic_with_the_account_named() -> None:
    """Several scopes are several parameters."""
    server = Server(token(access_token="t"))

    assert run(BEARER, ANN, server, BOTH) == Authorization("Bearer t", 60)
    assert server.query["scope"] == ["repository:ann/app:pull,push", "repository:bob/base:pull"]
    assert server.query["account"] == ["ann"]
    assert server.requests[0].headers["Authorization"] == f"Basic {ANN.encoded}"


def test_logging_in_asks_for_a_refresh_token_and_no_scope() -> None:
    """What comes back becomes the identity token."""
    server = Server(token(token="t", refresh_token="r"))

    assert run(BEARER, ANN, server, (), offline=True).refresh_token == "r"
    assert server.query["offline_token"] == ["true"]
    assert server.query["client_id"] == ["hythe"]
    assert "scope" not in server.query


def test_an_identity_token_is_posted_as_a_form() -> None:
    """OAuth specification: grant_type=refresh_token, scopes joined by spaces."""
    server = Server(token(access_token="t"))
    run(BEARER, Credential(identity_token="idt"), server, BOTH)

    assert server.requests[0].method == "POST"
    assert server.requests[0].url == "https://auth.example.com/token"
    assert server.form == {
        "grant_type": ["refresh_token"],
        "refresh_token": ["idt"],
        "service": ["registry.example.com"],
        "client_id": ["hythe"],
        "scope": ["repository:ann/app:pull,push repository:bob/base:pull"],
    }


@pytest.mark.parametrize("status", [404, 405])
def test_where_get_is_not_served_the_password_is_posted(status: int) -> None:
    """Some token servers know the OAuth form alone."""
    server = Server(HTTPResponse(status), token(access_token="t"))

    assert run(BEARER, ANN, server).header == "Bearer t"
    assert server.form["grant_type"] == ["password"]
    assert server.form["username"] == ["ann"]


def test_a_registry_token_needs_no_server() -> None:
    """It is used as it is."""
    assert run(BEARER, Credential(registry_token="rt"), Server()).header == "Bearer rt"


def test_basic_is_answered_by_basic() -> None:
    """docker-registry with htpasswd."""
    assert run('Basic realm="x"', ANN, Server()).header == f"Basic {ANN.encoded}"


def test_bearer_is_preferred_to_basic() -> None:
    """A registry that offers both means tokens."""
    assert run(f'Basic realm="x", {BEARER}', ANN, Server(token(token="t"))).header == "Bearer t"


@pytest.mark.parametrize(
    ("challenge", "credential", "answer", "words"),
    [
        ('Basic realm="x"', ANONYMOUS, HTTPResponse(200), "authentication required"),
        ("Negotiate", ANN, HTTPResponse(200), "offers negotiate"),
        ("", ANN, HTTPResponse(200), "offers no scheme"),
        ('Bearer service="s"', ANN, HTTPResponse(200), "realm '' is not a URL"),
        (
            BEARER,
            ANN,
            HTTPResponse(401, {}, b'{"details":"incorrect username or password"}'),
            "incorrect username or password",
        ),
        (BEARER, ANN, HTTPResponse(403, {}, b'{"errors":[{"code":"DENIED","message":"locked"}]}'), "locked"),
        (BEARER, ANONYMOUS, HTTPResponse(401, {}, b"<html>"), "refused anonymous access"),
    ],
)
def test_what_cannot_be_answered_is_denied_with_words(
    challenge: str, credential: Credential, answer: HTTPResponse, words: str
) -> None:
    """Every refusal says why, and what to do."""
    with pytest.raises(AccessDenied, match=words) as caught:
        run(challenge, credential, Server(answer))

    assert caught.value.hint


@pytest.mark.parametrize("answer", [HTTPResponse(200, {}, b"{}"), HTTPResponse(200, {}, b"no JSON"), HTTPResponse(500)])
def test_an_answer_without_a_token_is_the_registrys_fault(answer: HTTPResponse) -> None:
    """Neither yes nor no."""
    with pytest.raises(RegistryError):
        run(BEARER, ANN, Server(answer))


def test_a_token_lives_a_minute_at_least() -> None:
    """Token specification: clients must not assume less than 60 seconds."""
    assert run(BEARER, ANN, Server(token(token="t", expires_in=5))).seconds == 60


def test_a_token_is_asked_for_once_and_renewed_when_refused() -> None:
    """A token that ends in the middle of a push is replaced; who comes second gets the one just asked for."""
    server = Server(token(token="one", expires_in=300), token(token="two", expires_in=300))
    authorizer = Authorizer(lambda: ANN, server)
    first = authorizer.answer_challenge(BEARER, "", PULL)

    assert authorizer.header(PULL) == first == "Bearer one"
    assert len(server.requests) == 1
    assert authorizer.answer_challenge(BEARER, first, PULL) == "Bearer two"
    assert authorizer.answer_challenge(BEARER, first, PULL) == "Bearer two"
    assert len(server.requests) == 2


def test_a_token_is_renewed_before_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """No request leaves with a token that would end on its way."""
    clock = [1000.0]
    monkeypatch.setattr("hythe.client.authorizer.time.monotonic", lambda: clock[0])
    server = Server(token(token="one", expires_in=300), token(token="two", expires_in=300))
    authorizer = Authorizer(lambda: ANN, server)
    authorizer.answer_challenge(BEARER, "", PULL)
    clock[0] += 290

    assert authorizer.header(PULL) == "Bearer two"


def test_other_scopes_are_another_token() -> None:
    """And the scope that the registry itself names is asked for, too."""
    server = Server(token(token="one"), token(token="two"))
    authorizer = Authorizer(lambda: ANN, server)
    authorizer.answer_challenge(f'{BEARER},scope="repository:ann/app:delete"', "", PULL)

    assert server.query["scope"] == ["repository:ann/app:pull,delete"]
    assert authorizer.header(BOTH) == "Bearer two"
