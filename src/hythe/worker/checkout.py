"""Checks out the source with git in the sandbox: shallow, pinned to a commit, with submodules and LFS."""

import base64
import re
import socket
from pathlib import Path
from urllib.parse import urlsplit

from hythe.egress.addresses import addresses_of, parse_address
from hythe.egress.policy import EgressDenied
from hythe.forges.source_ref import SourceType
from hythe.worker.dockerfiles.git_source import GitSource, clone_url
from hythe.worker.dockerfiles.rewriting import SelectedSource
from hythe.worker.errors import BuildFailed
from hythe.worker.isolation.port_forward import ForwardedPort
from hythe.worker.isolation.sandbox import NetworkAccess, Sandbox
from hythe.worker.progress import ProgressReporter
from hythe.worker.protocol import BuildLimits, CheckedOutCommit, Job, Network
from hythe.worker.source_tree import write_inside

SOURCE = "/work/src"
REPOSITORY = "/work/repository.git"
"""Location of git's own files while hooks and the build run; hooks get it as GIT_DIR."""
GIT_SOURCES = "git"
"""The folder below ``/work`` with the repositories of ``ADD``, by ``GitSource.key``."""
LOW_SPEED_SECONDS = 60
"""Window of the least transfer rate: longer than for registries, as a server sends little while it prepares a pack."""
_COMMIT_LINE = "\x1e"
_TOO_SLOW = "Operation too slow"
"""What git says in that case."""
SCRIPT = r"""
set -e
# Keep what is fetched as a pack: git would compress each object again to unpack it.
url=$1 name=$2 commit=$3 submodules=$4
g() { git -c core.hooksPath=/dev/null -c fetch.unpackLimit=1 "$@"; }
g init --quiet --initial-branch=hythe /work/src
cd /work/src
g remote add origin "$url"
if [ -z "$commit" ] || ! g fetch --quiet --depth=1 origin "$commit"; then
    # By name: some servers do not send single commits, so fetch the history that contains the commit.
    g fetch --quiet --depth=1 origin "$name" || exit 101
    if [ -n "$commit" ] && ! g cat-file -e "$commit^{commit}" 2>/dev/null; then
        g fetch --quiet --unshallow origin "$name" || exit 101
    fi
fi
g checkout --quiet --detach "${commit:-FETCH_HEAD}" || exit 102
if [ "$submodules" = yes ] && [ -f .gitmodules ]; then
    g submodule update --quiet --init --recursive --depth=1 || exit 103
fi
if [ -f .gitattributes ] && grep -q filter=lfs .gitattributes; then
    { g lfs install --local --skip-repo && g lfs pull; } || exit 104
fi
printf '\036%s\n' "$(g log -1 --format=%H%x1f%an\ \<%ae\>%x1f%ct%x1f%s)"
# Move git's own files out of the build context: they would change the image with every commit.
mv .git /work/repository.git
"""
ADD_SCRIPT = r"""
set -e
url=$1 ref=$2 folder=$3
g() { git -c core.hooksPath=/dev/null -c fetch.unpackLimit=1 "$@"; }
g init --quiet --initial-branch=hythe "$folder"
cd "$folder"
g remote add origin "$url"
if errors=$(g fetch --quiet --depth=1 origin "${ref:-HEAD}" 2>&1); then
    ref=FETCH_HEAD
else
    # Some servers do not send single commits, and none sends an abbreviated one: fetch everything.
    g fetch --quiet origin '+refs/heads/*:refs/remotes/origin/*' '+refs/tags/*:refs/tags/*' || exit 101
    g rev-parse --verify --quiet "$ref^{commit}" >/dev/null || { printf '%s\n' "$errors"; exit 102; }
fi
g checkout --quiet --detach "$ref" || exit 102
if [ -f .gitmodules ]; then g submodule update --quiet --init --recursive --depth=1 || exit 103; fi
printf '\036%s\n' "$(g rev-parse HEAD)"
"""
_REF = re.compile(r"(?!-)[\w./@+-]*")
_FAILURES = {
    101: "it cannot be fetched",
    102: "the commit does not exist",
    103: "a submodule cannot be fetched",
    104: "Git LFS files cannot be fetched",
}
_PORTS = {"https": 443, "http": 80, "ssh": 22, "git": 9418}
_QUIET = {
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_ALLOW_PROTOCOL": "http:https:ssh:git",
    "GIT_LFS_SKIP_SMUDGE": "1",
    "GIT_ADVICE": "0",
}


