"""What a page says once after a form was sent: a key travels in a cookie, the text never does."""

from enum import Enum


class Notice(Enum):
    """The texts, by the keys that travel."""

    WELCOME = "Welcome to Hythe. This is where your repositories will be."
    SIGNED_OUT = "You are signed out."
    REPOSITORY_MADE = "The repository is made."
    REPOSITORY_SAVED = "The settings are saved."
    REPOSITORY_DELETED = "The repository and all its images are deleted."
    TAG_DELETED = "The tag is deleted."
    TAG_RESTORED = "The tag points there again."
    ACCOUNT_SAVED = "Your account is saved."
    PASSWORD_CHANGED = "Your password is changed, and every other session is ended."  # noqa: S105 (no password)
    ACCOUNT_LINKED = "The account is linked."
    BUILDS_SET_UP = "Trusted Builds are set up: the next push builds."
    BUILDS_SAVED = "The build set-up is saved."
    CREDENTIALS_FORGOTTEN = "The source is saved. Its credentials were for the other host, and are forgotten."
    NOTICE_SENT_AGAIN = "It is sent again."
    BUILD_QUEUED = "It is queued."
    BUILD_CANCELLED = "It is being cancelled."
    TOKEN_DELETED = "The token is gone: what used it is signed out."  # noqa: S105 (no password)


def text_of(key: str) -> str:
    """Return the text of a key; empty when there is none."""
    found = Notice.__members__.get(key)
    return found.value if found else ""
