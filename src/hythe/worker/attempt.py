"""One attempt at a build, from the checkout to the tags. It always ends with a result and a reason."""

import hashlib
import logging
import zlib
from contextlib import ExitStack
from datetime import UTC, datetime

import msgspec

from hythe.client.client import Client
from hythe.client.errors import ClientError
from hythe.client.platforms import host_platform, parse_platform
from hythe.oci.errors import OCIError
from hythe.oci.manifest import Platform
from hythe.provenance.sbom import bill_of_materials
from hythe.provenance.statement import PROVENANCE, SPDX, BuildFacts, provenance, statement
from hythe.worker.autotest import Autotest
from hythe.worker.builders.base_images import BaseImages
from hythe.worker.builders.port import Builder, BuildInput, BuiltImage
from hythe.worker.builders.selection import make_builder
from hythe.worker.checkout import Checkout, forget_credentials
from hythe.worker.errors import (
    BuildFailed,
    BuildStopped,
    IsolationUnavailable,
    JobLost,
    LimitReached,
)
from hythe.worker.hooks import HookRunner
from hythe.worker.hub_api import HubAPI
from hythe.worker.isolation.disk import locked
from hythe.worker.isolation.port_forward import ForwardedPort
from hythe.worker.isolation.sandbox import NetworkAccess, Sandbox
from hythe.worker.isolation.selection import Isolation
from hythe.worker.progress import ProgressReporter
from hythe.worker.protocol import BuildOutcome, BuildResult, CheckedOutCommit, Job, Network
from hythe.worker.publish import Publisher, own_repository, united
from hythe.worker.shared_layers import FETCHED, SharedLayers
from hythe.worker.source_tree import PathEscapes, cleared, read_inside, remove, write_inside

log = logging.getLogger(__name__)

SLOTS = 50_000
"""Number of user ID ranges; a repository always gets the same one, because of its cache."""
LARGEST_README = 100_000
READMES = ("README.md", "Readme.md", "readme.md", "README", "README.txt", "README.rst")
SECRETS = "secrets"
_CLEARED = ("src", "repository.git", "out", "home", SECRETS, "tmp", "bases", FETCHED)
"""What an earlier build left on a cached disk besides its layers."""


class Attempt:
    """Runs a job. Call ``run`` once; call ``stop`` from any thread."""

    def __init__(self, job: Job, link: HubAPI, client: Client, isolation: Isolation) -> None:
        self._job = job
        self._link = link
        self._client = client
        self._isolation = isolation
        self._sandbox: Sandbox | None = None
        self._record = ProgressReporter(job, link, self.stop)
        self._began = datetime.now(UTC)

    def stop(self) -> None:
        """End the attempt soon, whatever it is doing."""
        if self._sandbox is not None:
            self._sandbox.stop()

    def abandon(self) -> None:
        """End the attempt without a report, so that another worker runs the build."""
        self._record.abandon()
        self.stop()

    def run(self) -> BuildOutcome | None:
        """Build, push and report. Return the result; None if another worker got the build."""
        record = self._record
        record.start()
        record.line(f"Build {self._job.number} of {self._job.repository}, attempt {self._job.fence}")
        record.line(f"Isolation: {self._isolation}")
        try:
            outcome = self._outcome()
        except Exception as error:
            # Report unexpected errors, too: on another worker the build would most likely fail again, without a reason
            # for the user.
            log.exception(
                "build %s of %s failed because of an error in the worker", self._job.number, self._job.repository
            )
            outcome = _failed(f"the worker failed ({_told(error)}): see its log, and retry when it is fixed")
        except BaseException:
            # The worker is stopping: send no more heartbeats, so that another worker runs the build.
            record.abandon()
            raise
        # A builder's reason may contain the output of a step.
        outcome = msgspec.structs.replace(outcome, reason=record.masked(outcome.reason))
        record.line(f"==> {outcome.status}{': ' + outcome.reason if outcome.reason else ''}")
        record.close()
        if record.lost:
            return None
        if record.cancelled_by:
            outcome = BuildOutcome(status="cancelled", reason=f"cancelled by {record.cancelled_by}")
        try:
            self._link.finish(self._job, outcome)
        except (JobLost, ClientError):
            return None
        return outcome

    def _outcome(self) -> BuildOutcome:
        try:
            return self._carry_out()
        except BuildStopped:
            return BuildOutcome(status="cancelled", reason="stopped")
        except LimitReached as error:
            return _failed(f"the build stopped: {error}")
        except (BuildFailed, PathEscapes, IsolationUnavailable) as error:
            return _failed(str(error))
        except JobLost:
            return _failed("another worker has the build")
        except (ClientError, OCIError) as error:
            return _failed(f"failed to push the image: {error}")
        except OSError as error:
            return _failed(f"the worker's disk or network failed: {error}")

    def _carry_out(self) -> BuildOutcome:
        with ExitStack() as stack:
            sandbox = self._sandbox = self._opened(stack)
            return _BuildRun(
                self._job, self._link, self._client, self._isolation, sandbox, self._record, self._began
            ).run()

    def _opened(self, stack: ExitStack) -> Sandbox:
        """Return the sandbox, on the repository's cached disk if it is free and allowed."""
        job, folder = self._job, self._isolation.folder
        name = f"{job.build_id}-{job.fence}"
        kept = hashlib.sha256(job.repository.encode()).hexdigest()[:20]
        may_keep = job.spec.cache and job.trusted
        free = may_keep and stack.enter_context(locked(folder / "cache" / f"{kept}.lock"))
        image = folder / "cache" / f"{kept}.img" if free else folder / "work" / f"{name}.img"
        slot = zlib.crc32(job.repository.encode()) % SLOTS
        sandbox = self._isolation.sandbox(name, slot, job.limits, image)
        stack.callback(lambda: sandbox.close(keep=bool(free)))
        stack.callback(lambda: remove(sandbox.work / SECRETS))
        for left in _CLEARED:
            remove(sandbox.work / left)
        return sandbox


