"""Notices of builds that ended: webhooks, signed, retried and redeliverable, with Docker Hub's chains; and e-mail.

A build's end and the deliveries that it causes are written in one transaction; sending them is another's work, and a
server that dies in the middle sends again.
"""

import asyncio
import secrets
import uuid
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid
from urllib.parse import unquote, urlsplit

import aiohttp
import aiosmtplib
import msgspec

from hythe.builds.build import Build
from hythe.builds.configuration import BuildConfiguration
from hythe.builds.configurations import BuildConfigurationService
from hythe.builds.errors import InvalidBuildConfiguration
from hythe.builds.secret_box import SecretBox, SecretBoxError
from hythe.builds.sql import builds as build_rows
from hythe.builds.sql import configurations as configuration_rows
from hythe.builds.status import BuildStatus
from hythe.database import Database, Session
from hythe.egress import NotOutside, Outside, networks_of, outside_of, require_outside
from hythe.hub.actor import HubActor
from hythe.hub.errors import NotFound
from hythe.hub.repository import Repository
from hythe.hub.sql import namespaces as namespace_rows
from hythe.hub.sql import repositories as repository_rows
from hythe.hub.sql import users as user_rows
from hythe.hub.user import User
from hythe.notifications.sql import webhooks as rows
from hythe.notifications.webhook import CallbackBody, Delivery, Event, NewNotice, Notice, body_of, signature
from hythe.periodic import repeat
from hythe.settings import Settings

SECRET = "notice secret"  # noqa: S105 (the name of a purpose)
PAUSE = 1.0
AT_ONCE = 20
CLAIMED_FOR = timedelta(minutes=2)
TIMEOUT_SECONDS = 10
MOST_NOTICES = 20
BACK_OFF = (10, 60, 300, 1800, 7200, 21600)
"""Seconds after each failed attempt; after the last the delivery is given up."""


class NoticeOutbox:
    """Hears of builds that ended (``builds.events.BuildListener``) and writes down what is to be sent."""

    def __init__(self, hub_url: str, *, mail: bool) -> None:
        self._hub_url = hub_url.rstrip("/")
        self._mail = mail

    async def build_changed(self, session: Session, configuration: BuildConfiguration, build: Build) -> None:
        """See BuildListener."""
        if build.status not in (BuildStatus.SUCCEEDED, BuildStatus.FAILED):
            return
        failed = build.status is BuildStatus.FAILED
        was_failing = await build_rows.failed_before(session, build)
        await configuration_rows.set_failing(session, configuration.id, failing=failed)
        events = {Event.FAILURE} if failed else {Event.SUCCESS, *([Event.FIXED] if was_failing else [])}
        mails = configuration.options.mail and self._mail
        if mails and (failed or was_failing):
            await self._ensure_mail(session, configuration)
        notices = [notice for notice in await rows.of_setup(session, configuration.id) if mails or not notice.is_mail]
        repository = await repository_rows.by_id(session, configuration.repository_id)
        if repository is not None:
            await self._queue(session, notices, events, build, repository)

    async def _queue(
        self, session: Session, notices: Iterable[Notice], events: set[Event], build: Build, repository: Repository
    ) -> None:
        """Queue a delivery to each that wants one of the events; a chained one waits for those before it."""
        before = False
        for notice in notices:
            wanted = next((event for event in notice.events if event in events), None)
            if wanted is None:
                continue
            callback = secrets.token_urlsafe(24)
            body = msgspec.json.encode(body_of(build, repository, self._hub_url, callback)).decode()
            waits = notice.chained and before
            before = before or not notice.is_mail
            await rows.add_delivery(session, _new_delivery(notice, build, wanted, body, callback, waits=waits))

    async def _ensure_mail(self, session: Session, configuration: BuildConfiguration) -> None:
        """The owner's address is a notice like others, made when it is first needed and kept up to date."""
        user = await _owner(session, configuration)
        if user is None:
            return
        url = f"mailto:{user.email}"
        mails = [notice for notice in await rows.of_setup(session, configuration.id) if notice.is_mail]
        for notice in mails:
            await rows.set_url(session, notice.id, url)
        if not mails:
            new = NewNotice(url=url, events=(Event.FAILURE, Event.FIXED))
            await rows.add(session, configuration.id, new, "", datetime.now(UTC))


