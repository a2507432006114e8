"""The settings ``identity_providers`` and ``ldap``, search filters, names in DNs, and BER from a hostile server."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hythe.identity_providers.account_rules import TeamMapping
from hythe.identity_providers.configured import parse_identity_providers
from hythe.identity_providers.ldap import ber
from hythe.identity_providers.ldap.directory import escape_dn, parse_ldap
from hythe.identity_providers.ldap.filters import InvalidFilter, escape, parse_filter
from hythe.settings import InvalidValue

OIDC = "kc=oidc+https://hythe:s%40cret@id.example/realms/x"
LDAP = "ldaps://cn=hub,dc=x:secret@ldap.example/dc=x"


def test_options_of_a_provider() -> None:
    """Options follow the issuer, encoded as in URLs."""
    (found,) = parse_identity_providers(
        f"{OIDC}?title=The+Company&team=%2Fdevs:acme/devs&scopes=email,groups&sign_up=no"
    )

    assert (found.issuer, found.client.secret) == ("https://id.example/realms/x", "s@cret")
    assert (found.title, found.scopes) == ("The Company", "openid email groups")
    assert (found.rules.sign_up, found.rules.teams) == (False, (TeamMapping("/devs", "acme", "devs"),))


@pytest.mark.parametrize(
    "setting",
    [
        "https://hythe:top-secret@id.example",
        "kc=saml+https://hythe:top-secret@id.example",
        "kc=oidc+https://id.example",
        "Kc=oidc+https://hythe:top-secret@id.example",
        f"{OIDC}?colour=top-secret",
        f"{OIDC}?sign_up=top-secret",
        f"{OIDC}?team=devs",
        f"{OIDC}?title=a&title=top-secret",
        f"{OIDC} {OIDC}",
        f"{OIDC} other={OIDC[3:]}",
    ],
)
def test_providers_that_are_refused(setting: str) -> None:
    """The error shows no secret."""
    with pytest.raises(InvalidValue) as caught:
        parse_identity_providers(setting)

    assert "top-secret" not in str(caught.value)


@pytest.mark.parametrize(
    "setting",
    [
        "https://ldap.example",
        "ldaps://ldap.example",
        "ldaps://ldap.example/dc=x",
        f"{LDAP}?tls=off",
        f"{LDAP}?filter=(uid=ann)",
        f"{LDAP}?filter=uid={{name}}",
        f"{LDAP}?template=uid=ann",
        f"{LDAP}?what=top-secret",
    ],
)
def test_directories_that_are_refused(setting: str) -> None:
    """What is missing, or would send passwords in clear text by mistake, is refused at start."""
    with pytest.raises(InvalidValue) as caught:
        parse_ldap(setting)

    assert "top-secret" not in str(caught.value)


@given(st.text())
def test_typed_names_stay_values(name: str) -> None:
    """Whatever a user types, the filter is one comparison with this value, and the DN has one value for it."""
    parsed = next(ber.elements(parse_filter(f"(uid={escape(name)})")))
    attribute, value = parsed.children

    assert (parsed.tag, attribute.content, value.content) == (0xA3, b"uid", name.encode("utf-8", "surrogatepass"))
    assert not set(',+"<>;=#\0 ') & set(escape_dn(name))


@pytest.mark.parametrize(
    ("text", "encoded"),
    [
        ("(objectClass=*)", "870b6f626a656374436c617373"),
        ("(!(a=b))", "a208a306040161040162"),
        ("(&(a=b)(a>=c))", "a010a306040161040162a506040161040163"),
        ("(a=b*c*)", "a40b0401613006800162810163"),
        ("(a:1.2:=b)", "a90b8103312e32820161830162"),
        (r"(a=\2a)", "a30604016104012a"),
    ],
)
def test_filters(text: str, encoded: str) -> None:
    """The forms of RFC 4515 in the encoding of RFC 4511, section 4.5.1."""
    assert parse_filter(text).hex() == encoded


@pytest.mark.parametrize(
    "text", ["", "a=b", "(a=b", "(a=b))", "(=b)", "(&(a=b)", r"(a=\zz)", "(" * 50 + "a=b" + ")" * 50]
)
def test_no_filters(text: str) -> None:
    """Text that is no filter is refused, however deeply it is nested."""
    with pytest.raises(InvalidFilter):
        parse_filter(text)


@given(st.binary(max_size=60))
def test_bytes_of_a_hostile_server(content: bytes) -> None:
    """Any bytes are elements or an error, and never a crash or an endless loop."""
    try:
        found = list(ber.elements(content))
    except ber.InvalidBER:
        return
    assert sum(len(each.content) for each in found) <= len(content)


@given(st.integers(min_value=-(2**62), max_value=2**62), st.binary(max_size=300))
def test_ber_there_and_back(number: int, content: bytes) -> None:
    """What is encoded is read again."""
    (sequence,) = ber.elements(ber.encode(ber.SEQUENCE, ber.integer(number), ber.encode(ber.OCTETS, content)))
    first, second = sequence.children

    assert (first.integer(), second.require(ber.OCTETS)) == (number, content)
