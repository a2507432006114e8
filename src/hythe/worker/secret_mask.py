"""Masks secrets in what a build prints: each line of a secret, because a key of several lines never arrives whole."""

MIN_LENGTH = 3
"""Shorter lines are not masked: they would be found everywhere."""


class SecretMask:
    """The secrets of one build."""

    def __init__(self) -> None:
        self._hidden: list[str] = []

    def hide(self, *secrets: str) -> None:
        """Mask these, too."""
        lines = (line.strip() for value in secrets for line in value.splitlines())
        self._hidden = sorted({*self._hidden, *(line for line in lines if len(line) >= MIN_LENGTH)}, key=len)[::-1]

    def mask(self, text: str) -> str:
        """Return ``text`` with its secrets masked, the longest first."""
        for secret in self._hidden:
            text = text.replace(secret, "***")
        return text
