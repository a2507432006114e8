"""One attempt at a build, from the checkout to the tags. It always ends with a result and a reason."""

import hashlib
import logging
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime

import msgspec

from hythe.client.client import Client
from hythe.client.errors import ClientError
from hythe.client.layout import NotRegularFile
from hythe.client.platforms import host_platform, parse_platform
from hythe.oci.errors import OCIError
from hythe.oci.manifest import Platform
from hythe.provenance.sbom import bill_of_materials
from hythe.provenance.statement import NO_CACHE, PROVENANCE, SPDX, BuildFacts, provenance, statement
from hythe.worker.autotest import Autotest
from hythe.worker.build_disks import BuildDisks, open_disks
from hythe.worker.build_messages import BuildMessage, BuildStart
from hythe.worker.builders.base_images import BaseImages
from hythe.worker.builders.platforms import automatic_arguments
from hythe.worker.builders.port import Builder, BuildInput, BuiltImage
from hythe.worker.builders.selection import make_builder
from hythe.worker.checkout import Checkout, forget_credentials
from hythe.worker.dockerfiles.git_source import GitSource
from hythe.worker.dockerfiles.rewriting import selected_sources
from hythe.worker.errors import (
    BuildFailed,
    BuildStopped,
    Interrupted,
    IsolationUnavailable,
    JobLost,
    LimitReached,
)
from hythe.worker.hooks import HookRunner
from hythe.worker.hub_api import HubAPI
from hythe.worker.isolation.port_forward import ForwardedPort
from hythe.worker.isolation.sandbox import NetworkAccess, Sandbox
from hythe.worker.isolation.selection import Isolation
from hythe.worker.progress import ProgressReporter
from hythe.worker.protocol import BuildOutcome, BuildResult, CheckedOutCommit, Job, Network
from hythe.worker.publish import Publisher, build_repository, combined_manifest
from hythe.worker.shared_layers import SharedLayers
from hythe.worker.source_files import MAX_README_SIZE, read_dockerfile, read_readme
from hythe.worker.source_tree import PathEscapes, make_empty, remove, write_inside

log = logging.getLogger(__name__)

SECRETS = "secrets"


class Attempt:
    """Runs a job, in a process of its own. Call ``run`` once."""

    def __init__(self, start: BuildStart, hub: HubAPI, client: Client, send: Callable[[BuildMessage], None]) -> None:
        self._start = start
        self._job = start.job
        self._hub = hub
        self._client = client
        self._isolation = start.isolation
        self._sandbox: Sandbox | None = None
        self._progress = ProgressReporter(start.job, send)
        self._began = datetime.now(UTC)
        self._is_ending = False

    def interrupt(self, reason: Exception) -> None:
        """End the attempt for this reason, whatever the main thread is doing. For signal handlers, in that thread.

        Raises Interrupted, unless the attempt is ending already.
        """
        if self._is_ending:
            return
        self._is_ending = True
        if self._sandbox is not None:
            self._sandbox.stop()
        raise Interrupted(reason)

    def run(self) -> BuildOutcome:
        """Build, push and sign. Return the outcome of any error, too."""
        try:
            return self._outcome()
        except Interrupted as error:
            return _outcome_of(error.reason)
        except MemoryError:
            return _failure(f"the build stopped: it used more than its {self._job.limits.memory >> 20} MiB of memory")
        except Exception as error:
            # Report unexpected errors, too: on another worker the build would most likely fail again, without a reason
            # for the user.
            log.exception(
                "build %s of %s failed because of an error in the worker", self._job.number, self._job.repository
            )
            return _failure(f"the worker failed ({_describe(error)}): see its log, and retry when it is fixed")
        finally:
            self._is_ending = True

    def _outcome(self) -> BuildOutcome:
        try:
            return self._execute()
        except (BuildStopped, LimitReached, BuildFailed, PathEscapes, IsolationUnavailable, JobLost) as error:
            return _outcome_of(error)
        except (ClientError, OCIError) as error:
            return _failure(f"failed to push the image: {error}")
        except NotRegularFile as error:
            return _failure(f"the image is damaged: {error}")
        except OSError as error:
            return _failure(f"the worker's disk or network failed: {error}")

    def _execute(self) -> BuildOutcome:
        with ExitStack() as stack:
            disks = self._open_disks(stack)
            self._sandbox = disks.sandbox
            stack.callback(self._close)
            return _BuildRun(
                self._job, self._hub, self._client, self._isolation, disks, self._progress, self._began
            ).run()

    def _open_disks(self, stack: ExitStack) -> BuildDisks:
        start = self._start
        return open_disks(self._job, self._isolation, stack, start.deadline, start.groups)

    def _close(self) -> None:
        """Before the disk is released: let no signal interrupt that any more."""
        self._is_ending = True
        self._progress.closing()


