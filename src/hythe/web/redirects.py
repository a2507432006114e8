"""Where to go after signing in: a path of this hub, and nowhere else."""


def local_target(text: str) -> str:
    """Return ``text`` when it is a path here, else the start page.

    Browsers take ``//host``, ``/\\host`` and paths with tabs or line ends in them for other places.
    """
    plain = text.isascii() and text.isprintable() and "\\" not in text
    return text if plain and text.startswith("/") and not text.startswith("//") else "/"
