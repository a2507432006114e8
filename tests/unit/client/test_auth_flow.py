"""The token flow as a table: requests for each challenge and credential, and results for each response."""

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
    """Responds to an authentication flow's requests in order, and records them."""

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


def test_an_anonymous_token() -> None:
    """Token specification, "Requesting a Token": service and scope in the query, no Authorization."""
    server = Server(token(token="t", expires_in=300))

    assert run(BEARER, ANONYMOUS, server) == Authorization("Bearer t", 300)
    assert server.requests[0].method == "GET"
    assert server.requests[0].url.startswith("https://auth.example.com/token?")
    assert server.query == {"service": ["registry.example.com"], "scope": ["repository:ann/app:pull"]}
    assert "Authorization" not in server.requests[0].headers


def test_a_password_is_sent_as_basic() -> None:
    """Several scopes are several parameters."""
    server = Server(token(access_token="t"))

    assert run(BEARER, ANN, server, BOTH) == Authorization("Bearer t", 60)
    assert server.query["scope"] == ["repository:ann/app:pull,push", "repository:bob/base:pull"]
    assert server.query["account"] == ["ann"]
    assert server.requests[0].headers["Authorization"] == f"Basic {ANN.encoded}"


def test_login_requests_a_refresh_token_without_scopes() -> None:
    """The refresh token becomes the identity token."""
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
def test_the_password_is_posted_if_get_is_unsupported(status: int) -> None:
    """Some token servers only support the OAuth form."""
    server = Server(HTTPResponse(status), token(access_token="t"))

    assert run(BEARER, ANN, server).header == "Bearer t"
    assert server.form["grant_type"] == ["password"]
    assert server.form["username"] == ["ann"]


def test_a_registry_token_needs_no_server() -> None:
    """It is used as is."""
    assert run(BEARER, Credential(registry_token="rt"), Server()).header == "Bearer rt"


def test_basic_authentication() -> None:
    """docker-registry with htpasswd."""
    assert run('Basic realm="x"', ANN, Server()).header == f"Basic {ANN.encoded}"


def test_bearer_is_preferred_to_basic() -> None:
    """A registry that offers both prefers tokens."""
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
def test_unsupported_challenges_are_explained(
    challenge: str, credential: Credential, answer: HTTPResponse, words: str
) -> None:
    """Every error says why, and what to do."""
    with pytest.raises(AccessDenied, match=words) as caught:
        run(challenge, credential, Server(answer))

    assert caught.value.hint


@pytest.mark.parametrize("answer", [HTTPResponse(200, {}, b"{}"), HTTPResponse(200, {}, b"no JSON"), HTTPResponse(500)])
def test_a_response_without_a_token_is_an_error(answer: HTTPResponse) -> None:
    """It is neither an approval nor a refusal."""
    with pytest.raises(RegistryError):
        run(BEARER, ANN, Server(answer))


def test_the_minimum_token_lifetime() -> None:
    """Token specification: clients must not assume less than 60 seconds."""
    assert run(BEARER, ANN, Server(token(token="t", expires_in=5))).seconds == 60


def test_a_token_is_shared_and_renewed_when_rejected() -> None:
    """A token that expires during a push is replaced once for all threads."""
    server = Server(token(token="one", expires_in=300), token(token="two", expires_in=300))
    authorizer = Authorizer(lambda: ANN, server)
    first = authorizer.answer_challenge(BEARER, "", PULL)

    assert authorizer.header(PULL) == first == "Bearer one"
    assert len(server.requests) == 1
    assert authorizer.answer_challenge(BEARER, first, PULL) == "Bearer two"
    assert authorizer.answer_challenge(BEARER, first, PULL) == "Bearer two"
    assert len(server.requests) == 2


def test_a_token_is_renewed_before_it_expires(monkeypatch: pytest.MonkeyPatch) -> None:
    """No request is sent with a token that would expire during it."""
    clock = [1000.0]
    monkeypatch.setattr("hythe.client.authorizer.time.monotonic", lambda: clock[0])
    server = Server(token(token="one", expires_in=300), token(token="two", expires_in=300))
    authorizer = Authorizer(lambda: ANN, server)
    authorizer.answer_challenge(BEARER, "", PULL)
    clock[0] += 290

    assert authorizer.header(PULL) == "Bearer two"


def test_each_set_of_scopes_has_its_token() -> None:
    """The scope in the registry's challenge is requested as well."""
    server = Server(token(token="one"), token(token="two"))
    authorizer = Authorizer(lambda: ANN, server)
    authorizer.answer_challenge(f'{BEARER},scope="repository:ann/app:delete"', "", PULL)

    assert server.query["scope"] == ["repository:ann/app:pull,delete"]
    assert authorizer.header(BOTH) == "Bearer two"


def test_an_opaque_scope_is_passed_on() -> None:
    """public.ecr.aws requires the scope ``aws``: hythe's own grammar does not apply to a server's words."""
    server = Server(token(token="t"), token(token="t"))
    authorizer = Authorizer(lambda: ANONYMOUS, server)
    authorizer.answer_challenge(f'{BEARER},scope="aws"', "", PULL)

    assert server.query["scope"] == ["repository:ann/app:pull", "aws"]
    run(f'{BEARER},scope="aws"', Credential(identity_token="idt"), server)
    assert server.form["scope"] == ["repository:ann/app:pull aws"]


def test_login_requests_no_scope_of_the_challenge() -> None:
    """As docker: the token of a login is for no repository."""
    server = Server(token(token="t"))
    run(f'{BEARER},scope="aws"', ANN, server, (), offline=True)

    assert "scope" not in server.query


@pytest.mark.parametrize(
    ("realm", "url"),
    [
        ("/token", "https://registry.example.com/token"),
        ("token?a=b", "https://registry.example.com/v2/ann/token?a=b"),
        ("//auth.example.com/token", "https://auth.example.com/token"),
        ("https://auth.example.com/token", "https://auth.example.com/token"),
    ],
)
def test_a_relative_realm_is_on_the_registry(realm: str, url: str) -> None:
    """It is resolved against the URL of the request that was challenged."""
    server = Server(token(token="t"))
    authorizer = Authorizer(lambda: ANN, server)
    authorizer.answer_challenge(f'Bearer realm="{realm}"', "", (), "https://registry.example.com/v2/ann/tags")

    assert server.requests[0].url.partition("account")[0].rstrip("?&") == url


@pytest.mark.parametrize("realm", ["", "ftp://h/t", "https://", "https://h:x/t", "https://[::1/t", "https://h:0/t"])
def test_basic_replaces_an_unusable_token_server(realm: str) -> None:
    """A realm that is no URL is an error only if the server offers nothing else."""
    assert run(f'Bearer realm="{realm}", Basic realm="x"', ANN, Server()).header == f"Basic {ANN.encoded}"
    with pytest.raises(AccessDenied, match="is not a URL"):
        run(f'Bearer realm="{realm}"', ANN, Server())


@pytest.mark.parametrize("challenge", ['Negotiate, NTLM, Basic realm="x"', 'basic Realm=x, Digest realm="y"'])
def test_unsupported_schemes_do_not_hide_basic(challenge: str) -> None:
    """The server offers them in addition."""
    assert run(challenge, ANN, Server()).header == f"Basic {ANN.encoded}"
