"""The connections to the other registries of rules."""

from urllib.parse import urlsplit

import aiohttp

from hythe.egress.http_session import open_egress_session
from hythe.egress.policy import ANY_PORT, EgressPolicy
from hythe.hub.actor import SECOND_SITE
from hythe.hub.secret_box import SecretBox
from hythe.registry.clock import Clock
from hythe.registry.mirror.pauses import Pauses
from hythe.registry.mirror.upstream import TIMEOUT
from hythe.registry.mirror.upstreams import Upstream
from hythe.registry.policy import Policy
from hythe.replication.remote_side import RemoteSide
from hythe.replication.rule import ReplicationRule

SECRET = "replication password"  # noqa: S105
"""The purpose that the passwords of rules are sealed for."""


class RemoteRegistries:
    """Opens the other registry of a rule; connections stay open for the next use."""

    def __init__(self, secret_box: SecretBox, egress: EgressPolicy, policy: Policy, clock: Clock) -> None:
        self._secret_box = secret_box
        self._egress = egress
        self._policy = policy
        self._pauses = Pauses(clock)
        self._open: dict[int, tuple[tuple[str, str, str], RemoteSide, aiohttp.ClientSession]] = {}

    async def of(self, rule: ReplicationRule) -> RemoteSide:
        """Return the registry. Raises SecretLost."""
        key = (rule.url, rule.username, rule.sealed)
        found = self._open.get(rule.id)
        if found is not None and found[0] == key:
            return found[1]
        password = self._secret_box.unseal(SECRET, rule.sealed) if rule.sealed else ""
        upstream = Upstream(rule.name, "", rule.url.rstrip("/"), rule.username, password)
        # An administrator named the host; where it leads is up to the other registry.
        egress = self._egress.trusting([(urlsplit(rule.url).hostname or "", ANY_PORT)])
        session = open_egress_session(egress, timeout=TIMEOUT, auto_decompress=False)
        side = RemoteSide(session, upstream, self._policy.manifest_size, self._pauses)
        side.tokens.preemptive = rule.username == SECOND_SITE
        if found is not None:
            await found[2].close()
        self._open[rule.id] = key, side, session
        return side

    async def close(self) -> None:
        """Close all connections."""
        for _, _, session in self._open.values():
            await session.close()
        self._open.clear()