class Checkout:
    """The source of one build in its sandbox."""

    def __init__(self, job: Job, sandbox: Sandbox, progress: ProgressReporter, networks: frozenset[Network]) -> None:
        self._job = job
        self._sandbox = sandbox
        self._progress = progress
        self._environment = _QUIET | _least_rate(job) | _credentials(job, sandbox)
        self._access = source_access(job.source_url, job.limits, networks)
        self._commit_line = ""
        self._is_slow = False
        progress.hide(job.credentials, job.credentials.partition(":")[2])

    def fetch(self) -> tuple[CheckedOutCommit, int]:
        """Check out the commit, or the current one of the branch or tag; move git's own files out of the source.

        Returns the commit and its Unix time. Raises BuildFailed.
        """
        job, ref = self._job, self._job.ref
        name = f"refs/heads/{ref.name}" if ref.type is SourceType.BRANCH else f"refs/tags/{ref.name}"
        arguments = [job.source_url, name, ref.commit, "yes" if job.spec.submodules else "no"]
        command = ["sh", "-c", SCRIPT, "checkout", *arguments]
        completed = self._sandbox.run(command, self._on_line, access=self._access, environment=self._environment)
        if completed.code:
            reason = _FAILURES.get(completed.code, f"git exited with {completed.code}")
            if self._is_slow:
                reason += f", because its server sends less than {job.limits.least_rate}"
            raise BuildFailed(f"{ref.type.value} {ref.name!r} of {job.source_url}: {reason}: see the log")
        fields = self._commit_line.split("\x1f")
        if len(fields) != 4:
            raise BuildFailed("git did not report the commit")
        commit, author, commit_time, message = fields
        return CheckedOutCommit(commit, message[:2000], author[:250]), int(commit_time) if commit_time.isdigit() else 0

    def fetch_added(self, source: SelectedSource, git: GitSource) -> str:
        """Fetch a repository that an ``ADD`` names into GIT_SOURCES, as a submodule would be; return its commit.

        It reaches what submodules reach, before any code of the source runs. Only a source that is trusted gets the
        credentials. Raises BuildFailed.
        """
        if not _REF.fullmatch(git.ref):
            raise BuildFailed(f"{source.place}: {git.ref!r} is no branch, tag or commit")
        self._commit_line = ""
        folder = f"/work/{GIT_SOURCES}/{git.key}"
        command = ["sh", "-c", ADD_SCRIPT, "add", clone_url(git.url), git.ref, folder]
        environment = self._environment if self._job.trusted else _QUIET | _least_rate(self._job)
        completed = self._sandbox.run(command, self._on_line, access=self._access, environment=environment)
        if completed.code:
            reason = _FAILURES.get(completed.code, f"git exited with {completed.code}")
            raise BuildFailed(f"{source.place}: {git.without_folder}: {reason}: see the log")
        return self._commit_line

    def _on_line(self, line: str) -> None:
        """Log git's messages for users, and keep those of our script."""
        if line.startswith(_COMMIT_LINE):
            self._commit_line = line.removeprefix(_COMMIT_LINE)
        else:
            self._is_slow = self._is_slow or _TOO_SLOW in line
            self._progress.line(line)


def source_access(url: str, limits: BuildLimits, networks: frozenset[Network]) -> NetworkAccess:
    """Return what git can reach: the source's host and, for submodules and LFS, what the egress policy allows.

    Raises BuildFailed if it does not allow the source.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    port = parts.port or _PORTS[parts.scheme]
    try:
        found = addresses_of(host, port, socket.AF_INET)
    except OSError as error:
        raise BuildFailed(f"unknown host {host} of the source: {error.strerror}") from error
    try:
        address = limits.egress.with_names_resolved().first_allowed(found, port, host)
    except EgressDenied as error:
        # A forward is found by name: an address in a URL is not looked up in /etc/hosts.
        if f"{host}:{port}" not in limits.source_hosts or found[0] == host:
            raise BuildFailed(f"the source cannot be fetched: {error}") from error
        return _forwarded(host, found[0], port, networks)
    if Network.OPEN not in networks or parse_address(address).is_loopback:
        return _forwarded(host, address, port, networks)
    # With this entry, git uses the address that was checked: the name may resolve to another one by then.
    return NetworkAccess(Network.OPEN, (), () if host == address else ((address, host),))


def _forwarded(host: str, address: str, port: int, networks: frozenset[Network]) -> NetworkAccess:
    """Return access through a port forward, for what the network of the sandbox does not reach."""
    network = Network.OPEN if Network.OPEN in networks else Network.OFF
    inside = address if parse_address(address).is_loopback else "127.0.0.1"
    hosts = () if host in (inside, "localhost") else ((inside, host),)
    return NetworkAccess(network, (ForwardedPort(address, port, inside),), hosts)


def _credentials(job: Job, sandbox: Sandbox) -> dict[str, str]:
    """Return the environment for a private source; secrets appear neither in arguments nor in the checkout."""
    if not job.credentials:
        return {}
    if "PRIVATE KEY" in job.credentials:
        return _ssh(job.credentials, sandbox)
    encoded = base64.b64encode(job.credentials.encode()).decode()
    parts = urlsplit(job.source_url)
    return {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"http.{parts.scheme}://{parts.netloc}/.extraHeader",
        "GIT_CONFIG_VALUE_0": f"Authorization: Basic {encoded}",
    }


def _least_rate(job: Job) -> dict[str, str]:
    """Return the environment that makes git give up slow HTTP servers."""
    if not job.limits.transfer_rate:
        return {}
    limit, seconds = str(job.limits.transfer_rate), str(LOW_SPEED_SECONDS)
    return {"GIT_HTTP_LOW_SPEED_LIMIT": limit, "GIT_HTTP_LOW_SPEED_TIME": seconds}


def _ssh(key: str, sandbox: Sandbox) -> dict[str, str]:
    write_inside(sandbox.work, "home/deploy-key", key if key.endswith("\n") else f"{key}\n", sandbox.chown, 0o600)
    options = "-o BatchMode=yes -o StrictHostKeyChecking=accept-new -o UserKnownHostsFile=/work/home/known_hosts"
    return {"GIT_SSH_COMMAND": f"ssh -i /work/home/deploy-key -o IdentitiesOnly=yes {options}"}


def forget_credentials(work: Path) -> None:
    """Delete the credentials before any code of the source runs."""
    (work / "home/deploy-key").unlink(missing_ok=True)
