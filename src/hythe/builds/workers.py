"""The hub's side of the worker protocol: jobs, progress, push tokens and signatures."""

import hmac
from collections.abc import Callable
from datetime import datetime

import msgspec

from hythe.builds.build import Build
from hythe.builds.configuration import BuildConfiguration, Options
from hythe.builds.configurations import BUILD_SECRET, CREDENTIALS
from hythe.builds.errors import InvalidBuildConfiguration, LeaseLost
from hythe.builds.layer_cache import configuration_id_of, layer_cache
from hythe.builds.queue import BuildQueue, ClaimedBuild, digest_of
from hythe.builds.rules import Rule
from hythe.builds.sql import builds as build_rows
from hythe.builds.sql import configurations as configuration_rows
from hythe.builds.sql.queue import Lease, LeaseState
from hythe.builds.worker_administration import WorkerAdministration
from hythe.database import Database, Session
from hythe.hub.access.decision import HubAccess
from hythe.hub.actor import BuildLease, HubActor
from hythe.hub.errors import SignInNeeded
from hythe.hub.secret_box import SecretBox, SecretLost
from hythe.hub.sql import namespaces as namespace_rows
from hythe.hub.tokens.access_token import claims_for
from hythe.hub.tokens.keys import LONGEST_TOKEN, SigningKeys
from hythe.oci.scope import PULL, PUSH, Scope
from hythe.provenance.envelope import sign
from hythe.worker.protocol import (
    BuildLimits,
    BuildOutcome,
    BuildSpec,
    CheckedOutCommit,
    Claim,
    DiskKeys,
    DockerTags,
    HeartbeatReply,
    Job,
    ProgressReport,
    PushToken,
    SignedEnvelope,
)

TOKEN_SECONDS = int(LONGEST_TOKEN.total_seconds())
"""How long a push token is valid; a build that pushes longer gets a new one."""
MAX_TOKEN_REPOSITORIES = 20


class WorkerService:
    """Serves workers. Callers authenticate with the worker token, and for a build with its key."""

    def __init__(
        self,
        database: Database,
        access: HubAccess,
        secret_box: SecretBox,
        keys: SigningKeys,
        queue: BuildQueue,
        known: WorkerAdministration,
        clock: Callable[[], datetime],
        *,
        token: str,
        limits: BuildLimits,
        public_url: str,
    ) -> None:
        self._database = database
        self._access = access
        self._secret_box = secret_box
        self._keys = keys
        self._queue = queue
        self._known = known
        self._clock = clock
        self._token = token
        self._limits = limits
        self._public_url = public_url.rstrip("/")

    def apply(self, limits: BuildLimits) -> None:
        """Take over changed limits for builds that start from now on."""
        self._limits = limits

    def require_worker(self, authorization: str | None) -> None:
        """Return if the worker token is correct. Raises SignInNeeded."""
        token = (authorization or "").removeprefix("Bearer ")
        if not self._token or not hmac.compare_digest(token.encode(), self._token.encode()):
            raise SignInNeeded("the worker token is missing or wrong", "start the worker with the hub's worker_token")

    async def claim(self, claim: Claim, address: str = "") -> Job | None:
        """Return the next build as a job, None if there is none within the requested time, or the worker is draining.

        ``address`` is the worker's.
        """
        await self._known.record(claim, address)
        claimed = await self._queue.claim(claim.worker, claim.wait)
        if claimed is None:
            return None
        try:
            return await self._job(claimed)
        except SecretLost as error:
            # Otherwise the build would be claimed again and again.
            lease = lease_of(claimed.build.id, claimed.build.fence, claimed.key)
            reason = f"{error.message}: {error.hint}"
            await self._queue.finish(lease, BuildOutcome(status="failed", reason=reason))
            return None

    async def _job(self, claimed: ClaimedBuild) -> Job:
        build = claimed.build
        async with self._database.reading() as session:
            configuration = await configuration_rows.by_id(session, build.configuration_id)
            if configuration is None:
                raise LeaseLost("the build configuration was deleted")
            credentials, _ = await configuration_rows.sealed(session, configuration.id)
            secrets = await configuration_rows.secrets(session, configuration.id) if build.trusted else {}
            original = await build_rows.reproduced(session, build.id)
            cache = await layer_cache(session, configuration, build)
        return Job(
            build_id=build.id,
            number=build.number,
            repository=build.repository,
            fence=build.fence,
            key=claimed.key,
            source_url=configuration.source.url,
            credentials=self._secret_box.unseal(CREDENTIALS, credentials) if credentials else "",
            ref=build.ref,
            spec=_spec(build.rule, configuration.options),
            tags=build.tags,
            secrets={name: self._secret_box.unseal(BUILD_SECRET, sealed) for name, sealed in secrets.items()},
            trusted=build.trusted,
            limits=self._limits_of(configuration, build),
            log_size=build.log_size,
            registry=self._public_url.partition("://")[2],
            hub_url=self._public_url,
            compare_with=original.digest if original else "",
            cache=cache,
            request_id=build.request_id,
            trace_parent=build.trace_parent,
        )

    def _limits_of(self, configuration: BuildConfiguration, build: Build) -> BuildLimits:
        seconds = min(build.rule.timeout or self._limits.seconds, self._limits.seconds)
        wider = {"off": 0, "registry": 1, "open": 2}
        network = configuration.options.network or self._limits.network
        if wider[network.value] > wider[self._limits.network.value]:
            network = self._limits.network
        return msgspec.structs.replace(self._limits, seconds=seconds, network=network)

    async def unknown_disks(self, kept: DiskKeys) -> DiskKeys:
        """Return those of a worker's kept disks that no build can use any more."""
        async with self._database.reading() as session:
            known = await configuration_rows.active(session, {configuration_id_of(key) for key in kept.keys})
        return DiskKeys(tuple(key for key in kept.keys if configuration_id_of(key) not in known))

    async def progress(self, lease: Lease, progress: ProgressReport | None) -> HeartbeatReply:
        """Record a heartbeat with the steps so far. Raises LeaseLost."""
        return _heartbeat_reply(await self._queue.heartbeat(lease, progress.steps if progress else None))

    async def log(self, lease: Lease, offset: int, content: bytes) -> HeartbeatReply:
        """Append to the log. Raises LeaseLost."""
        return _heartbeat_reply(await self._queue.append_log(lease, offset, content[: self._limits.log]))

    async def record_commit(self, lease: Lease, found: CheckedOutCommit) -> DockerTags:
        """Record the commit, return the Docker tags. Raises LeaseLost, InvalidBuildConfiguration."""
        return DockerTags(await self._queue.record_commit(lease, found))

    async def finish(self, lease: Lease, outcome: BuildOutcome) -> None:
        """End the build. Raises LeaseLost."""
        await self._queue.finish(lease, outcome)

    async def push_token(self, lease: Lease, repositories: tuple[str, ...]) -> PushToken:
        """Return a token that can push to the build's repository, and pull others that its owner can pull."""
        async with self._database.reading() as session:
            build = await self._held(session, lease)
            namespace = await namespace_rows.by_name(session, build.account)
        owner = HubActor(build.account, user_id=namespace.user_id if namespace else None)
        own = Scope.repository(build.repository, PULL, *((PUSH,) if build.trusted else ()))
        requested = [Scope.repository(name, PULL) for name in repositories[:MAX_TOKEN_REPOSITORIES]]
        granted = [own, *[await self._access.granted(owner, scope) for scope in requested]]
        actor = HubActor(f"build {build.number}", build=BuildLease(build.id, lease.fence, lease.key_digest))
        service = self._public_url.partition("://")[2]
        return PushToken(
            self._keys.sign(claims_for(actor, service, tuple(granted), self._clock(), TOKEN_SECONDS)), TOKEN_SECONDS
        )

    async def sign(self, lease: Lease, payload: bytes) -> SignedEnvelope:
        """Sign a statement about the build's own repository and commit. Raises LeaseLost, InvalidBuildConfiguration."""
        async with self._database.reading() as session:
            build = await self._held(session, lease)
        _require_own(build, payload)
        key, key_id = self._keys.provenance_key()
        return SignedEnvelope(sign(payload, key, key_id).decode())

    async def _held(self, session: Session, lease: Lease) -> Build:
        await self._queue.require(session, lease)
        build = await build_rows.by_id(session, lease.build_id)
        if build is None:
            raise LeaseLost("this build was deleted")
        return build