class _BuildRun:
    """The steps of an attempt in its sandbox."""

    def __init__(
        self,
        job: Job,
        hub: HubAPI,
        client: Client,
        isolation: Isolation,
        disks: BuildDisks,
        progress: ProgressReporter,
        began: datetime,
    ) -> None:
        self._job = job
        self._hub = hub
        self._client = client
        self._isolation = isolation
        self._sandbox = disks.sandbox
        self._store = disks.store
        self._progress = progress
        self._began = began
        self._access = build_access(job, isolation)
        self._layers = SharedLayers(job, lambda: build_repository(job, hub, client), progress)
        self._repositories: dict[GitSource, str] = {}
        """The repositories that were fetched for ADD, with their commits."""

    def run(self) -> BuildOutcome:
        """Check out, build every platform, test, push, attach, tag."""
        checked_out, commit_time = self._check_out()
        hooks = HookRunner(self._job, checked_out, self._sandbox, self._progress, self._access, commit_time)
        hooks.run("post_checkout")
        text = read_dockerfile(self._sandbox.work / "src", self._job.spec)
        builder = self._builder()
        hooks.run("pre_build")
        self._write_secrets()
        images, bases = self._build_images(builder, hooks, text, checked_out, commit_time)
        remove(self._sandbox.work / SECRETS)
        hooks.run("post_build")
        self._test(hooks, builder)
        return self._publish(hooks, builder, images, bases, text, checked_out)

    def _check_out(self) -> tuple[CheckedOutCommit, int]:
        with self._progress.step("checkout"):
            if self._job.request_id:
                self._progress.line(f"started by request {self._job.request_id}")
            checkout = Checkout(self._job, self._sandbox, self._progress, self._isolation.networks)
            checked_out, commit_time = checkout.fetch()
            self._fetch_added_repositories(checkout)
            forget_credentials(self._sandbox.work)
            self._progress.line(f"commit {checked_out.commit} by {checked_out.author}: {checked_out.message}")
            tags = self._hub.report_commit(self._job, checked_out)
            self._job = msgspec.structs.replace(self._job, tags=tags)
            return checked_out, commit_time

    def _fetch_added_repositories(self, checkout: Checkout) -> None:
        """Fetch the git repositories of ADD for buildah, while no code of the source has run."""
        if self._isolation.external is not None:
            return
        for platform in self._job.spec.platforms or ("",):
            arguments = {**automatic_arguments(platform), **self._job.spec.arguments}
            try:
                sources = selected_sources(read_dockerfile(self._sandbox.work / "src", self._job.spec), arguments)
            except BuildFailed:
                return  # a hook can still change the Dockerfile
            for source in sources:
                git = source.git
                if git is not None and git.without_folder not in self._repositories:
                    self._repositories[git.without_folder] = checkout.fetch_added(source, git)

    def _write_secrets(self) -> None:
        work = self._sandbox.work
        self._sandbox.chown(make_empty(work, SECRETS))
        for name, value in self._job.secrets.items():
            write_inside(work, f"{SECRETS}/{name}", value, self._sandbox.chown, 0o600)

    def _builder(self) -> Builder:
        bases = BaseImages(self._job, self._hub, self._client)
        external = self._isolation.external
        return make_builder(external, self._sandbox, self._store, self._progress, bases, self._job.limits, self._access)

    def _build_images(
        self, builder: Builder, hooks: HookRunner, text: str, checked_out: CheckedOutCommit, commit_time: int
    ) -> tuple[list[tuple[BuiltImage, Platform]], dict[str, str]]:
        images: list[tuple[BuiltImage, Platform]] = []
        bases: dict[str, str] = {}
        for platform in self._job.spec.platforms or ("",):
            build_input = self._build_input(text, platform, checked_out, commit_time)
            suffix = f" {platform}" if platform else ""
            if not hooks.has("build"):
                builder.check(build_input)
            with self._progress.step(f"base images{suffix}"):
                bases |= builder.fetch_bases(build_input)
            if hooks.has("build"):
                hooks.run("build")
                return [(builder.export(build_input), host_platform())], bases
            self._layers.load(builder, build_input)
            with self._progress.step(f"build{suffix}"):
                image = builder.build(build_input)
            if not hooks.ran:
                self._layers.export(builder, build_input, image)
            images.append((image, parse_platform(platform) if platform else host_platform()))
        return images, bases

    def _build_input(self, text: str, platform: str, checked_out: CheckedOutCommit, commit_time: int) -> BuildInput:
        job, spec = self._job, self._job.spec
        source = job.source_url.removesuffix(".git")
        labels = {
            "org.opencontainers.image.source": source,
            "org.opencontainers.image.revision": checked_out.commit,
            "org.opencontainers.image.created": f"{datetime.fromtimestamp(commit_time, UTC):%Y-%m-%dT%H:%M:%SZ}",
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
            time=commit_time,
            commits={git.key: commit for git, commit in self._repositories.items()},
            image=f"{job.registry}/{job.repository}:{job.tags[0] if job.tags else 'latest'}",
        )

    def _test(self, hooks: HookRunner, builder: Builder) -> None:
        hooks.run("pre_test")
        if not hooks.run("test") and self._job.spec.autotest:
            Autotest(self._job, self._sandbox, self._progress, self._access, builder, hooks.variables).run()
        hooks.run("post_test")

    def _publish(
        self,
        hooks: HookRunner,
        builder: Builder,
        images: list[tuple[BuiltImage, Platform]],
        bases: dict[str, str],
        text: str,
        checked_out: CheckedOutCommit,
    ) -> BuildOutcome:
        result = BuildResult(
            bases=bases,
            registry=self._job.registry,
            dockerfile=text[:MAX_README_SIZE],
            readme=read_readme(self._sandbox.work / "src", self._job.spec),
            builder=builder.name,
            isolation=str(self._isolation),
            images={str(platform): image.descriptor.digest for image, platform in images},
            layers=self._job.cache.layers,
            cache_key=self._job.cache.key,
            cached=self._cached_state(builder),
            hooks=tuple(hooks.ran),
        )
        if not self._job.trusted:
            return BuildOutcome(
                status="succeeded", reason="built but not pushed, because the source is a fork", result=result
            )
        if self._job.compare_with:
            return self._compare(str(combined_manifest(images).digest()), result)
        tags = self._tags_to_move(hooks)
        publisher = Publisher(self._job, self._hub, self._client)
        with self._progress.step("push"):
            manifest = publisher.push_images(images)
        with self._progress.step("provenance"):
            attached = self._attach_statements(publisher, images, str(manifest.digest()), result, checked_out, text)
        with self._progress.step("tags"):
            publisher.tag(manifest, tags)
            self._progress.line(f"{', '.join(tags)}: {manifest.digest()}")
        hooks.run("post_push")
        if not hooks.ran:
            self._layers.share()
        result = msgspec.structs.replace(result, tags=tags, attestations=attached, layers=self._layers.recorded)
        result = msgspec.structs.replace(result, hooks=tuple(hooks.ran))
        return BuildOutcome(status="succeeded", digest=str(manifest.digest()), result=result)

    def _cached_state(self, builder: Builder) -> str:
        """Return a name for what the image can contain from earlier builds."""
        if builder.own_cache:
            return builder.own_cache
        return f"layers of build {self._job.cache.build}" if self._layers.used else NO_CACHE

    def _compare(self, digest: str, result: BuildResult) -> BuildOutcome:
        """A second build of a commit pushes nothing: it reports whether its image is identical to the first one's."""
        same = digest == self._job.compare_with
        self._progress.line(f"{digest} is {'the same as' if same else 'not'} {self._job.compare_with}")
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
            raise BuildFailed("the rule produces no Docker tag for this commit: change its tags")
        return tags

    def _attach_statements(
        self,
        publisher: Publisher,
        images: list[tuple[BuiltImage, Platform]],
        digest: str,
        result: BuildResult,
        checked_out: CheckedOutCommit,
        text: str,
    ) -> tuple[str, ...]:
        job = self._job
        facts = self._build_facts(result, checked_out, text)
        name = f"{job.registry}/{job.repository}"
        attached = []
        folder = self._isolation.folder / "work" / f"{job.attempt_name}.attest"
        subjects = {image.descriptor.digest: image for image, _ in images}
        for subject in dict.fromkeys([digest, *subjects]):
            envelopes = [(PROVENANCE, self._sign(name, subject, PROVENANCE, provenance(facts)))]
            if image := subjects.get(subject):
                bill = bill_of_materials(image.layout, image.descriptor, name, self._began)
                if comment := bill.get("comment"):
                    self._progress.line(f"bill of materials: {comment}")
                envelopes.append((SPDX, self._sign(name, subject, SPDX, bill)))
            attached.append(publisher.attach(subject, envelopes, folder, facts.finished))
        return tuple(attached)

    def _build_facts(self, result: BuildResult, checked_out: CheckedOutCommit, text: str) -> BuildFacts:
        job, spec = self._job, self._job.spec
        return BuildFacts(
            source_url=job.source_url,
            ref=f"{job.ref.type.value} {job.ref.name}",
            commit=checked_out.commit,
            rule=spec.rule,
            context=spec.context,
            dockerfile=spec.dockerfile,
            dockerfile_digest=f"sha256:{hashlib.sha256(text.encode()).hexdigest()}",
            arguments=sorted(spec.arguments),
            target=spec.target,
            platforms=spec.platforms,
            tags=job.tags,
            bases=result.bases,
            repositories={str(git): commit for git, commit in self._repositories.items()},
            layers={f"{job.registry}/{job.repository}:{tag}": digest for tag, digest in self._layers.used.items()},
            cached=result.cached,
            hooks=result.hooks,
            isolation=result.isolation,
            network=job.limits.network.value,
            builder=result.builder,
            hub_url=job.hub_url,
            repository=job.repository,
            number=job.number,
            started=f"{self._began:%Y-%m-%dT%H:%M:%SZ}",
            finished=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        )

    def _sign(self, name: str, digest: str, kind: str, predicate: object) -> bytes:
        return self._hub.sign(self._job, statement(name, digest, kind, predicate))


def build_access(job: Job, isolation: Isolation) -> NetworkAccess:
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


def _describe(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _outcome_of(reason: Exception) -> BuildOutcome:
    """Return the outcome of an attempt that ended for this reason."""
    match reason:
        case BuildStopped():
            return BuildOutcome(status="cancelled", reason="stopped")
        case LimitReached():
            return _failure(f"the build stopped: {reason}")
        case JobLost():
            return _failure("another worker has the build")
    return _failure(str(reason))


def _failure(reason: str) -> BuildOutcome:
    return BuildOutcome(status="failed", reason=reason[:2000])
