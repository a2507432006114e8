"""Sends what is in the outbox: webhooks over HTTP, signed, and e-mail; retries until a receiver accepts it."""

import asyncio
from datetime import UTC, datetime, timedelta

import aiohttp

from hythe.database import Database
from hythe.egress.http_session import egress_denial, open_egress_session
from hythe.egress.policy import EgressPolicy
from hythe.hub.mail.mailer import Mailer
from hythe.hub.secret_box import SecretBox, SecretLost
from hythe.notifications.mail import send_mail
from hythe.notifications.sql import webhooks as rows
from hythe.notifications.webhook import Webhook, WebhookDelivery, signature
from hythe.periodic import repeat
from hythe.settings import Settings

SECRET = "notice secret"  # noqa: S105
"""The purpose that webhook secrets are sealed for; stored secrets open only with this spelling."""
POLL_INTERVAL = 1.0
BATCH_SIZE = 20
CLAIMED_FOR = timedelta(minutes=2)
TIMEOUT_SECONDS = 10
RETRY_DELAYS = (10, 60, 300, 1800, 7200, 21600)
"""Seconds after each failed attempt; after the last one the delivery is given up."""


class WebhookSender:
    """Sends due deliveries. Several servers can run it at once: each delivery is claimed by one of them."""

    def __init__(self, database: Database, secret_box: SecretBox, settings: Settings, mailer: Mailer) -> None:
        """Raises SettingsError."""
        self._database = database
        self._secret_box = secret_box
        self._mailer = mailer
        self._policy = EgressPolicy.parse(settings.internal_networks)

    async def run(self) -> None:
        """Send due deliveries until cancelled."""
        async with open_egress_session(self._policy, timeout=aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)) as http:
            await repeat(lambda: self._send_due(http), POLL_INTERVAL, "webhooks")

    async def _send_due(self, http: aiohttp.ClientSession) -> None:
        now = datetime.now(UTC)
        async with self._database.reading() as session:
            due = await rows.due(session, now, BATCH_SIZE)
        if due:
            await asyncio.gather(*(self._send(http, delivery) for delivery in due))

    async def _send(self, http: aiohttp.ClientSession, delivery: WebhookDelivery) -> None:
        async with self._database.writing() as session:
            if not await rows.claim(session, delivery, datetime.now(UTC) + CLAIMED_FOR):
                return
            webhook = await rows.by_id(session, delivery.webhook_id)
        if webhook is None:
            return
        if webhook.is_mail:
            status, outcome = await send_mail(self._mailer, webhook.url.removeprefix("mailto:"), delivery)
        else:
            status, outcome = await self._post(http, webhook, delivery)
        attempts = delivery.attempts + 1
        retry_at = None
        if not 200 <= status < 300 and attempts <= len(RETRY_DELAYS):
            retry_at = datetime.now(UTC) + timedelta(seconds=RETRY_DELAYS[attempts - 1])
        async with self._database.writing() as session:
            await rows.set_outcome(session, delivery.id, attempts, status, outcome, retry_at)

    async def _post(self, http: aiohttp.ClientSession, webhook: Webhook, delivery: WebhookDelivery) -> tuple[int, str]:
        body = delivery.body.encode()
        headers = {"Content-Type": "application/json", "X-Hythe-Event": delivery.event.value}
        headers["X-Hythe-Delivery"] = delivery.id
        try:
            if webhook.secret:
                headers["X-Hub-Signature-256"] = signature(self._secret_box.unseal(SECRET, webhook.secret), body)
            async with http.post(webhook.url, data=body, headers=headers, allow_redirects=False) as response:
                return response.status, f"{response.status} {response.reason or ''}".strip()
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError, SecretLost) as error:
            return 0, str(egress_denial(error) or f"{type(error).__name__}: {error}")
