"""Names of images, by the grammar of distribution/reference."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hythe.oci.digest import Digest
from hythe.oci.errors import InvalidDigest, InvalidReference
from hythe.oci.reference import NAME_LENGTH, Reference, parse_name, parse_tag, parse_tag_or_digest, split_host

HEX = "0123456789abcdef" * 4
DIGEST = Digest("sha256", HEX)

COMPONENT = st.from_regex(r"[a-z0-9]{1,8}((\.|_|__|-{1,3})[a-z0-9]{1,8}){0,2}", fullmatch=True)
NAME = st.lists(COMPONENT, min_size=1, max_size=4).map("/".join)
TAG = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", fullmatch=True)
HOST = st.one_of(
    st.from_regex(r"[a-z0-9]{1,10}\.[a-z]{2,5}(:[0-9]{1,5})?", fullmatch=True),
    st.sampled_from(("localhost", "localhost:5000", "[::1]:5000", "127.0.0.1:5000", "localhost.localdomain:5000")),
)


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("busybox", Reference("docker.io", "library/busybox")),
        ("busybox:1", Reference("docker.io", "library/busybox", "1")),
        ("ada/web", Reference("docker.io", "ada/web")),
        ("docker.io/busybox", Reference("docker.io", "library/busybox")),
        ("index.docker.io/ada/web", Reference("docker.io", "ada/web")),
        ("localhost/web", Reference("localhost", "web")),
        ("localhost:5000/web", Reference("localhost:5000", "web")),
        ("localhost.localdomain:5000/repo_name", Reference("localhost.localdomain:5000", "repo_name")),
        ("example.com/a/b/c:v1.0", Reference("example.com", "a/b/c", "v1.0")),
        ("Host/web", Reference("Host", "web")),
        ("[::1]:5000/web", Reference("[::1]:5000", "web")),
        (f"web@sha256:{HEX}", Reference("docker.io", "library/web", None, DIGEST)),
        (f"example.com/web:1@sha256:{HEX}", Reference("example.com", "web", "1", DIGEST)),
        ("a__b/c--d/e.f_g", Reference("docker.io", "a__b/c--d/e.f_g")),
    ],
)
def test_what_is_typed_is_understood(typed: str, expected: Reference) -> None:
    """Hosts, defaults, tags and digests."""
    assert expected == Reference.parse(typed)


@pytest.mark.parametrize(
    "typed",
    [
        *("", "/", ":", "@", "Web", "a//b", "a/", "/a", "-a", "a-", "a..b", "a___b", "a b", "a:", "a:-x", "a:b:c", "ä"),
        *("a@", "a@sha256:12", "a@md5:" + "0" * 32, HEX, "exa_mple.com:5000/a", "host:port/a"),
        *("a" * 256, "a:" + "x" * 129),
    ],
)
def test_what_is_no_name_is_refused(typed: str) -> None:
    """Each with a message for people."""
    with pytest.raises((InvalidReference, InvalidDigest)) as caught:
        Reference.parse(typed)
    assert str(caught.value)


@given(host=HOST, name=NAME, tag=st.none() | TAG, digest=st.none() | st.just(DIGEST))
def test_the_full_form_means_itself(host: str, name: str, tag: str | None, digest: Digest | None) -> None:
    """Printing a reference and reading it again changes nothing, also in docker's short form."""
    reference = Reference(host, name, tag, digest)

    assert reference == Reference.parse(str(reference))
    assert reference == Reference.parse(reference.familiar())


@given(name=NAME)
def test_docker_hub_names_are_shown_short(name: str) -> None:
    """docker.io and library are left out, but never so that the short form means something else."""
    reference = Reference.parse(f"docker.io/{name}")

    assert reference == Reference.parse(reference.familiar_name)


@given(st.text(max_size=60))
def test_any_text_is_a_name_or_refused(text: str) -> None:
    """Nothing else ever happens, and what is taken keeps to the grammar."""
    try:
        reference = Reference.parse(text)
    except (InvalidReference, InvalidDigest):
        return
    assert parse_name(reference.repository)


@pytest.mark.parametrize(
    ("typed", "short"),
    [
        ("docker.io/library/web", "web"),
        ("docker.io/ada/web", "ada/web"),
        ("example.com/library/web", "example.com/library/web"),
        ("docker.io/library/a/b", "docker.io/library/a/b"),
        ("docker.io/my.name/web", "docker.io/my.name/web"),
    ],
)
def test_short_forms(typed: str, short: str) -> None:
    """As docker shows them."""
    assert short == Reference.parse(typed).familiar_name


def test_the_default_host_is_the_users() -> None:
    """Short names go there, without ``library/``, which is Docker Hub's."""
    assert Reference("hub.example", "web") == Reference.parse("web", "hub.example")
    assert Reference("docker.io", "library/web") == Reference.parse("docker.io/web", "hub.example")


def test_targets_and_tags() -> None:
    """What is asked for is the digest before the tag, and latest when there is neither."""
    plain = Reference.parse("web")

    assert plain.target == "latest"
    assert plain.with_default_tag().tag == "latest"
    assert plain.with_tag("2").with_digest(DIGEST).target == str(DIGEST)
    assert plain.with_digest(DIGEST).with_default_tag().tag is None
    with pytest.raises(InvalidReference):
        plain.with_tag("-")


def test_names_have_a_greatest_length() -> None:
    """255 characters, without the host."""
    assert parse_name("a" * NAME_LENGTH)
    with pytest.raises(InvalidReference):
        parse_name("a" * (NAME_LENGTH + 1))


@given(TAG)
def test_tags_and_digests_are_told_apart(tag: str) -> None:
    """A colon makes a digest."""
    assert tag == parse_tag(tag) == parse_tag_or_digest(tag)
    assert parse_tag_or_digest(str(DIGEST)) == DIGEST


@pytest.mark.parametrize("text", ["a/b", "library/web", "web", ""])
def test_names_without_a_host(text: str) -> None:
    """The first component is a host only when it looks like one."""
    assert split_host(text) == ("", text)
