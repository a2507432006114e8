"""The texts of e-mail about accounts."""

from hythe.hub.accounts.user import User
from hythe.hub.mail.mail_links import LIFETIMES, LinkPurpose
from hythe.hub.mail.mail_message import NewMail, Purpose
from hythe.hub.sql.renames import Transfer


def confirm_email(user: User, email: str, host: str, url: str) -> NewMail:
    """Ask for confirmation of an address."""
    return NewMail(
        recipient=email,
        subject=f"Confirm your e-mail address on {host}",
        text=_letter(
            user,
            f"confirm that this is the e-mail address of your account {user.name} on {host}:",
            url,
            "The link is valid for 24 hours. If you do not have this account, ignore this message.",
        ),
        purpose=Purpose.CONFIRM_EMAIL,
        user_id=user.id,
        secret=True,
        lifetime=LIFETIMES[LinkPurpose.CONFIRM],
    )


def reset_password(user: User, email: str, host: str, url: str, *, restored: bool = False) -> NewMail:
    """Send the link for a new password; ``restored``: because the user undid a change of the e-mail address."""
    reason = (
        "your e-mail address has been restored, and every session has ended. Now choose a new password:"
        if restored
        else f"choose a new password for your account {user.name} on {host}:"
    )
    after = (
        "Then delete the personal tokens that you do not know."
        if restored
        else "If you did not ask for it, ignore this message: your password stays as it is."
    )
    return NewMail(
        recipient=email,
        subject=f"Reset your password on {host}",
        text=_letter(user, reason, url, f"The link is valid for one hour and works once. {after}"),
        purpose=Purpose.RESET_PASSWORD,
        user_id=user.id,
        secret=True,
        lifetime=LIFETIMES[LinkPurpose.RESET],
    )


def password_changed(user: User, host: str) -> NewMail:
    """Tell users that their password was changed."""
    return NewMail(
        recipient=user.email,
        subject=f"Your password on {host} was changed",
        text=_letter(
            user,
            f"the password of your account {user.name} on {host} was changed, and every session has ended.",
            f'If it was not you, set another password at once ("Forgot your password?" on the sign-in page of {host}), '
            "and delete the personal tokens that you do not know.",
        ),
        purpose=Purpose.PASSWORD_CHANGED,
        user_id=user.id,
    )


def email_changed(user: User, new_email: str, host: str, undo_url: str) -> NewMail:
    """Tell the old address about the new one; ``undo_url`` empty: the old address was never confirmed."""
    after = (
        ("If it was not you, restore your address and end every session:", undo_url, "The link is valid for 7 days.")
        if undo_url
        else (f"If it was not you, ask an administrator of {host}.",)
    )
    return NewMail(
        recipient=user.email,
        subject=f"Your e-mail address on {host} was changed",
        text=_letter(user, f"the e-mail address of your account {user.name} on {host} is now {new_email}.", *after),
        purpose=Purpose.EMAIL_CHANGED,
        user_id=user.id,
        secret=bool(undo_url),
        lifetime=LIFETIMES[LinkPurpose.UNDO],
    )


def token_leaked(user: User, token: str, source: str, host: str) -> NewMail:
    """Tell users that a token was revoked because it was found in public; ``source`` empty: no one said where."""
    return NewMail(
        recipient=user.email,
        subject=f"A leaked token on {host} was revoked",
        text=_letter(
            user,
            f"the token {token} on {host} was reported as leaked, and was revoked at once.",
            f"It was found at: {source}" if source else "The report does not say where it was found.",
            "Create a new token for what used it, and look in the audit log for what it was used for.",
        ),
        purpose=Purpose.TOKEN_LEAKED,
        user_id=user.id,
    )


def transfer_offered(user: User, offer: Transfer, host: str, url: str) -> NewMail:
    """Tell a user that a repository is offered to them, or to an organization that they own; ``url`` is the page."""
    receiver = "you" if offer.to == user.name else f"your organization {offer.to}"
    return NewMail(
        recipient=user.email,
        subject=f"{offer.requested_by} offers a repository on {host}",
        text=_letter(
            user,
            f"{offer.requested_by} offers the repository {offer.repository} on {host} to {receiver}. "
            f"If you accept it, it becomes {offer.to}/{offer.name}:",
            url,
            f"The offer ends on {offer.expires_at:%Y-%m-%d at %H:%M} UTC. Unless someone accepts it, nothing changes.",
        ),
        purpose=Purpose.TRANSFER_OFFERED,
        user_id=user.id,
        lifetime=offer.expires_at - offer.created_at,
    )


def _letter(user: User, *paragraphs: str) -> str:
    return "\n\n".join((f"Hello {user.name},", *paragraphs)) + "\n"