class _BuildRun:
    """The steps of an attempt in its sandbox."""

    def __init__(
        self,
        job: Job,
        link: HubAPI,
        client: Client,
        isolation: Isolation,
        sandbox: Sandbox,
        record: ProgressReporter,
        began: datetime,
    ) -> None:
        self._job = job
        self._link = link
        self._client = client
        self._isolation = isolation
        self._sandbox = sandbox
        self._record = record
        self._began = began
        self._reach = build_reach(job, isolation)
        self._layers = SharedLayers(job, lambda: own_repository(job, link, client), record, sandbox.work)

    def run(self) -> BuildOutcome:
        """Check out, build every platform, test, push, attach, tag."""
        found, when = self._checked_out()
        hooks = HookRunner(self._job, found, self._sandbox, self._record, self._reach, when)
        hooks.run("post_checkout")
        text = self._dockerfile()
        builder = self._builder()
        hooks.run("pre_build")
        self._write_secrets()
        images, bases = self._built(builder, hooks, text, found, when)
        remove(self._sandbox.work / SECRETS)
        hooks.run("post_build")
        self._tested(hooks, builder)
        return self._published(hooks, builder, images, bases, text, found)

    def _checked_out(self) -> tuple[CheckedOutCommit, int]:
        with self._record.step("checkout"):
            checkout = Checkout(self._job, self._sandbox, self._record, self._isolation.networks)
            found, when = checkout.fetch()
            forget_credentials(self._sandbox.work)
            self._record.line(f"commit {found.commit} by {found.author}: {found.message}")
            tags = self._link.found(self._job, found)
            self._job = msgspec.structs.replace(self._job, tags=tags)
            return found, when

    def _write_secrets(self) -> None:
        work = self._sandbox.work
        self._sandbox.give(cleared(work, SECRETS))
        for name, value in self._job.secrets.items():
            write_inside(work, f"{SECRETS}/{name}", value, self._sandbox.give, 0o600)

    def _dockerfile(self) -> str:
        spec = self._job.spec
        path = f"{spec.context.strip('/')}/{spec.dockerfile}".lstrip("/")
        for candidate in (path, spec.dockerfile, f"{path}/Dockerfile"):
            try:
                return read_inside(self._sandbox.work / "src", candidate, 1 << 20).decode(errors="replace")
            except (FileNotFoundError, NotADirectoryError):
                continue
            except PathEscapes as error:
                if "ordinary file" not in str(error):
                    raise BuildFailed(f"the Dockerfile is invalid: {error}") from error
        raise BuildFailed(f"no Dockerfile at {path}: check the rule's context and Dockerfile")

    def _builder(self) -> Builder:
        bases = BaseImages(self._job, self._link, self._client)
        external = self._isolation.external
        return make_builder(external, self._sandbox, self._record, bases, self._job.limits, self._reach)

    def _built(
        self, builder: Builder, hooks: HookRunner, text: str, found: CheckedOutCommit, when: int
    ) -> tuple[list[tuple[BuiltImage, Platform]], dict[str, str]]:
        images: list[tuple[BuiltImage, Platform]] = []
        bases: dict[str, str] = {}
        for platform in self._job.spec.platforms or ("",):
            order = self._order(text, platform, found, when)
            suffix = f" {platform}" if platform else ""
            with self._record.step(f"base images{suffix}"):
                bases |= builder.fetch_bases(order)
            if hooks.has("build"):
                hooks.run("build")
                return [(builder.export(order), host_platform())], bases
            self._layers.bring(builder, order)
            with self._record.step(f"build{suffix}"):
                image = builder.build(order)
            self._layers.built(order, image)
            images.append((image, parse_platform(platform) if platform else host_platform()))
        return images, bases

    def _order(self, text: str, platform: str, found: CheckedOutCommit, when: int) -> BuildInput:
        job, spec = self._job, self._job.spec
        source = job.source_url.removesuffix(".git")
        labels = {
            "org.opencontainers.image.source": source,
            "org.opencontainers.image.revision": found.commit,
            "org.opencontainers.image.created": f"{datetime.fromtimestamp(when, UTC):%Y-%m-%dT%H:%M:%SZ}",
            "org.opencontainers.image.url": f"{job.hub_url}/r/{job.repository}",
            "org.opencontainers.image.ref.name": job.ref.name,
        }
        return BuildInput(
            context=spec.context.strip("/"),
            dockerfile=spec.dockerfile,
            dockerfile_text=text,
            platform=platform,
            arguments=spec.arguments,
            target=spec.target,
            labels=labels,
            secrets=tuple(sorted(job.secrets)),
            cache=spec.cache,
            time=when,
            image=f"{job.registry}/{job.repository}:{job.tags[0] if job.tags else 'latest'}",
        )

    def _tested(self, hooks: HookRunner, builder: Builder) -> None:
        hooks.run("pre_test")
        if not hooks.run("test") and self._job.spec.autotest:
            Autotest(self._job, self._sandbox, self._record, self._reach, builder, hooks.variables).run()
        hooks.run("post_test")

    def _published(
        self,
        hooks: HookRunner,
        builder: Builder,
        images: list[tuple[BuiltImage, Platform]],
        bases: dict[str, str],
        text: str,
        found: CheckedOutCommit,
    ) -> BuildOutcome:
        result = BuildResult(
            bases=bases,
            registry=self._job.registry,
            dockerfile=text[:LARGEST_README],
            readme=self._readme(),
            builder=builder.name,
            isolation=str(self._isolation),
            images={str(platform): image.descriptor.digest for image, platform in images},
        )
        if not self._job.trusted:
            return BuildOutcome(
                status="succeeded", reason="built but not pushed, because the source is a fork", result=result
            )
        if self._job.compare_with:
            return self._compared(str(united(images).digest()), result)
        tags = self._tags_to_move(hooks)
        publisher = Publisher(self._job, self._link, self._client)
        with self._record.step("push"):
            manifest = publisher.push_images(images)
        with self._record.step("provenance"):
            attached = self._attached(publisher, images, str(manifest.digest()), result, found, text)
        with self._record.step("tags"):
            publisher.tag(manifest, tags)
            self._record.line(f"{', '.join(tags)}: {manifest.digest()}")
        hooks.run("post_push")
        self._layers.keep(builder)
        result = msgspec.structs.replace(result, tags=tags, attestations=attached)
        return BuildOutcome(status="succeeded", digest=str(manifest.digest()), result=result)

    def _compared(self, digest: str, result: BuildResult) -> BuildOutcome:
        """A second build of a commit pushes nothing: it reports whether its image is identical to the first one's."""
        same = digest == self._job.compare_with
        self._record.line(f"{digest} is {'the same as' if same else 'not'} {self._job.compare_with}")
        reason = "" if same else "the image differs from the first build's"
        result = msgspec.structs.replace(result, reproduced=same)
        return BuildOutcome(status="succeeded", reason=reason, digest=digest, result=result)

    def _tags_to_move(self, hooks: HookRunner) -> tuple[str, ...]:
        """Return the rule's tags, and the tags of this repository that hooks pushed."""
        hooks.run("pre_push")
        hooks.run("push")
        own = f"{self._job.registry}/{self._job.repository}:"
        extra = [name.removeprefix(own) for name in hooks.pushed() if name.startswith(own)]
        tags = tuple(dict.fromkeys([*self._job.tags, *extra]))
        if not tags:
            raise BuildFailed("the rule results in no Docker tag for this commit: change its tags")
        return tags

    def _attached(
        self,
        publisher: Publisher,
        images: list[tuple[BuiltImage, Platform]],
        digest: str,
        result: BuildResult,
        found: CheckedOutCommit,
        text: str,
    ) -> tuple[str, ...]:
        job = self._job
        facts = self._facts(result, found, text)
        name = f"{job.registry}/{job.repository}"
        attached = []
        folder = self._isolation.folder / "work" / f"{job.build_id}-{job.fence}.attest"
        subjects = {image.descriptor.digest: image for image, _ in images}
        for subject in dict.fromkeys([digest, *subjects]):
            envelopes = [(PROVENANCE, self._signed(name, subject, PROVENANCE, provenance(facts)))]
            if image := subjects.get(subject):
                bill = bill_of_materials(image.layout, image.descriptor, name, self._began)
                envelopes.append((SPDX, self._signed(name, subject, SPDX, bill)))
            attached.append(publisher.attach(subject, envelopes, folder, facts.finished))
        return tuple(attached)

    def _facts(self, result: BuildResult, found: CheckedOutCommit, text: str) -> BuildFacts:
        job, spec = self._job, self._job.spec
        return BuildFacts(
            source_url=job.source_url,
            ref=f"{job.ref.type.value} {job.ref.name}",
            commit=found.commit,
            rule=spec.rule,
            context=spec.context,
            dockerfile=spec.dockerfile,
            dockerfile_digest=f"sha256:{hashlib.sha256(text.encode()).hexdigest()}",
            arguments=spec.arguments,
            target=spec.target,
            platforms=spec.platforms,
            tags=job.tags,
            bases=result.bases,
            isolation=result.isolation,
            network=job.limits.network.value,
            builder=result.builder,
            hub_url=job.hub_url,
            repository=job.repository,
            number=job.number,
            started=f"{self._began:%Y-%m-%dT%H:%M:%SZ}",
            finished=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        )

    def _signed(self, name: str, digest: str, kind: str, predicate: object) -> bytes:
        return self._link.sign(self._job, statement(name, digest, kind, predicate))

    def _readme(self) -> str:
        """Return the README next to the Dockerfile, or else the one of the source."""
        if not self._job.spec.readme:
            return ""
        spec = self._job.spec
        beside = f"{spec.context.strip('/')}/{spec.dockerfile}".lstrip("/").rpartition("/")[0]
        for folder in dict.fromkeys((beside, spec.context.strip("/"), "")):
            for name in READMES:
                try:
                    path = f"{folder}/{name}".lstrip("/")
                    return read_inside(self._sandbox.work / "src", path, LARGEST_README).decode(errors="replace")
                except (FileNotFoundError, NotADirectoryError, PathEscapes):
                    continue
        return ""


def build_reach(job: Job, isolation: Isolation) -> NetworkAccess:
    """Return what the build's steps can reach. Raises IsolationUnavailable if this worker does not support it."""
    network = job.limits.network
    if network is Network.OFF:
        return NetworkAccess()
    if network not in isolation.networks:
        raise IsolationUnavailable(
            f"this worker does not support network {network.value!r} for builds: set builds_network to off"
        )
    host, _, port = job.registry.rpartition(":") if ":" in job.registry else (job.registry, "", "443")
    loopback = host if host.startswith("127.") else "127.0.0.1"
    hosts = () if host in (loopback, "localhost") else ((loopback, host),)
    return NetworkAccess(network, (ForwardedPort(host, int(port), loopback),), hosts)


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _failed(reason: str) -> BuildOutcome:
    return BuildOutcome(status="failed", reason=reason[:2000])
