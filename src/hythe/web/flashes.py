"""Flash messages: shown once, on the page after a form. Only the key travels in a cookie, never the text."""

from enum import Enum


class Flash(Enum):
    """The messages by key."""

    WELCOME = "Welcome to Hythe! Your repositories will be listed here."
    ORGANIZATION_CREATED = "Organization created. Invite its members."
    ORGANIZATION_SAVED = "Settings of the organization saved."
    ORGANIZATION_LEFT = "You have left the organization."
    ORGANIZATION_DELETED = "The organization and all its repositories have been deleted."
    ACCOUNT_CONVERTED = "The account is an organization now, and you are signed out. Its owner can sign in."
    COLLABORATOR_SAVED = "Collaborator saved."
    COLLABORATOR_REMOVED = "Removed. They no longer have a role on this repository."
    TEAM_CREATED = "Team created. Add members, and give it a role on repositories."
    TEAM_SAVED = "Team saved."
    TEAM_DELETED = "Team deleted. Its members no longer have its roles."
    MEMBER_SAVED = "Role saved."
    MEMBER_REMOVED = "Member removed."
    INVITATION_SENT = "Invitation sent."
    INVITATION_CANCELLED = "Invitation cancelled."
    INVITATION_ACCEPTED = "Invitation accepted."
    INVITATION_DECLINED = "Invitation declined."
    SIGNED_OUT = "You have been signed out."
    REPOSITORY_CREATED = "Repository created."
    REPOSITORY_SAVED = "Settings saved."
    REPOSITORY_DELETED = "The repository and all its images have been deleted."
    RENAMED = "Renamed. The old name redirects here."
    OFFERED = "The repository has been offered to its new owner, who can accept it within seven days."
    TRANSFERRED = "The repository has been transferred."
    OFFER_DECLINED = "Offer declined."
    REDIRECT_ENDED = "The redirect has ended."
    TAG_DELETED = "Tag deleted."
    TAG_RESTORED = "Tag restored."
    CONFIRMATION_SENT = "We have sent an e-mail. Open the link in it to confirm the address."
    EMAIL_CONFIRMED = "Your e-mail address is confirmed."
    EMAIL_RESTORED = "Your e-mail address is restored. Set a new password with the link that we sent there."
    PASSWORD_RESET = "Password set. Sign in with it."  # noqa: S105 (no password)
    SESSION_ENDED = "Session ended."
    SESSIONS_ENDED = "All your other sessions have ended."
    ACCOUNT_SAVED = "Account settings saved."
    PASSWORD_CHANGED = "Password changed. All your other sessions have been signed out."  # noqa: S105 (no password)
    ACCOUNT_LINKED = "Account linked."
    IDENTITY_LINKED = "Identity linked. You can sign in with it."
    IDENTITY_UNLINKED = "Identity unlinked. It can no longer be used to sign in."
    BUILDS_CONFIGURED = "Trusted Builds are configured. The next push starts a build."
    BUILDS_SAVED = "Build configuration saved."
    CREDENTIALS_DELETED = "Source saved. The credentials were for the previous host and have been deleted."
    WEBHOOK_ADDED = "Webhook added."
    WEBHOOK_DELETED = "Webhook deleted."
    WEBHOOK_RESENT = "The delivery has been queued again."
    BUILD_QUEUED = "Build queued."
    BUILD_CANCELLED = "Cancelling the build."
    PASSKEY_RENAMED = "Passkey renamed."
    SECOND_FACTOR_REMOVED = "Removed. It can no longer be used to sign in."
    ROBOT_DELETED = "Robot deleted. Its token no longer works."
    TRUST_RULE_CREATED = "Trust rule created."
    TRUST_RULE_DELETED = "Trust rule deleted. The tokens that it gave no longer work."
    TOKEN_DELETED = "Token deleted. It can no longer be used to sign in."  # noqa: S105 (no password)


def text_of(key: str) -> str:
    """Return the message for a key; empty if there is none."""
    flash = Flash.__members__.get(key)
    return flash.value if flash else ""
