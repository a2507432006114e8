"""Limits and times from the settings, in the units that the registry's services use."""

from datetime import timedelta

import msgspec

from hythe.settings import Settings


class Policy(msgspec.Struct):
    """The registry's limits, which all its services share; ``update`` changes them while the server runs.

    ``grace``: how long unreferenced content is kept. ``upload_lifetime``: how long an idle upload session is kept.
    ``replaced_lifetime``: how long an untagged manifest is kept (None: forever). A mirror deletes content that was not
    requested within ``mirror_age``, and the least recently used content beyond ``mirror_size`` bytes (None: unlimited).
    ``sparse_images``: manifests are stored although the repository lacks some of their content. ``protect_images``: no
    content of a manifest can be deleted before it.
    """

    manifest_size: int = 4 * 1024 * 1024
    sparse_images: bool = False
    protect_images: bool = True
    grace: timedelta = timedelta(days=1)
    upload_lifetime: timedelta = timedelta(days=1)
    replaced_lifetime: timedelta | None = None
    garbage_interval: timedelta = timedelta(minutes=10)
    mirror_age: timedelta | None = None
    mirror_size: int | None = None

    def update(self, other: "Policy") -> None:
        """Take over all values of another policy."""
        for name in self.__struct_fields__:
            setattr(self, name, getattr(other, name))

    @classmethod
    def of(cls, settings: Settings) -> "Policy":
        """Return the policy for the settings."""
        replaced = settings.replaced_lifetime
        return cls(
            manifest_size=settings.manifest_size,
            sparse_images=settings.sparse_images,
            protect_images=settings.protect_images,
            grace=timedelta(seconds=settings.grace_period),
            upload_lifetime=timedelta(seconds=settings.upload_lifetime),
            replaced_lifetime=timedelta(seconds=replaced) if replaced else None,
            garbage_interval=timedelta(seconds=settings.garbage_interval),
            mirror_age=timedelta(seconds=settings.mirror_age) if settings.mirror_age else None,
            mirror_size=settings.mirror_size or None,
        )
