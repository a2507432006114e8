"""Follows another hub: a read-only second site that takes over accounts, roles, credentials and all images."""

import hashlib
from collections.abc import Callable
from datetime import datetime, timedelta
from urllib.parse import urlsplit

import aiohttp
import msgspec
import structlog

from hythe.database import Database
from hythe.database.schema import newest_revision
from hythe.egress.http_session import open_egress_session
from hythe.egress.policy import ANY_PORT, EgressPolicy
from hythe.hub.actor import SECOND_SITE
from hythe.hub.secret_box import SecretBox
from hythe.periodic import repeat
from hythe.registry.mirror.responses import read_body
from hythe.registry.service import RegistryServices
from hythe.replication.errors import FollowingFailed
from hythe.replication.item import WHOLE_REPOSITORY
from hythe.replication.remotes import SECRET
from hythe.replication.rule import Direction, NewReplicationRule
from hythe.replication.runner import ReplicationRunner
from hythe.replication.sql import items as item_store
from hythe.replication.sql import rules as rule_store
from hythe.replication.sql.second_site import SiteRows, apply_rows, has_accounts

ROWS_PATH = "/second-site/rows"
RULE = "primary"
"""The name of the rule that pulls all images."""

FOLLOW_INTERVAL = 5.0
"""Seconds between two requests for what changed at the first site."""

COMPARE_INTERVAL = 3600
"""Seconds between comparisons of all images, besides those of repositories that changed."""

MAX_ROWS_SIZE = 2 * 1024**3
"""Maximum bytes of the rows that the first site sends."""

TIMEOUT = aiohttp.ClientTimeout(total=600, sock_connect=10, sock_read=60)
_LOG = structlog.get_logger()


def second_site_password(secret_box: SecretBox) -> str:
    """Return the password by which second sites prove that they have the installation's key."""
    return secret_box.derive(SECOND_SITE)


class SiteFollower:
    """Takes over what another hub has, until cancelled."""

    def __init__(
        self,
        database: Database,
        registry: RegistryServices,
        runner: ReplicationRunner,
        secret_box: SecretBox,
        url: str,
        egress: EgressPolicy,
        clock: Callable[[], datetime],
    ) -> None:
        """``database`` and ``registry`` write although the site is read-only. ``url`` is the first site's."""
        self._database = database
        self._registry = registry
        self._runner = runner
        self._secret_box = secret_box
        self._url = url.rstrip("/")
        host = urlsplit(url).hostname or ""
        self._egress = egress.trusting([(host, ANY_PORT)])
        self._clock = clock
        self._etag = ""

    async def follow(self) -> None:
        """Ask for changes again and again. Raises FollowingFailed if the hub is not empty at first."""
        await self._prepare()
        async with open_egress_session(self._egress, timeout=TIMEOUT) as http:
            await repeat(lambda: self.take_over(http), FOLLOW_INTERVAL, "second site")

    async def copy(self) -> None:
        """Pull images until cancelled."""
        await self._runner.run()

    async def housekeep(self) -> None:
        """Delete what deleted repositories contained, until cancelled."""
        await self._registry.run_housekeeping()

    async def _prepare(self) -> None:
        """Add the rule that pulls all images, unless there are accounts that are not the first site's."""
        now = self._clock()
        async with self._database.writing() as session:
            if await rule_store.by_name(session, RULE) is not None:
                return
            if await has_accounts(session):
                raise FollowingFailed("this hub has accounts of its own: begin a second site with an empty data folder")
            new = NewReplicationRule(
                RULE, Direction.PULL, self._url, SECOND_SITE, deletions=True, interval=COMPARE_INTERVAL, concurrency=4
            )
            values = {name: getattr(new, name) for name in NewReplicationRule.__struct_fields__ if name != "password"}
            state = {"compare_lease": "", "compared_at": None, "paused_until": None, "failures": 0, "problem": ""}
            secret = self._secret_box.seal(SECRET, second_site_password(self._secret_box))
            created = {"created_at": now, "created_by": "operator", "compare_at": now + timedelta(minutes=1)}
            await rule_store.add(session, {**values, **state, **created, "secret": secret})

    async def take_over(self, http: aiohttp.ClientSession) -> None:
        """Take over what changed. Raises FollowingFailed."""
        headers = {"Authorization": aiohttp.encode_basic_auth(SECOND_SITE, second_site_password(self._secret_box))}
        if self._etag:
            headers["If-None-Match"] = self._etag
        async with http.get(f"{self._url}{ROWS_PATH}", headers=headers, allow_redirects=False) as response:
            if response.status == 304:
                return
            if response.status != 200:
                raise FollowingFailed(_refusal(self._url, response.status))
            content = await read_body(response, MAX_ROWS_SIZE)
            etag = response.headers.get("ETag", "")
        try:
            rows = msgspec.msgpack.decode(content, type=SiteRows)
        except msgspec.MsgspecError as error:
            raise FollowingFailed(f"{self._url} sent no rows: {error}") from error
        if rows.revision != newest_revision():
            raise FollowingFailed(f"{self._url} runs another version of hythe: use the same at both sites")
        now = self._clock()
        async with self._database.writing() as session:
            rule = await rule_store.by_name(session, RULE)
            changed = await apply_rows(session, rows, now)
            if rule is not None:
                for repository in sorted(changed):
                    await item_store.add(session, rule.id, repository, [WHOLE_REPOSITORY], now, now)
        self._etag = etag
        _LOG.info("took over changes of the first site", repositories=len(changed))


def _refusal(url: str, status: int) -> str:
    if status in (401, 403, 404):
        return f"{url} refuses to be followed (status {status}): set second_sites there, and the same secret_key here"
    return f"{url} returned status {status}"


def etag_of(content: bytes) -> str:
    """Return the ETag of rows."""
    return f'"{hashlib.sha256(content).hexdigest()}"'