class _Subject(msgspec.Struct):
    name: str
    digest: dict[str, str]


class _Dependency(msgspec.Struct):
    uri: str = ""
    digest: dict[str, str] = {}


class _Definition(msgspec.Struct):
    resolved: tuple[_Dependency, ...] = msgspec.field(name="resolvedDependencies", default=())


class _Predicate(msgspec.Struct):
    definition: _Definition = msgspec.field(name="buildDefinition", default_factory=_Definition)


class _Statement(msgspec.Struct):
    subject: tuple[_Subject, ...]
    predicate: _Predicate


def _require_own(build: Build, payload: bytes) -> None:
    """Raise InvalidBuildConfiguration if a statement is about another repository or commit than the build's."""
    try:
        statement = msgspec.json.decode(payload, type=_Statement)
    except msgspec.MsgspecError as error:
        raise InvalidBuildConfiguration(f"invalid in-toto statement: {error}") from error
    if not statement.subject or any(not each.name.endswith(f"/{build.repository}") for each in statement.subject):
        raise InvalidBuildConfiguration("the statement is about another repository than the build's")
    commits = {each.digest.get("gitCommit") for each in statement.predicate.definition.resolved} - {None}
    if commits and commits != {build.ref.commit}:
        raise InvalidBuildConfiguration("the statement is about another commit than the build's")


def _spec(rule: Rule, options: Options) -> BuildSpec:
    return BuildSpec(
        rule=rule.source,
        context=rule.context,
        dockerfile=rule.dockerfile,
        arguments=rule.arguments,
        target=rule.target,
        platforms=rule.platforms,
        cache=rule.cache,
        autotest=options.autotest,
        submodules=options.submodules,
        readme=options.readme,
    )


def lease_of(build_id: int, fence: int, key: str) -> Lease:
    """Return the lease that a worker claims to have."""
    return Lease(build_id, fence, digest_of(key))


def _heartbeat_reply(held: LeaseState) -> HeartbeatReply:
    return HeartbeatReply(held.cancelled_by, held.log_size)
