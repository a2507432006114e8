"""CSRF protection: forms contain a token that other sites cannot know.

The token is an HMAC keyed with the session cookie, or with an anonymous cookie before signing in. Other
sites can read neither the cookie nor the token. Requests whose headers name another site are rejected first.
"""

import hashlib
import hmac


def form_token(secret: str) -> str:
    """Return the token for forms in pages sent to the browser with this cookie."""
    return hmac.digest(secret.encode(), b"hythe form", hashlib.sha256).hex()


def token_matches(secret: str, token: str) -> bool:
    """Whether the token was made for this cookie."""
    return bool(secret) and hmac.compare_digest(form_token(secret).encode(), token.encode("utf-8", "replace"))
