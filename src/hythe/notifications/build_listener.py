"""Events of builds: success, failure, and the first success after a failure."""

from datetime import UTC, datetime

from hythe.builds.build import Build
from hythe.builds.configuration import BuildConfiguration
from hythe.builds.events import BuildListener
from hythe.builds.sql import builds as build_rows
from hythe.builds.status import BuildStatus
from hythe.database import Session
from hythe.hub.accounts.user import User
from hythe.hub.sql import namespaces as namespace_rows
from hythe.hub.sql import users as user_rows
from hythe.notifications.event import EventKind, NotificationEvent
from hythe.notifications.outbox import Outbox
from hythe.notifications.sql import webhooks as rows
from hythe.notifications.webhook import NewWebhook


class NotificationBuildListener(BuildListener):
    """Puts builds that ended into the outbox, and makes sure that the owner gets e-mail."""

    def __init__(self, outbox: Outbox, *, mail: bool) -> None:
        """``mail``: the installation has a mail server."""
        self._outbox = outbox
        self._mail = mail

    def apply(self, *, mail: bool) -> None:
        """Take over whether there is a mail server."""
        self._mail = mail

    async def build_changed(self, session: Session, configuration: BuildConfiguration, build: Build) -> None:
        """See BuildListener."""
        if build.status not in (BuildStatus.SUCCEEDED, BuildStatus.FAILED):
            return
        failed = build.status is BuildStatus.FAILED
        was_failing = await build_rows.failed_before(session, build)
        mail = configuration.options.mail and self._mail
        if mail and (failed or was_failing):
            await _subscribe_owner(session, configuration)
        succeeded = (EventKind.SUCCESS, EventKind.FIXED) if was_failing else (EventKind.SUCCESS,)
        event = _event(configuration, build, (EventKind.FAILURE,) if failed else succeeded)
        await self._outbox.add(session, event, mail=mail)

    async def configuration_removed(self, session: Session, configuration: BuildConfiguration, deleted_id: int) -> None:
        """See BuildListener."""
        await rows.move_all(session, configuration.repository_id, deleted_id)


def _event(configuration: BuildConfiguration, build: Build, kinds: tuple[EventKind, ...]) -> NotificationEvent:
    return NotificationEvent(
        kinds=kinds,
        repository_id=configuration.repository_id,
        at=build.finished_at or build.created_at,
        pusher=build.account,
        tag=build.tags[0] if build.tags else "",
        dockerfile=build.result.dockerfile,
        build={
            "number": build.number,
            "status": build.status.value,
            "reason": build.reason,
            "commit": build.ref.commit,
            "source": build.ref.name,
            "tags": list(build.tags),
            "digest": build.digest,
        },
    )


async def _subscribe_owner(session: Session, configuration: BuildConfiguration) -> None:
    """Add a webhook for the owner's e-mail address, or update its address."""
    user = await _owner(session, configuration)
    if user is None:
        return
    url = f"mailto:{user.email}"
    existing = [
        webhook for webhook in await rows.of_repository(session, configuration.repository_id) if webhook.is_mail
    ]
    for webhook in existing:
        await rows.set_url(session, webhook.id, url)
    if not existing:
        new = NewWebhook(url=url, events=(EventKind.FAILURE, EventKind.FIXED))
        await rows.add(session, configuration.repository_id, new, "", datetime.now(UTC))


async def _owner(session: Session, configuration: BuildConfiguration) -> User | None:
    """Return the namespace's user; for an organization, the user who configured the builds."""
    namespace = await namespace_rows.by_name(session, configuration.account)
    if namespace is not None and namespace.user_id is not None:
        return await user_rows.by_id(session, namespace.user_id)
    return await user_rows.by_name(session, configuration.created_by)
