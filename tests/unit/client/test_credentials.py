"""Keys of credential files, and the values for them."""

from __future__ import annotations

import pytest

from hythe.client.credentials import Credential, decode_pair, key_target, match_length, server_key


@pytest.mark.parametrize(
    ("key", "target"),
    [
        ("https://index.docker.io/v1/", "docker.io"),
        ("index.docker.io", "docker.io"),
        ("docker.io", "docker.io"),
        ("registry-1.docker.io", "docker.io"),
        ("https://my-registry.com", "my-registry.com"),
        ("https://my-registry.com/v1/", "my-registry.com"),
        ("http://my-registry.com:5000/any/path", "my-registry.com:5000"),
        ("my-registry.com/v2/", "my-registry.com"),
        ("my-registry.com:5000", "my-registry.com:5000"),
        ("quay.io/ann", "quay.io/ann"),
        ("quay.io/ann/app", "quay.io/ann/app"),
    ],
)
def test_a_key_refers_to_a_host_or_a_namespace(key: str, target: str) -> None:
    """In all spellings that users and tools have written over the years."""
    assert key_target(key) == target


@pytest.mark.parametrize(
    ("key", "host", "repository", "fit"),
    [
        ("quay.io", "quay.io", "ann/app", 1),
        ("quay.io/ann", "quay.io", "ann/app", 2),
        ("quay.io/ann/app", "quay.io", "ann/app", 3),
        ("quay.io/an", "quay.io", "ann/app", 0),
        ("quay.io/bob", "quay.io", "ann/app", 0),
        ("quay.io", "other.io", "ann/app", 0),
        ("quay.io/ann", "quay.io", "", 0),
        ("https://index.docker.io/v1/", "docker.io", "library/busybox", 1),
    ],
)
def test_the_longest_key_matches_best(key: str, host: str, repository: str, fit: int) -> None:
    """Only whole components count."""
    assert match_length(key, host, repository) == fit


def test_a_password_can_contain_colons() -> None:
    """Only the first colon separates name and password."""
    assert decode_pair(Credential("ann", "a:b:c").encoded) == ("ann", "a:b:c")


def test_a_pair_in_the_alphabet_for_urls() -> None:
    """``-`` and ``_`` in place of ``+`` and ``/``, with padding or without."""
    encoded = Credential("ann", "??>>~~").encoded
    for text in (encoded, encoded.replace("+", "-").replace("/", "_"), encoded.rstrip("=").replace("/", "_")):
        assert decode_pair(text) == ("ann", "??>>~~")
    assert set(encoded) & set("+/")


@pytest.mark.parametrize("text", ["", "no base64!", "bm9jb2xvbg==", "/w=="])
def test_an_invalid_pair_is_anonymous(text: str) -> None:
    """Invalid entries are ignored."""
    assert decode_pair(text) == ("", "")


def test_docker_hub_has_its_old_key() -> None:
    """Docker stores docker.io under the URL of its index."""
    assert server_key("docker.io") == "https://index.docker.io/v1/"
    assert server_key("quay.io") == "quay.io"
