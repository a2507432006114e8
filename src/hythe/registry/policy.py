"""What the registry's services follow: limits and times out of the settings, as the values they work with."""

from datetime import timedelta

import msgspec

from hythe.settings import Settings


class Policy(msgspec.Struct, frozen=True):
    """How large and how long.

    ``grace`` is how long what seems unneeded is kept; ``upload_lifetime`` how long an upload that nobody continues;
    ``replaced_lifetime`` how long a manifest that its last tag moved away from (None: for ever). What a mirror
    holds goes when nobody asked for it in ``mirror_age``, and the longest unused of what is more than ``mirror_size``
    bytes (None: no limit).
    """

    manifest_size: int = 4 * 1024 * 1024
    grace: timedelta = timedelta(days=1)
    upload_lifetime: timedelta = timedelta(days=1)
    replaced_lifetime: timedelta | None = None
    garbage_interval: timedelta = timedelta(minutes=10)
    mirror_age: timedelta | None = None
    mirror_size: int | None = None

    @classmethod
    def of(cls, settings: Settings) -> "Policy":
        """Return the policy that the settings spell out."""
        replaced = settings.replaced_lifetime
        return cls(
            manifest_size=settings.manifest_size,
            grace=timedelta(seconds=settings.grace_period),
            upload_lifetime=timedelta(seconds=settings.upload_lifetime),
            replaced_lifetime=timedelta(seconds=replaced) if replaced else None,
            garbage_interval=timedelta(seconds=settings.garbage_interval),
            mirror_age=timedelta(seconds=settings.mirror_age) if settings.mirror_age else None,
            mirror_size=settings.mirror_size or None,
        )
