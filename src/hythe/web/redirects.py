"""Safe redirects: only to a path on this hub."""


def local_target(text: str) -> str:
    """Return ``text`` if it is a path on this hub, else the start page.

    Browsers treat ``//host``, ``/\\host`` and paths with tabs or line breaks as other sites.
    """
    plain = text.isascii() and text.isprintable() and "\\" not in text
    return text if plain and text.startswith("/") and not text.startswith("//") else "/"
