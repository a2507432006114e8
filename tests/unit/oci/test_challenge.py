"""What ``WWW-Authenticate`` offers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hythe.oci.challenge import Challenge, parse_challenges

NTLM, NEGOTIATE = Challenge("ntlm", {}), Challenge("negotiate", {})
BEARER = {"realm": "https://auth.docker.io/token", "service": "registry.docker.io"}


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", ()),
        ("Basic", (Challenge("basic", {}),)),
        ('Basic realm="a b"', (Challenge("basic", {"realm": "a b"}),)),
        (
            'Bearer realm="https://auth.docker.io/token",service="registry.docker.io"',
            (Challenge("bearer", BEARER),),
        ),
        (
            'BEARER  Realm = "https://auth.docker.io/token" , SERVICE=registry.docker.io',
            (Challenge("bearer", BEARER),),
        ),
        (
            'Bearer realm="r",scope="repository:a/b:pull,push",error="insufficient_scope"',
            (Challenge("bearer", {"realm": "r", "scope": "repository:a/b:pull,push", "error": "insufficient_scope"}),),
        ),
        (
            'Basic realm="one", Bearer realm="two"',
            (Challenge("basic", {"realm": "one"}), Challenge("bearer", {"realm": "two"})),
        ),
        ('Negotiate, Basic realm="x"', (Challenge("negotiate", {}), Challenge("basic", {"realm": "x"}))),
        ('Negotiate YIIG+/a==, Basic realm="x"', (Challenge("negotiate", {}), Challenge("basic", {"realm": "x"}))),
        ('NTLM, Negotiate TlRM, Basic realm="a, b"', (NTLM, NEGOTIATE, Challenge("basic", {"realm": "a, b"}))),
        (
            "Bearer realm=https://h/t?a=1,service=s",
            (Challenge("bearer", {"realm": "https://h/t?a=1", "service": "s"}),),
        ),
        ('Bearer realm="r";service="s" scope=""', (Challenge("bearer", {"realm": "r", "service": "s", "scope": ""}),)),
        ('Bearer realm="r",scope="a",scope="b c"', (Challenge("bearer", {"realm": "r", "scope": "a b c"}),)),
        ('Bearer realm="r', (Challenge("bearer", {"realm": "r"}),)),
        ('="x", Basic realm="y",,', (Challenge("basic", {"realm": "y"}),)),
        ('Bearer realm=,service="s"', (Challenge("bearer", {"service": "s"}),)),
        (r'Basic realm="a \"quoted\" \\ one"', (Challenge("basic", {"realm": r'a "quoted" \ one'}),)),
    ],
)
def test_challenges_are_read(header: str, expected: tuple[Challenge, ...]) -> None:
    """Schemes and names in any case, quoted values and plain ones, several challenges in one header."""
    assert expected == parse_challenges(header)


VALUE = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20)


@given(
    st.lists(
        st.builds(
            Challenge,
            st.sampled_from(("basic", "bearer", "digest")),
            st.dictionaries(st.sampled_from(("realm", "service", "scope")), VALUE, min_size=1),
        ),
        max_size=3,
    )
)
def test_challenges_mean_themselves(challenges: list[Challenge]) -> None:
    """What is written is read again, whatever the values hold."""
    assert tuple(challenges) == parse_challenges(", ".join(map(str, challenges)))


@given(st.text(max_size=200))
def test_any_header_is_read(header: str) -> None:
    """A malformed header offers what could be read of it, and never fails."""
    assert all(challenge.scheme == challenge.scheme.lower() for challenge in parse_challenges(header))
