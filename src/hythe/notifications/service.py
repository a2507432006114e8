"""Creates the services of notifications."""

from dataclasses import dataclass

from hythe.builds.service import BuildsServices
from hythe.database import Database
from hythe.hub.mail.mailer import Mailer
from hythe.notifications.build_listener import NotificationBuildListener
from hythe.notifications.outbox import Outbox
from hythe.notifications.registry_listener import NotificationRegistryListener
from hythe.notifications.sender import WebhookSender
from hythe.notifications.webhooks import WebhookService
from hythe.settings import Settings


@dataclass(frozen=True, slots=True)
class NotificationServices:
    """Every service of notifications; ``server/hub.py`` adds the listeners to the lists of registry and builds."""

    webhooks: WebhookService
    sender: WebhookSender
    build_listener: NotificationBuildListener
    registry_listener: NotificationRegistryListener

    def apply(self, settings: Settings) -> None:
        """Take over whether there is a mail server."""
        self.build_listener.apply(mail=bool(settings.mail_server))


def make_notifications(
    database: Database, builds: BuildsServices, settings: Settings, mailer: Mailer
) -> NotificationServices:
    """Return the services. Raises SettingsError."""
    outbox = Outbox(settings.hub_url)
    return NotificationServices(
        webhooks=WebhookService(database, builds.configurations, builds.secret_box),
        sender=WebhookSender(database, builds.secret_box, settings, mailer),
        build_listener=NotificationBuildListener(outbox, mail=bool(settings.mail_server)),
        registry_listener=NotificationRegistryListener(outbox),
    )