async def _owner(session: Session, configuration: BuildConfiguration) -> User | None:
    """Return whose namespace it is; where that is nobody's, who set the builds up."""
    namespace = await namespace_rows.by_name(session, configuration.account)
    if namespace is not None and namespace.user_id is not None:
        return await user_rows.by_id(session, namespace.user_id)
    return await user_rows.by_name(session, configuration.created_by)


def _new_delivery(notice: Notice, build: Build, event: Event, body: str, callback: str, *, waits: bool) -> Delivery:
    now = datetime.now(UTC)
    return Delivery(
        id=str(uuid.uuid4()),
        webhook_id=notice.id,
        build_id=build.id,
        event=event,
        body=body,
        callback=callback,
        callback_state=rows.CHAINED if waits else "",
        attempts=0,
        due_at=None if waits else now,
        status=0,
        outcome="waits for the one before it" if waits else "",
        created_at=now,
    )


class Notices:
    """What can be done with notices, and the task that sends them."""

    def __init__(
        self, database: Database, configurations: BuildConfigurationService, secret_box: SecretBox, settings: Settings
    ) -> None:
        """Raises SettingsError."""
        self._database = database
        self._setups = configurations
        self._secret_box = secret_box
        self._mail_server = settings.mail_server
        self._mail_from = settings.mail_from
        self._refuses = outside_of(networks_of(settings.webhook_networks))

    async def add(self, actor: HubActor, repository: str, new: NewNotice) -> Notice:
        """Tell somebody of a repository's builds from now on. Raises InvalidBuildConfiguration, NotFound, SignInNeeded, Refused."""
        configuration = await self._setups.managed(actor, repository)
        if urlsplit(new.url).scheme not in ("http", "https") or not urlsplit(new.url).hostname or not new.events:
            raise InvalidBuildConfiguration(
                "a notice needs an http(s) address and an event", "success, failure or fixed"
            )
        sealed = self._secret_box.seal(SECRET, new.secret) if new.secret else ""
        async with self._database.writing() as session:
            if len(await rows.of_setup(session, configuration.id)) >= MOST_NOTICES:
                raise InvalidBuildConfiguration(f"a set-up has at most {MOST_NOTICES} notices", "remove one")
            found = await rows.by_id(session, await rows.add(session, configuration.id, new, sealed, datetime.now(UTC)))
        if found is None:
            raise NotFound("this notice was removed meanwhile")
        return found

    async def listed(self, actor: HubActor, repository: str) -> list[Notice]:
        """Return a repository's notices."""
        configuration = await self._setups.managed(actor, repository)
        async with self._database.reading() as session:
            return await rows.of_setup(session, configuration.id)

    async def remove(self, actor: HubActor, repository: str, webhook_id: int) -> None:
        """Tell somebody no more. Raises NotFound."""
        configuration = await self._setups.managed(actor, repository)
        async with self._database.writing() as session:
            if not await rows.remove(session, configuration.id, webhook_id):
                raise NotFound("there is no such notice")

    async def deliveries(self, actor: HubActor, repository: str, webhook_id: int) -> list[Delivery]:
        """Return the last deliveries of a notice, newest first. Raises NotFound."""
        if webhook_id not in [notice.id for notice in await self.listed(actor, repository)]:
            raise NotFound("there is no such notice")
        async with self._database.reading() as session:
            return await rows.of_notice(session, webhook_id)

    async def redeliver(self, actor: HubActor, repository: str, delivery_id: str) -> None:
        """Send a delivery again, now. Raises NotFound."""
        known = [notice.id for notice in await self.listed(actor, repository)]
        async with self._database.writing() as session:
            delivery = await rows.delivery_by_id(session, delivery_id)
            if delivery is None or delivery.webhook_id not in known:
                raise NotFound("there is no such delivery")
            await rows.write_outcome(session, delivery.id, 0, delivery.status, "sent again", datetime.now(UTC))

    async def called_back(self, callback: str, body: CallbackBody) -> None:
        """A receiver says how it went: with success the next of the chain is sent. Raises NotFound, InvalidBuildConfiguration."""
        if body.state not in ("success", "failure", "error"):
            raise InvalidBuildConfiguration(f"{body.state!r} is not a state", "send success, failure or error")
        async with self._database.writing() as session:
            delivery = await rows.by_callback(session, callback)
            if delivery is None:
                raise NotFound("there is no such callback")
            await rows.write_callback(session, delivery.id, body.state)
            waiting = await rows.next_in_chain(session, delivery)
            if waiting is not None and body.state == "success":
                await rows.write_callback(session, waiting.id, "")
                await rows.write_outcome(session, waiting.id, 0, 0, "", datetime.now(UTC))

    async def run(self) -> None:
        """Send what is due, for ever."""
        connector = aiohttp.TCPConnector(resolver=Outside(self._refuses), use_dns_cache=False)
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
        jar = aiohttp.DummyCookieJar()
        async with aiohttp.ClientSession(connector=connector, timeout=timeout, cookie_jar=jar) as http:
            await repeat(lambda: self._send_due(http), PAUSE, "notices")

    async def _send_due(self, http: aiohttp.ClientSession) -> None:
        now = datetime.now(UTC)
        async with self._database.reading() as session:
            found = await rows.due(session, now, AT_ONCE)
        if found:
            await asyncio.gather(*(self._send(http, delivery) for delivery in found))

    async def _send(self, http: aiohttp.ClientSession, delivery: Delivery) -> None:
        async with self._database.writing() as session:
            if not await rows.claim(session, delivery, datetime.now(UTC) + CLAIMED_FOR):
                return
            notice = await rows.by_id(session, delivery.webhook_id)
        if notice is None:
            return
        sending = self._mail(notice, delivery) if notice.is_mail else self._post(http, notice, delivery)
        status, outcome = await sending
        attempts = delivery.attempts + 1
        again = None
        if not 200 <= status < 300 and attempts <= len(BACK_OFF):
            again = datetime.now(UTC) + timedelta(seconds=BACK_OFF[attempts - 1])
        async with self._database.writing() as session:
            await rows.write_outcome(session, delivery.id, attempts, status, outcome, again)

    async def _post(self, http: aiohttp.ClientSession, notice: Notice, delivery: Delivery) -> tuple[int, str]:
        body = delivery.body.encode()
        headers = {"Content-Type": "application/json", "X-Hythe-Event": delivery.event.value}
        headers["X-Hythe-Delivery"] = delivery.id
        try:
            if notice.secret:
                headers["X-Hub-Signature-256"] = signature(self._secret_box.unseal(SECRET, notice.secret), body)
            host = urlsplit(notice.url).hostname or ""
            require_outside(host, host, self._refuses)
            async with http.post(notice.url, data=body, headers=headers, allow_redirects=False) as response:
                return response.status, f"{response.status} {response.reason or ''}".strip()
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError, SecretBoxError) as error:
            for each in (error, error.__cause__):
                if isinstance(each, NotOutside):
                    return 0, f"{each}: the hub's setting webhook_networks says where inside webhooks may go"
            return 0, f"{type(error).__name__}: {error}"

    async def _mail(self, notice: Notice, delivery: Delivery) -> tuple[int, str]:
        if not self._mail_server:
            return 200, "no mail server is set"
        server = urlsplit(self._mail_server)
        said = msgspec.json.decode(delivery.body)
        try:
            await aiosmtplib.send(
                _letter(said, delivery.event, self._mail_from, notice.url.removeprefix("mailto:")),
                hostname=server.hostname,
                port=server.port or (465 if server.scheme == "smtps" else 25),
                username=unquote(server.username) if server.username else None,
                password=unquote(server.password) if server.password else None,
                use_tls=server.scheme == "smtps",
                timeout=TIMEOUT_SECONDS,
            )
        except (aiosmtplib.SMTPException, OSError, ValueError) as error:
            return 0, f"{type(error).__name__}: {error}"
        return 200, "sent"


def _letter(said: dict[str, dict[str, object]], event: Event, sender: str, receiver: str) -> EmailMessage:
    build, repository = said["build"], said["repository"]
    name = repository["repo_name"]
    word = "failed" if event is Event.FAILURE else "works again"
    letter = EmailMessage()
    letter["From"], letter["To"] = sender, receiver
    letter["Date"], letter["Message-ID"] = (
        format_datetime(datetime.now(UTC)),
        make_msgid(domain=sender.rpartition("@")[2]),
    )
    letter["Subject"] = f"[hythe] build {build['number']} of {name} {word}"
    lines = (
        f"Build {build['number']} of {name} ({build['source']}, commit {build['commit']}): {build['status']}.",
        str(build["reason"]),
        f"{repository['repo_url']}/-/builds/{build['number']}",
    )
    letter.set_content("\n\n".join(line for line in lines if line) + "\n")
    return letter
