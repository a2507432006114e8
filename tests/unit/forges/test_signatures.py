"""Webhook signatures: the forges' own test vectors, and near misses."""

from __future__ import annotations

import base64
import hashlib
import hmac

import pytest

from hythe.forges.github import GitHubWebhooks
from hythe.forges.gitlab import GitLabWebhooks
from hythe.forges.signatures import is_hmac, is_prefixed_hmac, is_secret

# docs.github.com, "Validating webhook deliveries", "Testing the webhook payload validation"
SECRET, BODY = "It's a Secret to Everybody", b"Hello, World!"
SIGNED = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"


def test_githubs_test_vector() -> None:
    """The documented secret and payload have the documented signature."""
    headers = {"x-hub-signature-256": f"sha256={SIGNED}"}

    assert GitHubWebhooks().is_signed(headers, BODY, SECRET)


@pytest.mark.parametrize(
    ("shown", "secret", "body"),
    [
        ("", SECRET, BODY),
        (SIGNED, SECRET, BODY),
        (f"sha1={SIGNED}", SECRET, BODY),
        (f"sha256={SIGNED[:-1]}", SECRET, BODY),
        (f"sha256={SIGNED.upper()}", SECRET, BODY),
        (f"sha256={SIGNED}", SECRET, BODY + b"\n"),
        (f"sha256={SIGNED}", SECRET.lower(), BODY),
        ("sha256=\u00e9", SECRET, BODY),
    ],
)
def test_near_misses(shown: str, secret: str, body: bytes) -> None:
    """Another algorithm, a truncated signature, a changed body, another secret, non-ASCII text."""
    assert not is_prefixed_hmac(shown, secret, body)


def test_an_empty_secret_matches_nothing() -> None:
    """Without a secret nothing is accepted, because anyone can compute an HMAC with an empty key."""
    unkeyed = hmac.digest(b"", BODY, hashlib.sha256).hex()

    assert not is_hmac(unkeyed, "", BODY)
    assert not is_secret("", "")


def test_gitlabs_signing_token() -> None:
    """With a signing token, the signature of id, time and body is checked instead of the token header."""
    key = base64.b64encode(b"0123456789abcdef").decode()
    signed = hmac.digest(b"0123456789abcdef", b"msg_1.1795435200." + BODY, hashlib.sha256)
    headers = {
        "x-gitlab-token": f"whsec_{key}",
        "webhook-id": "msg_1",
        "webhook-timestamp": "1795435200",
        "webhook-signature": f"v1,{base64.b64encode(signed).decode()}",
    }

    assert GitLabWebhooks().is_signed(headers, BODY, f"whsec_{key}")
    assert not GitLabWebhooks().is_signed(headers | {"webhook-timestamp": "1795435201"}, BODY, f"whsec_{key}")
