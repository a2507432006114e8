"""Codes of authenticator apps (TOTP, RFC 6238), and recovery codes."""

import hmac
import secrets
from datetime import datetime
from urllib.parse import quote

STEP = 30
"""Seconds for which an app shows a code."""

SKEW = 1
"""Steps by which the clock of a phone may be wrong, either way."""

RECOVERY_CODES = 10

_RECOVERY_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"
"""No letters that look like digits."""

_RECOVERY_LENGTH = 16
"""Characters of a recovery code: 79 bits."""


def new_secret() -> str:
    """Return a random secret of 160 bits in base32."""
    import pyotp

    return pyotp.random_base32()


def matching_step(secret: str, code: str, at: datetime) -> int | None:
    """Return the time step of a code; None if it is no code of this secret around this time."""
    import pyotp

    app = pyotp.TOTP(secret, interval=STEP)
    now = int(at.timestamp()) // STEP
    found = None
    for step in range(now - SKEW, now + SKEW + 1):
        if hmac.compare_digest(app.generate_otp(step).encode(), code.encode("utf-8", "replace")):
            found = step
    return found


def app_uri(secret: str, account: str, host: str) -> str:
    """Return the address that adds a secret to an authenticator app."""
    return f"otpauth://totp/{quote(host)}:{quote(account)}?secret={secret}&issuer={quote(host)}"


def qr_code(text: str) -> str:
    """Return a QR code as an SVG element without styles, so that a strict content security policy allows it."""
    import io

    import segno

    svg = io.BytesIO()
    code = segno.make(text, error="m", micro=False)
    code.save(svg, kind="svg", xmldecl=False, svgns=False, omitsize=True, border=4, dark="#000", light="#fff")
    return svg.getvalue().decode()


def is_app_code(code: str) -> bool:
    """Return whether a text has the form of a code of an app, after ``normalized``."""
    return len(code) == 6 and code.isascii() and code.isdigit()


def normalized(code: str) -> str:
    """Return a typed code without spaces and dashes, in lower case; the empty text if it is too long."""
    return "".join(code.split()).replace("-", "").lower() if len(code) <= 64 else ""


def new_recovery_codes() -> tuple[str, ...]:
    """Return random recovery codes, in groups of four characters."""
    return tuple(_new_recovery_code() for _ in range(RECOVERY_CODES))


def _new_recovery_code() -> str:
    characters = "".join(secrets.choice(_RECOVERY_ALPHABET) for _ in range(_RECOVERY_LENGTH))
    return "-".join(characters[start : start + 4] for start in range(0, _RECOVERY_LENGTH, 4))


def recovery_digest(key: str, user_id: int, code: str) -> str:
    """Return the stored form of a recovery code; ``key`` is the installation's."""
    return hmac.digest(key.encode(), f"{user_id} {normalized(code)}".encode("utf-8", "replace"), "sha256").hex()
