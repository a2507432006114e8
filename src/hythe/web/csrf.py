"""Cross-site request forgery: a form carries a token that only a page of this browser's session can know.

The token is an HMAC under the session cookie's secret (for somebody who is not signed in, under that of a cookie of
its own). Scripts cannot read the cookie, other sites can read neither; and what other sites send is refused by the
headers that browsers add, before the token is looked at.
"""

import hashlib
import hmac


def form_token(secret: str) -> str:
    """Return the token for forms that are shown under this cookie."""
    return hmac.digest(secret.encode(), b"hythe form", hashlib.sha256).hex()


def token_matches(secret: str, token: str) -> bool:
    """Whether a form was shown under this cookie."""
    return bool(secret) and hmac.compare_digest(form_token(secret).encode(), token.encode("utf-8", "replace"))


def is_cross_site(origin: str | None, fetch_site: str | None, hosts: frozenset[str]) -> bool:
    """Whether the browser says that another site sent this request; ``hosts`` are ours, HOST[:PORT].

    ``origin`` and ``fetch_site`` are the headers of these names; an old browser sends neither, which says nothing.
    """
    if fetch_site is not None and fetch_site not in {"same-origin", "none"}:
        return True
    return origin is not None and origin.partition("://")[2] not in hosts
